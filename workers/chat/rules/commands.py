"""The requests of clients: every request as a type, the one decoder, and the answer to an invalid request.

The types carry the exact limits of each field, and names are kept in the spelling of `addressing.py`. Only the name of
a room that must have been joined already is left to the session, which compares the name with the rooms of the
connection: a regular expression for it would cost more than the rest of the decoding.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from itertools import accumulate
from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from workers import addressing
from workers.addressing import MAX_RAW, is_plain_room, room_name, room_or_inbox, user_id

MAX_INTEGER: Final = 2**53 - 1  # the largest integer that a JavaScript number holds exactly
MAX_DEPTH: Final = 64  # of `data`: other JSON readers give up soon after
MAX_SECONDS: Final = 10 * 366 * 86_400
HISTORY_LIMIT: Final = 100
MOST_NAMES: Final = 100  # of a list in a request

RequestId = Annotated[str, Meta(max_length=64)] | Annotated[int, Meta(ge=-MAX_INTEGER, le=MAX_INTEGER)] | None
Name = Annotated[str, Meta(min_length=1, max_length=MAX_RAW + 1)]  # of a room, an inbox or a user
Key = Annotated[str, Meta(min_length=1, max_length=64)] | UnsetType
Epoch = Annotated[str, Meta(min_length=1, max_length=128)]
Offset = Annotated[int, Meta(ge=1, le=MAX_INTEGER)]
OffsetOrZero = Annotated[int, Meta(ge=0, le=MAX_INTEGER)]
Text = Annotated[str, Meta(min_length=1)] | UnsetType
Emoji = Annotated[str, Meta(pattern=r"^[^\s\x00-\x1f\x7f]{1,32}\Z")]
GivenName = Annotated[str, Meta(min_length=1, max_length=256)]
Seconds = Annotated[float, Meta(gt=0, le=MAX_SECONDS)] | None
Reason = Annotated[str, Meta(max_length=256)]


ESCAPED: Final = 6  # bytes of JSON for one of text at most: a control character is \u0001 (RFC 8259, 7)
ENVELOPE: Final = 8192  # bytes of a request for everything but its text or data


def _keep(request: Struct, field: str, checked: Callable[[object], str]) -> None:
    """Replace a name by the spelling that is kept. Raises ValueError, from which `explain` names the field."""
    given = getattr(request, field)
    try:
        name = checked(given)
    except ValueError as error:
        raise ValueError(f"`{field}`: {error}") from None
    if name is not given:
        msgspec.structs.force_setattr(request, field, name)


class Since(Struct, frozen=True, forbid_unknown_fields=True):
    """A place in a room's log up to which the client has everything."""

    epoch: Epoch
    offset: OffsetOrZero


class Wanted(Struct, frozen=True, forbid_unknown_fields=True):
    """A room to join with the hello."""

    room: Name
    since: Since | None = None

    def __post_init__(self) -> None:
        if not is_plain_room(self.room):
            _keep(self, "room", room_or_inbox)


class Command(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag=str.lower, kw_only=True, gc=False):
    """Any request; `id` comes back with its answer."""

    id: RequestId = None


class Hello(Command, frozen=True, gc=True):
    token: Annotated[str, Meta(max_length=16_384)] | None = None
    name: GivenName | None = None
    rooms: Annotated[tuple[Wanted, ...], Meta(max_length=1000)] = ()


class Join(Command, frozen=True):
    room: Name
    since: Since | None = None

    def __post_init__(self) -> None:
        _keep(self, "room", room_or_inbox)


class Leave(Command, frozen=True):
    room: Name


class Say(Command, frozen=True):
    room: Name
    text: Text = UNSET
    data: Raw | UnsetType = UNSET
    key: Key = UNSET
    reply_to: Offset | None = None
    epoch: Epoch | UnsetType = UNSET  # in which the message that is answered was seen; so in the three below


class Direct(Command, frozen=True):
    to: Name
    text: Text = UNSET
    data: Raw | UnsetType = UNSET
    key: Key = UNSET
    reply_to: Offset | None = None  # in the sender's own inbox
    epoch: Epoch | UnsetType = UNSET

    def __post_init__(self) -> None:
        _keep(self, "to", user_id)


class Edit(Command, frozen=True):
    room: Name
    offset: Offset
    text: Text = UNSET
    data: Raw | UnsetType = UNSET
    key: Key = UNSET
    epoch: Epoch | UnsetType = UNSET


class Delete(Command, frozen=True):
    room: Name
    offset: Offset
    key: Key = UNSET
    epoch: Epoch | UnsetType = UNSET


class React(Command, frozen=True):
    room: Name
    offset: Offset
    emoji: Emoji
    remove: bool = False
    key: Key = UNSET
    epoch: Epoch | UnsetType = UNSET


class Read(Command, frozen=True):
    room: Name
    offset: OffsetOrZero


class Typing(Command, frozen=True):
    room: Name


class History(Command, frozen=True):
    room: Name
    before: Offset | None = None
    after: OffsetOrZero | None = None
    limit: Annotated[int, Meta(ge=1, le=HISTORY_LIMIT)] = 50

    def __post_init__(self) -> None:
        _keep(self, "room", room_or_inbox)


class Members(Command, frozen=True):
    room: Name


class Rename(Command, frozen=True):
    name: GivenName


class Moderation(Command, frozen=True):
    """A moderator's request; without a room it is about every room and the server itself."""

    user: Name
    room: Name | None = None
    seconds: Seconds = None
    reason: Reason = ""

    def __post_init__(self) -> None:
        _keep(self, "user", user_id)
        if self.room is not None:
            _keep(self, "room", room_name)


class Kick(Moderation, frozen=True): ...


class Ban(Moderation, frozen=True): ...


class Mute(Moderation, frozen=True): ...


class Unban(Moderation, frozen=True): ...


class Unmute(Moderation, frozen=True): ...


class ListSanctions(Command, frozen=True, tag="sanctions"):
    """A moderator asks for the bans and mutes of a room; without a room, for all."""

    room: Name | None = None

    def __post_init__(self) -> None:
        if self.room is not None:
            _keep(self, "room", room_name)


class Subscribe(Command, frozen=True):
    """A browser wants to be told by Web Push while its page is closed: of mentions in `rooms`, of direct messages."""

    endpoint: Annotated[str, Meta(min_length=1, max_length=1024)]
    p256dh: Annotated[str, Meta(min_length=1, max_length=100)]
    auth: Annotated[str, Meta(min_length=1, max_length=32)]
    rooms: Annotated[tuple[Name, ...], Meta(max_length=MOST_NAMES)] = ()
    silent: Annotated[tuple[Name, ...], Meta(max_length=MOST_NAMES)] = ()
    quiet_until: Annotated[int, Meta(ge=0, le=MAX_INTEGER)] = 0

    def __post_init__(self) -> None:
        for field, checked in (("rooms", room_name), ("silent", user_id)):
            try:
                names = tuple(checked(name) for name in getattr(self, field))
            except ValueError as error:
                raise ValueError(f"`{field}`: {error}") from None
            msgspec.structs.force_setattr(self, field, names)


class Unsubscribe(Command, frozen=True):
    """A browser wants to be told no more."""

    endpoint: Annotated[str, Meta(min_length=1, max_length=1024)]


class Ping(Command, frozen=True): ...


AnyCommand = (
    Hello
    | Join
    | Leave
    | Say
    | Direct
    | Edit
    | Delete
    | React
    | Read
    | Typing
    | History
    | Members
    | Rename
    | Kick
    | Ban
    | Mute
    | Unban
    | Unmute
    | ListSanctions
    | Subscribe
    | Unsubscribe
    | Ping
)

decode: Final = msgspec.json.Decoder(AnyCommand).decode


class Envelope(Struct):
    """The part of a request that its refusal repeats."""

    id: RequestId = None


class Invalid(Struct, frozen=True):
    """Why a request is invalid, in words for the client, and the field that is at fault, if there is one."""

    message: str
    field: str = ""
    id: RequestId = None


class InvalidData(ValueError):
    """`data` is JSON that other clients could not read."""


_decode_envelope: Final = msgspec.json.Decoder(Envelope).decode
_UNKNOWN = re.compile(r"unknown field `(.*?)`(?: - at `(.*)`)?\Z", re.DOTALL)
_NAMED = re.compile(r"\A`(\w+)`: .*?(?: - at `(\$[^`]*)`)?\Z", re.DOTALL)  # see _keep
_PREFIX = re.compile(r"\A`\w+`: ")
_MISSING = re.compile(r"missing required field `(.*?)`(?: - at `(.*)`)?\Z", re.DOTALL)
_PATH = re.compile(r" - at `\$\.?(.*)`\Z", re.DOTALL)
_LENGTH = re.compile(r"Expected `\w+` of length (>=|<=) (\d+)")
_SHOWN = 200  # characters of an explanation at most
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')
_SQUARE = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(code for code in range(256) if code not in b"[]{}")
_STEP = {ord("["): 1, ord("]"): -1}  # the change of depth after a bracket
_FLAT = 4  # levels that are removed before the rest is counted bracket by bracket


def request_size(message_size: int) -> int:
    """Bytes that a request may have so that its text may have `message_size` of them, however a client escapes it."""
    return message_size * ESCAPED + ENVELOPE


def explain(error: Exception, data: str | bytes) -> Invalid:
    """The answer to a client whose request `decode` or `check_data` refused with a ValueError or RecursionError."""
    if isinstance(error, RecursionError):
        return Invalid("nested too deeply", id=id_of(data))
    if isinstance(error, InvalidData):
        return Invalid(str(error), "data", id_of(data))
    if isinstance(error, UnicodeError):
        return Invalid("not valid Unicode", id=id_of(data))
    if isinstance(error, msgspec.ValidationError):
        message = str(error)
        field = _field_of(message)
        words = _LENGTH.sub(partial(_length_told, field), _PREFIX.sub("", _PATH.sub("", message)))
        return Invalid(words[:_SHOWN], field[:_SHOWN], id_of(data))
    return Invalid(f"not a JSON object: {error}"[:_SHOWN])


def _length_told(field: str, found: re.Match[str]) -> str:
    """What a person reads, to whom a client shows the message of an error, in place of msgspec's words."""
    if found[1] == ">=":
        return f"`{field}` is empty" if found[2] == "1" else f"`{field}` has fewer than {found[2]}"
    return f"`{field}` is too long: {found[2]} at most"


def check_data(data: Raw) -> None:
    """Refuse `data` that some receiver could not read. Raises ValueError or RecursionError.

    `Raw` skips numbers and surrogates without looking at them, so that only decoding it shows.
    """
    raw = bytes(data)
    try:
        msgspec.json.decode(raw)
    except ValueError as error:
        raise InvalidData(f"not JSON that every client can read: {error}") from None
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH and _deeper_than(raw, MAX_DEPTH):
        raise InvalidData(f"nested more than {MAX_DEPTH} levels deep")


def _deeper_than(raw: bytes, depth: int) -> bool:
    """Whether this JSON, which is known to be valid, has a list or an object inside `depth` others.

    Only the brackets count. In wide JSON most brackets are innermost pairs, which are removed a level at a time, in C;
    a Python list for each level costs the garbage collector 40 ms for 64 KB.
    """
    left = _STRING.sub(b"", raw).translate(_SQUARE, _NO_BRACKETS)
    for _ in range(_FLAT):
        left = left.replace(b"[]", b"")
    return bool(left) and max(accumulate(map(_STEP.__getitem__, left))) > depth - _FLAT


def _field_of(message: str) -> str:
    for pattern in (_UNKNOWN, _MISSING, _NAMED):
        found = pattern.search(message)
        if found:
            path = (found[2] or "$").removeprefix("$").removeprefix(".")
            return f"{path}.{found[1]}" if path else found[1]
    found = _PATH.search(message)
    return found[1] if found else ""


def normalized(command: Command) -> Command:
    """The request with its room's name in the spelling that is kept; the same object if the name is so already.

    For a room that the connection has not joined: the names of joined rooms need no second check.
    """
    room = getattr(command, "room", None)
    kept = addressing.normalized(room) if isinstance(room, str) else room
    return command if kept == room else msgspec.structs.replace(command, room=kept)


def id_of(data: str | bytes) -> RequestId:
    try:
        return _decode_envelope(data).id
    except (ValueError, RecursionError):
        return None
