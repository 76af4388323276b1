"""Addressing: the valid names of rooms, users and connections, and the names that the server reserves.

A name of a room has 1 to 64 characters: letters, marks and digits of any script (the Unicode categories L, M and N)
and ``_ . : -``. A user id is the same, with ``%``, since a token's `sub` is percent-encoded where it has other
characters. Names are compared case-sensitively, after normalisation to NFC (Unicode Standard Annex #15), which each
public door does once by the functions here. So ``@`` and ``!``, which begin the names of inboxes and of the server's
own rooms, are in no name, nor are look-alikes and invisible characters.

Every function that checks raises TypeError for anything but a string, and ValueError, which lists what is allowed, for
an invalid name.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

MAX_CHARACTERS: Final = 64
MAX_BYTES: Final = 4 * MAX_CHARACTERS  # of a name in UTF-8
MAX_RAW: Final = 256  # characters before normalisation, which may make fewer of them
MAX_ID: Final = 64  # characters of a connection's id

INBOX: Final = "@"
INTERNAL: Final = "!"
GUEST: Final = "guest:"  # how the ids of the chat's guests begin, and no other user's
ALL_ROOM: Final = "!all"  # every connection of a program is in it: Worker.broadcast
CONTROL_ROOM: Final = "!control"  # orders about users: bans, mutes, kicks; and kicks of single connections
NAMES_ROOM: Final = "!names"  # names of users, and which users are moderators
SENDS_ROOM: Final = "!sends"  # messages for single connections
# Names that only tag keys and channels of the store: these rooms have no log and no members.
ALL_CONNECTIONS: Final = "!all-connections"
AUDIT_TRAIL: Final = "!audit"
SANCTIONS: Final = "!sanctions"
PROBE: Final = "!probe"
INBOX_CHANNEL: Final = "!inboxes"  # the channel that the inboxes of a shard share
CALLS_ROOM: Final = "!calls"  # notes about calls of programs outside, and questions between workers; nothing is stored
ANSWERS_ROOM: Final = "!answers-"  # and the name of a worker's process: notes with answers for that worker
SETTINGS_ROOM: Final = "!settings"  # an instance's published settings; only a key, without members

_ALLOWED: Final = "1 to 64 letters, marks and digits of any script, and _ . : -"
_ASCII_ROOM: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}\Z").match
_ASCII_USER: Final = re.compile(r"[A-Za-z0-9_.:%-]{1,64}\Z").match
# Whether `room_or_inbox` returns a name as it is; nearly every name in a hello is such a one.
is_plain_room: Final = re.compile(r"(?:[A-Za-z0-9_.:-]{1,64}|@[A-Za-z0-9_.:%-]{1,64})\Z").match
_CONNECTION: Final = re.compile(r"[0-9A-Za-z_.:%-]{1,64}\Z").match
_OTHERS: Final = frozenset("_.:-")
_LIKE_INTERNAL: Final = ("\u01c3", "\u2d51")  # letters that look like "!" (UTS #39)
# Invisible letters and marks: Default_Ignorable_Code_Point (UAX #44) in the categories L and M.
_INVISIBLE: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


# ---- checks for every public entry --------------------------------------------------------------------


def room_name(name: object) -> str:
    """Check and normalise the name of a room."""
    if type(name) is str and _ASCII_ROOM(name):
        return name
    return _checked(name, "name of a room", "room", also="")


def user_id(user: object) -> str:
    """Check and normalise a user id."""
    if type(user) is str and _ASCII_USER(user):
        return user
    return _checked(user, "user id", "user", also="%")


def room_or_inbox(name: object) -> str:
    """Check the name of a room or an inbox (`@` and a user id); for clients, which may name their own inbox."""
    if isinstance(name, str) and name.startswith(INBOX):
        return inbox_of(user_id(name[1:]))
    return room_name(name)


def log_name(name: object) -> str:
    """Check the name of any log, including the server's own; for the operator."""
    if isinstance(name, str) and is_internal(name):
        return INTERNAL + room_name(name[1:])
    return room_or_inbox(name)


def connection_id(connection: object) -> str:
    """Check the id of a connection."""
    if not isinstance(connection, str):
        raise TypeError(f"a connection id is a string, not {_kind(connection)}")
    if not _CONNECTION(connection):
        raise ValueError(f"{_shown(connection)} is not the id of a connection: use connection.id")
    return connection


def connection_ids(connections: object) -> tuple[str, ...]:
    """Check the ids of connections, given as an iterable or as one id."""
    if isinstance(connections, str):
        return (connection_id(connections),)
    if not isinstance(connections, Iterable) or isinstance(connections, bytes | bytearray):
        raise TypeError(f"exclude takes ids of connections, or one id, not {_kind(connections)}")
    return tuple(map(connection_id, connections))


def normalized(name: str) -> str:
    """Return the normalised spelling of a name; an invalid name is returned unchanged."""
    return name if name.isascii() or len(name) > MAX_RAW else unicodedata.normalize("NFC", name)


# ---- meaning of names ---------------------------------------------------------------------------------


def inbox_of(user: str) -> str:
    """Return the room that receives messages to a user."""
    return INBOX + user


def is_inbox(room: str) -> bool:
    """Return whether a room is a user's inbox."""
    return room.startswith(INBOX)


def user_of_inbox(room: str) -> str:
    """Return the user of an inbox."""
    return room[1:]


def is_guest(user: str) -> bool:
    """Return whether a user is one of the chat's guests."""
    return user.startswith(GUEST)


def is_guest_inbox(room: str) -> bool:
    """Return whether a room is the inbox of a guest."""
    return room.startswith(INBOX + GUEST)


def is_internal(room: str) -> bool:
    """Return whether a room is one of the server's own."""
    return room.startswith(INTERNAL)


def is_public(room: str) -> bool:
    """Return whether a room is visible to users: neither an inbox nor one of the server's own."""
    return not room.startswith((INBOX, INTERNAL))


def scoped(instance: str, scope: str) -> str:
    """Return the name that prefixes a Worker's keys in the store; scope "" is the instance's own."""
    return f"{instance}:{scope}" if scope else instance


# ---- the grammar ---------------------------------------------------------------------------------------


def is_allowed(character: str) -> bool:
    """Return whether the name of a room may contain a character."""
    if character.isascii():
        return character.isalnum() or character in _OTHERS
    return unicodedata.category(character)[0] in "LMN" and not _INVISIBLE.match(character)


def is_kept(name: str) -> bool:
    """Return whether a name is normalised and does not look like one of the server's own."""
    return unicodedata.is_normalized("NFC", name) and not name.startswith(_LIKE_INTERNAL)


def _checked(name: object, what: str, argument: str, *, also: str) -> str:
    if not isinstance(name, str):
        raise TypeError(f"{argument} is a string, not {_kind(name)}")
    name = str.__str__(name)  # the value of a string Enum, not its display form
    kept = _normal_form(name, also) if len(name) <= MAX_RAW else ""
    if not kept:
        raise ValueError(f"{_shown(name)} is no {what}: {_ALLOWED}{f' {also}' if also else ''}")
    return kept


@lru_cache(maxsize=4096)
def _normal_form(name: str, also: str) -> str:
    """Return the name in NFC; "" if it is invalid."""
    kept = unicodedata.normalize("NFC", name)
    if not 1 <= len(kept) <= MAX_CHARACTERS or kept.startswith(_LIKE_INTERNAL):
        return ""
    return kept if all(map(is_allowed, kept.replace("%", "") if also else kept)) else ""


def _shown(name: str) -> str:
    return repr(name) if len(name) <= MAX_RAW else f"a string of {len(name)} characters"


def _kind(value: object) -> str:
    return "None" if value is None else f"{type(value).__name__} ({repr(value)[:40]})"
