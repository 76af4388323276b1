"""Who may do what in which room: one function, `may`, for every verb, and the options of rooms by name.

Nobody can tell a room that is forbidden from one that does not exist: rooms come into being when somebody
joins, so every refusal reads the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import IntEnum
from functools import lru_cache
from typing import Final, Protocol

import msgspec

from chatmaster.settings import RoomRule, Settings
from workers.addressing import is_inbox, normalized, user_of_inbox
from workers.node.control_room import KEPT

ROLE_PREFIX: Final = "role:"
_INBOX_RULE: Final = RoomRule(match="@*", presence=False)
_CACHED_ROOMS: Final = 4096  # options are looked up by name; a client may make up names without end


class Role(IntEnum):
    """What somebody may do to others; a higher one may do all that a lower one may."""

    USER = 0
    MODERATOR = 1
    ADMIN = 2


ROLE_NAMES: Final = tuple(role.name.lower() for role in Role)  # by role, as clients know them


class Who(Protocol):
    """Whose rights are asked for."""

    @property
    def user(self) -> str: ...

    @property
    def role(self) -> Role: ...

    @property
    def patterns(self) -> tuple[str, ...] | None:
        """The rooms that the token names; None: no token, or one that names none."""


MODERATE: Final = frozenset({"kick", "ban", "mute", "unban", "unmute"})
_INBOX: Final = frozenset({"join", "history", "read", "edit", "delete", "react"})
_SPEAK: Final = frozenset({"say", "edit", "delete", "react", "typing"})
EVERYONE: Final = ("*",)


@lru_cache(maxsize=1024)
def _parts(pattern: str) -> tuple[str, ...]:
    return tuple(pattern.split("*"))


def matches(patterns: Iterable[str], name: str) -> bool:
    """Whether any pattern fits the whole name; `*` stands for any characters, nothing else is special."""
    return any(pattern in ("*", name) or ("*" in pattern and _fits(_parts(pattern), name)) for pattern in patterns)


def _fits(parts: tuple[str, ...], name: str) -> bool:
    """Whether the name is made of the parts, with anything between them.

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
            return _INBOX_RULE
        return next((rule for rule in self._rules if matches((rule.match,), room)), self._default)


def _normalized(rule: RoomRule) -> RoomRule:
    """The rule with its patterns as names are kept."""
    return msgspec.structs.replace(
        rule,
        match=normalized(rule.match),
        join=tuple(map(normalized, rule.join)),
        say=tuple(map(normalized, rule.say)),
    )


def retention(settings: Settings) -> Callable[[str], tuple[int, int]]:
    """How much of a room's history the store keeps: entries and seconds, by the room's options."""
    options, store = Options(settings.rooms), settings.store

    def of(room: str) -> tuple[int, int]:
        if room.startswith("!"):  # no pattern of the operator's means the server's own
            return max(KEPT, store.history_size), store.history_ttl
        rule = options.of(room)
        size = store.history_size if rule.history_size is None else rule.history_size
        return size, store.history_ttl if rule.history_ttl is None else rule.history_ttl

    return of


def may(who: Who, verb: str, room: str, rule: RoomRule) -> bool:
    """Whether `who` may do `verb` in `room`, whose options are `rule`; room "" stands for everywhere.

    `@x` is for x alone, and no pattern of a token covers it. What a token or a rule keeps somebody from
    joining, it keeps them from in every other way too. Everybody may write to an inbox (`direct`), which is no room.
    """
    if verb == "direct":
        return is_inbox(room) and (rule.say == EVERYONE or _listed(rule.say, who))
    if is_inbox(room):
        return user_of_inbox(room) == who.user and verb in _INBOX
    if verb in MODERATE and who.role < Role.MODERATOR:
        return False
    if who.patterns is not None and not matches(who.patterns, room or "*"):
        return False
    if not room:
        return verb in MODERATE
    if rule.join != EVERYONE and not _listed(rule.join, who):
        return False
    return verb not in _SPEAK or rule.say == EVERYONE or _listed(rule.say, who)


def _listed(allowed: tuple[str, ...], who: Who) -> bool:
    """Whether a rule's list names somebody, as a user pattern or by the role."""
    if matches((one for one in allowed if not one.startswith(ROLE_PREFIX)), who.user):
        return True
    roles = (one.removeprefix(ROLE_PREFIX) for one in allowed if one.startswith(ROLE_PREFIX))
    return any(name.upper() in Role.__members__ and who.role >= Role[name.upper()] for name in roles)
