"""Permissions: may this user do this in this room? For every verb: rights, bans, mutes, and the hook to ask.

`permit` is the one place that every request passes. It raises RequestError where the token, the room's options, a ban,
a mute, or not being in the room is against it, and says which hook of the application has to be asked first.
A hook on join that keeps a user out of a room also keeps the user from reading it: reading without joining asks the
same hook, and every other verb needs the room to be joined.

A client cannot tell a forbidden room from one that does not exist: a room exists once a user joins it, so every
refusal reads the same.
"""

from __future__ import annotations

import math
from typing import Final

from msgspec import Struct

from chatmaster.settings import RoomRule
from workers.addressing import is_inbox, room_or_inbox, user_of_inbox
from workers.chat.rules.identity import Identity, Role
from workers.chat.rules.request_error import RequestError
from workers.chat.rules.state import Actor
from workers.room_options import matches

ROLE_PREFIX: Final = "role:"
MODERATE: Final = frozenset({"kick", "ban", "mute", "unban", "unmute", "sanctions"})
_INBOX: Final = frozenset({"join", "history", "read", "edit", "delete", "react"})
_SPEAK: Final = frozenset({"say", "edit", "delete", "react", "typing"})
EVERYONE: Final = ("*",)


class Rule(Struct, frozen=True):
    """What a verb demands beside the rights that `may` looks at."""

    joined: bool = True  # the connection is in the room
    voice: bool = False  # the user is not muted
    hook: str = ""  # what the application is asked
    refusal: str = "this room is not for you"
    field: str = "room"


_UNITS: Final = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_SPEAKING: Final = "you may not speak in this room"
RULES: Final = {
    "join": Rule(joined=False, hook="join"),
    "history": Rule(joined=False, hook="join"),
    "leave": Rule(refusal="an inbox cannot be left"),
    "read": Rule(),
    "members": Rule(refusal="this room does not show who is in it"),
    "say": Rule(voice=True, hook="say", refusal=_SPEAKING),
    "edit": Rule(voice=True, hook="say", refusal=_SPEAKING),
    "delete": Rule(voice=True, refusal=_SPEAKING),
    "react": Rule(voice=True, refusal=_SPEAKING),
    "typing": Rule(voice=True, refusal=_SPEAKING),
    **dict.fromkeys(MODERATE, Rule(joined=False, refusal="this is for moderators of the room", field="")),
    "direct": Rule(joined=False, voice=True, hook="say", refusal="you may not write to this user", field="to"),
}


def permit(actor: Actor, identity: Identity, verb: str, room: str, now: float) -> str:
    """Raise RequestError where `identity` may not do `verb` in `room`; return the hook to ask before it is done, or "".

    `room` is the receiver's inbox for `direct`, where only a mute of the whole server counts;
    for a verb of moderators it may be "": everywhere.
    """
    rule, context = RULES[verb], actor.context
    inside = room in actor.rooms
    if rule.joined and not inside:
        raise _not_joined(room)
    if not may(identity, verb, room, context.options.of(room)):
        raise RequestError("forbidden", rule.refusal, field=rule.field)
    if not context.sanctions.none:
        if not rule.joined and not inside and verb != "direct":
            _require_not_banned(actor, identity, room, now)
        if rule.voice:
            _require_voice(actor, identity, "" if verb == "direct" else room, now)
    asked = rule.hook in context.consulted and not (inside and rule.hook == "join")
    return rule.hook if asked else ""


def sanctioned_address(actor: Actor, identity: Identity) -> str:
    """The address that bans and mutes of a guest hold for, since a guest could return as another; "" for a user."""
    return actor.address if identity.guest else ""


def _not_joined(room: str) -> RequestError:
    try:
        room_or_inbox(room)
    except ValueError as error:
        return RequestError("bad_request", str(error), field="room")
    return RequestError("not_joined", "join the room first", field="room")


def _require_not_banned(actor: Actor, identity: Identity, room: str, now: float) -> None:
    refusal = ban_of(actor, identity, room, now)
    if refusal is not None:
        raise refusal


def ban_of(actor: Actor, identity: Identity, room: str, now: float, *, field: str = "room") -> RequestError | None:
    """The refusal of a user who is banned from a room, with the reason and the end; None: not banned."""
    sanctions, address = actor.context.sanctions, sanctioned_address(actor, identity)
    reason = sanctions.banned(identity.user, address, room, now)
    if reason is None:
        return None
    until = sanctions.banned_until(identity.user, address, room, now)
    left = until - now if until < float("inf") else None
    message = _told("you are banned from this room", left, reason)
    return RequestError("banned", message, field=field, retry_after=left, until=until, reason=reason)


def _require_voice(actor: Actor, identity: Identity, room: str, now: float) -> None:
    address = sanctioned_address(actor, identity)
    until = actor.context.sanctions.muted(identity.user, address, room, now)
    if until is not None:
        left = until - now if until < float("inf") else None
        reason = actor.context.sanctions.why_muted(identity.user, address, room, now)
        raise RequestError("muted", told_of_mute(left, reason), retry_after=left, until=until, reason=reason)


def told_of_mute(seconds: float | None, reason: str) -> str:
    """The text that a muted user reads: for how much longer (None: without end), and why."""
    return _told("you are muted", seconds, reason)


def _told(words: str, seconds: float | None, reason: str) -> str:
    if seconds is not None:
        amount, unit = next((seconds / size, unit) for size, unit in _UNITS if seconds >= 2 * size or size == 1)
        words += f" for {math.ceil(amount)} {unit} more"
    return f"{words}: {reason}" if reason else words


def may(identity: Identity, verb: str, room: str, rule: RoomRule) -> bool:
    """Whether `identity` may do `verb` in `room`, whose options are `rule`; room "" stands for everywhere.

    `@x` is for x alone, and no pattern of a token covers it. What a token or a rule keeps somebody from
    joining, it keeps them from in every other way too. Everybody may write to an inbox (`direct`), which is no room.
    """
    if verb == "direct":
        return is_inbox(room) and (rule.say == EVERYONE or _listed(rule.say, identity))
    if is_inbox(room):
        return user_of_inbox(room) == identity.user and verb in _INBOX
    if verb in MODERATE and identity.role < Role.MODERATOR:
        return False
    if identity.patterns is not None and not matches(identity.patterns, room or "*"):
        return False
    if not room:
        return verb in MODERATE
    if rule.join != EVERYONE and not _listed(rule.join, identity):
        return False
    return verb not in _SPEAK or rule.say == EVERYONE or _listed(rule.say, identity)


def _listed(allowed: tuple[str, ...], identity: Identity) -> bool:
    """Whether a rule's list names somebody, as a user pattern or by the role."""
    if matches((one for one in allowed if not one.startswith(ROLE_PREFIX)), identity.user):
        return True
    roles = (one.removeprefix(ROLE_PREFIX) for one in allowed if one.startswith(ROLE_PREFIX))
    return any(name.upper() in Role.__members__ and identity.role >= Role[name.upper()] for name in roles)
