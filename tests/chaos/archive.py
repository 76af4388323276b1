"""The contents of a room in the store: read without the server, from the store's own keys."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Mapping
from typing import Any

import redis
from msgspec import Struct

from chatmaster.store import layout
from tests.chaos.witness import Place
from workers.bus.codec import unpack_entry


class Archive(Struct, frozen=True):
    """A room's log as it was at one moment: texts by place, and the highest offset ever given."""

    texts: Mapping[Place, str]
    first: int  # the lowest offset that is kept
    top: int
    reigns: tuple[tuple[int, str], ...] = ()  # the first offset of each reign, and its epoch

    def has_had(self, place: Place) -> bool:
        """Whether the entry lies on this log's line, even if it was trimmed since."""
        if not self.reigns or place.offset > self.top:
            return False
        at = bisect_right(self.reigns, (place.offset, "~")) - 1
        return self.reigns[max(at, 0)][1] == place.epoch

    def with_trimmed(self, trimmed: Mapping[Place, str]) -> Archive:
        """The same with entries that were trimmed from it."""
        texts = {place: text for place, text in trimmed.items() if self.has_had(place)} | dict(self.texts)
        return Archive(texts, min((place.offset for place in texts), default=self.top + 1), self.top, self.reigns)

    @property
    def by_offset(self) -> dict[int, Place]:
        return {place.offset: place for place in self.texts}


NOTHING = Archive({}, 1, 0)


def read(client: redis.Redis, room: str, *, name: str = "chat") -> Archive:
    """The whole log of a room. `name` is the instance's."""
    meta: Any = client.hgetall(layout.key(name, room, "meta"))
    if not meta:
        return NOTHING
    log = meta[b"id"].decode()
    reigns = [item.split(":") for item in meta[b"reigns"].decode().split()]
    firsts = [int(first) for _, first in reigns]
    texts: dict[Place, str] = {}
    entries: Any = client.xrange(layout.key(name, room, "log"))
    for number, fields in entries:
        offset = int(number.partition(b"-")[0])
        reign = reigns[max(bisect_right(firsts, offset) - 1, 0)][0]
        payload = unpack_entry(offset, int(fields[b"t"]), fields[b"e"]).payload
        texts[Place(log + reign, offset)] = _text(payload)
    top = int(meta[b"top"])
    lines = tuple((first, log + reigns[at][0]) for at, first in enumerate(firsts))
    return Archive(texts, min((place.offset for place in texts), default=top + 1), top, lines)


def _text(payload: bytes) -> str:
    text: str = json.loads(payload).get("text", "")
    return text
