"""Addressing: what rooms, users and connections may be called, and which names the server keeps for itself.

A name of a room has 1 to 64 characters: letters, marks and digits of any script (the Unicode categories L, M and N)
and ``_ . : -``. A user id is the same, with ``%``, since a token's `sub` is percent-encoded where it has other
characters. Names are compared case-sensitively, after normalisation to NFC (Unicode Standard Annex #15), which each
public door does once by the functions here. So ``@`` and ``!``, which begin the names of inboxes and of the server's
own rooms, are in no name, nor is what looks like them, nor what cannot be seen.

Every function that checks raises TypeError for what is no string, and ValueError, which says what is allowed, for what
is no name.
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
ALL_ROOM: Final = "!all"  # every connection of a program is in it: Worker.broadcast
CONTROL_ROOM: Final = "!control"  # orders about users: bans, mutes, kicks; and kicks of single connections
NAMES_ROOM: Final = "!names"  # what users are called, and which of them are moderators
SENDS_ROOM: Final = "!sends"  # messages for single connections
# Names that only tag keys and channels of the store: these rooms have no log and no members.
ALL_CONNECTIONS: Final = "!all-connections"
AUDIT_TRAIL: Final = "!audit"
SANCTIONS: Final = "!sanctions"
PROBE: Final = "!probe"
INBOX_CHANNEL: Final = "!inboxes-"  # and the number of a channel that inboxes share
SETTINGS_ROOM: Final = "!settings"  # what an instance publishes of its settings; only a key, nobody is in it

_ALLOWED: Final = "1 to 64 letters, marks and digits of any script, and _ . : -"
_ASCII_ROOM: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}\Z").match
_ASCII_USER: Final = re.compile(r"[A-Za-z0-9_.:%-]{1,64}\Z").match
_CONNECTION: Final = re.compile(r"[0-9A-Za-z_.:%-]{1,64}\Z").match
_OTHERS: Final = frozenset("_.:-")
_LIKE_INTERNAL: Final = ("\u01c3", "\u2d51")  # letters that look like "!" (UTS #39)
# Letters and marks that nobody can see: Default_Ignorable_Code_Point (UAX #44) in the categories L and M.
_INVISIBLE: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


# ---- checked at every public door ----------------------------------------------------------------------


def room_name(name: object) -> str:
    """The name of a room as it is kept."""
    if type(name) is str and _ASCII_ROOM(name):
        return name
    return _checked(name, "name of a room", "room", also="")


def user_id(user: object) -> str:
    """A user's id as it is kept."""
    if type(user) is str and _ASCII_USER(user):
        return user
    return _checked(user, "user id", "user", also="%")


def room_or_inbox(name: object) -> str:
    """The name of a room, or of an inbox: `@` and a user id. For the chat's clients, who may name their own."""
    if isinstance(name, str) and name.startswith(INBOX):
        return inbox_of(user_id(name[1:]))
    return room_name(name)


def log_name(name: object) -> str:
    """The name of any log, the server's own included. For the operator."""
    if isinstance(name, str) and is_internal(name):
        return INTERNAL + room_name(name[1:])
    return room_or_inbox(name)


def connection_id(connection: object) -> str:
    """The id of a connection, which never names where it is."""
    if not isinstance(connection, str):
        raise TypeError(f"a connection is named by its id, a string, not by {_kind(connection)}")
    if not _CONNECTION(connection):
        raise ValueError(f"{_shown(connection)} is no id of a connection: connection.id has it")
    return connection


def connection_ids(connections: object) -> tuple[str, ...]:
    """Ids of connections, from an iterable of them or from a single one."""
    if isinstance(connections, str):
        return (connection_id(connections),)
    if not isinstance(connections, Iterable) or isinstance(connections, bytes | bytearray):
        raise TypeError(f"exclude takes ids of connections, or one id, not {_kind(connections)}")
    return tuple(map(connection_id, connections))


def normalized(name: str) -> str:
    """Another spelling of the same name as it is kept; anything that is no name stays as it is."""
    return name if name.isascii() or len(name) > MAX_RAW else unicodedata.normalize("NFC", name)


# ---- what names mean -----------------------------------------------------------------------------------


def inbox_of(user: str) -> str:
    """The room in which what is sent to one user arrives."""
    return INBOX + user


def is_inbox(room: str) -> bool:
    """Whether a room is some user's inbox."""
    return room.startswith(INBOX)


def user_of_inbox(room: str) -> str:
    """Whose inbox it is."""
    return room[1:]


def is_internal(room: str) -> bool:
    """Whether the server itself keeps a room: nobody calls it one."""
    return room.startswith(INTERNAL)


def is_public(room: str) -> bool:
    """Whether people call it a room: neither an inbox nor the server's own."""
    return not room.startswith((INBOX, INTERNAL))


def scoped(instance: str, scope: str) -> str:
    """The name under which a Worker's rooms and counts are kept; scope "" is the instance's own."""
    return f"{instance}:{scope}" if scope else instance


# ---- the grammar ---------------------------------------------------------------------------------------


def is_allowed(character: str) -> bool:
    """Whether a character may be in the name of a room."""
    if character.isascii():
        return character.isalnum() or character in _OTHERS
    return unicodedata.category(character)[0] in "LMN" and not _INVISIBLE.match(character)


def is_kept(name: str) -> bool:
    """Whether it is spelled as names are kept, and cannot be taken for one of the server's own."""
    return unicodedata.is_normalized("NFC", name) and not name.startswith(_LIKE_INTERNAL)


def _checked(name: object, what: str, argument: str, *, also: str) -> str:
    if not isinstance(name, str):
        raise TypeError(f"{argument} is a string, not {_kind(name)}")
    name = str.__str__(name)  # of an Enum that is a string too its value, not what it prints
    kept = _normal_form(name, also) if len(name) <= MAX_RAW else ""
    if not kept:
        raise ValueError(f"{_shown(name)} is no {what}: {_ALLOWED}{f' {also}' if also else ''}")
    return kept


@lru_cache(maxsize=4096)
def _normal_form(name: str, also: str) -> str:
    """The name in NFC; empty where it is none."""
    kept = unicodedata.normalize("NFC", name)
    if not 1 <= len(kept) <= MAX_CHARACTERS or kept.startswith(_LIKE_INTERNAL):
        return ""
    return kept if all(map(is_allowed, kept.replace("%", "") if also else kept)) else ""


def _shown(name: str) -> str:
    return repr(name) if len(name) <= MAX_RAW else f"a string of {len(name)} characters"


def _kind(value: object) -> str:
    return "None" if value is None else f"{type(value).__name__} ({repr(value)[:40]})"
