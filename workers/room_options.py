"""The options of rooms by name: the first `[[rooms]]` table that fits, and how much history a room keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final

import msgspec

from chatmaster.settings import RoomRule, Settings
from workers.addressing import INBOX, is_guest_inbox, is_inbox, is_internal, normalized

INTERNAL_HISTORY_SIZE: Final = 1000  # minimum of entries in the server's own rooms, regardless of the settings
INBOX_RULE: Final = RoomRule(match=f"{INBOX}*", presence=False)
_CACHED_ROOMS: Final = 4096  # bounded, since clients can invent any number of names


@lru_cache(maxsize=1024)
def _parts(pattern: str) -> tuple[str, ...]:
    return tuple(pattern.split("*"))


def matches(patterns: Iterable[str], name: str) -> bool:
    """Return whether any pattern matches the whole name; `*` matches any characters, nothing else is special."""
    return any(pattern in ("*", name) or ("*" in pattern and _fits(_parts(pattern), name)) for pattern in patterns)


def _fits(parts: tuple[str, ...], name: str) -> bool:
    """Return whether the name consists of the parts with any text between them.

    Each part is looked for once, from where the one before it ended: a regular expression would try every way to
    divide the name, and the name is somebody else's.
    """
    first, *inner, last = parts
    if not name.startswith(first) or not name.endswith(last):
        return False
    at, end = len(first), len(name) - len(last)
    for part in inner:
        found = name.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return at <= end


class Options:
    """The options of rooms, by the first `[[rooms]]` table whose pattern fits."""

    def __init__(self, rules: tuple[RoomRule, ...]) -> None:
        self._rules = tuple(map(_normalized, rules))
        self._default = RoomRule(match="*")
        self.of = lru_cache(maxsize=_CACHED_ROOMS)(self._find)  # asked for every message

    def _find(self, room: str) -> RoomRule:
        """The options of a room; an inbox has the defaults, without presence."""
        if is_inbox(room):
            return INBOX_RULE
        return next((rule for rule in self._rules if matches((rule.match,), room)), self._default)


def _normalized(rule: RoomRule) -> RoomRule:
    """Return the rule with normalised patterns."""
    return msgspec.structs.replace(
        rule,
        match=normalized(rule.match),
        join=tuple(map(normalized, rule.join)),
        say=tuple(map(normalized, rule.say)),
    )


def retention(settings: Settings) -> Callable[[str], tuple[int, int]]:
    """How much of a room's history the store keeps: entries and seconds, by the room's options."""
    options, store = Options(settings.rooms), settings.store
    unmatched = store.history_size, store.history_ttl
    of_guests = store.history_size, min(store.history_ttl, store.guest_ttl)

    def of(room: str) -> tuple[int, int]:
        if is_inbox(room):  # of which there is one for each user: too many to remember the rule of each
            return of_guests if is_guest_inbox(room) else unmatched
        if is_internal(room):  # the operator's patterns never match the server's own rooms
            return max(INTERNAL_HISTORY_SIZE, store.history_size), store.history_ttl
        rule = options.of(room)
        size = store.history_size if rule.history_size is None else rule.history_size
        return size, store.history_ttl if rule.history_ttl is None else rule.history_ttl

    return of
