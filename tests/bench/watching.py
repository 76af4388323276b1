"""A connection of the load that follows every message: what it missed, got twice, and how long it heard nothing."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from tests.bench.load_members import MARK, PING, Member

if TYPE_CHECKING:
    from tests.bench.load import Load

_OFFSET = b'"offset":'


class WatchingMember(Member):
    """Cuts what comes into frames and holds the offsets of its room against the last one."""

    __slots__ = ("doubled", "last", "missing", "offset", "rest", "silence")

    def __init__(self, load: Load, transport: asyncio.Transport, index: int) -> None:
        super().__init__(load, transport, index)
        self.rest = b""
        self.offset = 0  # 0: nothing has come yet
        self.last = 0  # ns, when a message came
        self.silence = 0  # ns, the longest
        self.missing = self.doubled = 0

    def data_received(self, data: bytes) -> None:
        load = self.load
        data = self.rest + data if self.rest else data
        at, size = 0, len(data)
        while size - at >= 2:
            length, begin = data[at + 1], at + 2
            if length == 126:
                if size - at < 4:
                    break
                length, begin = data[at + 2] << 8 | data[at + 3], at + 4
            if begin + length > size:
                break
            if data[at] == PING:
                self.answer_pings(data[at : begin + length])
            elif data.find(MARK, begin, begin + length) >= 0:
                self.message(data, begin, begin + length)
            at = begin + length
        self.rest = data[at:]
        load.heard += 1

    def message(self, data: bytes, begin: int, end: int) -> None:
        now = time.monotonic_ns()
        if self.last:
            self.silence = max(self.silence, now - self.last)
        self.last = now
        at = data.find(_OFFSET, begin, end) + len(_OFFSET)
        offset = int(data[at : data.find(b",", at, end)])
        if self.offset and offset != self.offset + 1:
            if offset > self.offset:
                self.missing += offset - self.offset - 1
            else:
                self.doubled += 1
        self.offset = max(offset, self.offset)
        load = self.load
        load.delivered += 1
        stamp = data.find(MARK, begin, end) + 2
        load.oldest = max(load.oldest, now - int(data[stamp : stamp + 19]))


def seen(load: Load) -> dict[str, Any]:
    """What all of them have seen since the last call."""
    members = [one for one in load.members.values() if isinstance(one, WatchingMember)]
    top = max((one.offset for one in members), default=0)
    found = {
        "silence_ms": max((one.silence for one in members), default=0) / 1e6,
        "oldest_ms": load.oldest / 1e6,
        "missing": sum(one.missing + top - one.offset for one in members),
        "doubled": sum(one.doubled for one in members),
        "disconnects": load.dropped,
    }
    for one in members:
        one.silence = one.last = one.missing = one.doubled = 0
    load.oldest = 0
    return found
