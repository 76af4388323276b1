"""Who may do what in which room: one function, `may`, for every verb.

Nobody can tell a room that is forbidden from one that does not exist: rooms come into being when somebody
joins, so every refusal reads the same.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, Protocol

from chatmaster.settings import RoomRule
from workers.addressing import is_inbox, user_of_inbox
from workers.room_options import matches

ROLE_PREFIX: Final = "role:"


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
