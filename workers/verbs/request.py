"""What every verb has in common: how requests are written and checked, who calls, and how a call is refused. Pure.

A request is a msgspec Struct: its types, bounds and docstrings are the documentation, the check, and the OpenAPI
document. Names of rooms, users and connections are normalised and checked in `VerbRequest.__post_init__`, by the field.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, ClassVar, Final

import msgspec
from msgspec import Meta, Struct

from workers.addressing import INBOX, connection_id, is_inbox, room_name, room_or_inbox, user_id
from workers.payload import close_reason
from workers.room_options import matches

MOST_LISTED: Final = 1000  # rows of a page, and targets of a send
NAME_SIZE: Final = 256  # characters before normalisation
MOST_CURSOR: Final = 1024

# Neither what looks like `!` at the beginning, nor what is invisible or no character yet.
_NEITHER: Final = (
    r"(?![\u01c3\u2d51])"
    r"(?!.*[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u20f1-\u20ff\u3164\ufe00-\ufe0f\uffa0])"
)
_ROOM: Final = rf"^{_NEITHER}[\p{{L}}\p{{M}}\p{{N}}_.:-]{{1,64}}$"
_USER: Final = rf"^{_NEITHER}[\p{{L}}\p{{M}}\p{{N}}_.:%-]{{1,64}}$"
_CONNECTION: Final = r"^[0-9A-Za-z_.:%-]{1,64}$"


def _name(pattern: str, description: str) -> Meta:
    """The pattern is for readers of the schema; what is really allowed is checked by `workers.addressing`."""
    schema = {"pattern": pattern}
    return Meta(max_length=NAME_SIZE, description=description, extra_json_schema=schema)


def _or_empty(pattern: str, description: str) -> Meta:
    return _name(f"^$|{pattern}", description)


RoomName = Annotated[str, _name(_ROOM, "The name of a room.")]
_LOG: Final = rf"{_ROOM}|{_USER.replace('^', f'^{INBOX}', 1)}"
LogName = Annotated[str, _name(_LOG, "The name of a room, or of an inbox: `@` and a user.")]
UserId = Annotated[str, _name(_USER, "The id of a user.")]
ConnectionId = Annotated[str, _name(_CONNECTION, "The id of a connection.")]
AnyRoom = Annotated[str, _or_empty(_ROOM, "The name of a room; empty: every room.")]
AnyUser = Annotated[str, _or_empty(_USER, "The id of a user; empty: every user, or none.")]
AnyConnection = Annotated[str, _or_empty(_CONNECTION, "The id of a connection; empty: none is meant.")]
# Something can be seen: neither spaces nor Default_Ignorable_Code_Point (UAX #44). `workers.chat.rules.names` decides.
VISIBLE: Final = (
    r"[^\s\u0000-\u0020\u0085\u00a0\u00ad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f"
    r"\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffc]"
)
Several = Meta(min_length=1, max_length=MOST_LISTED)
Excluded = Annotated[tuple[ConnectionId, ...], Meta(max_length=MOST_LISTED, description="Connections that get nothing")]
Cursor = Annotated[str, Meta(max_length=MOST_CURSOR, description="`cursor` of the page before; empty: the first page.")]
Limit = Annotated[int, Meta(ge=1, le=MOST_LISTED, description="Rows of a page at most.")]
Offset = Annotated[int, Meta(ge=1, le=2**53 - 1, description="The place of a message in its room.")]
Seconds = Annotated[float, Meta(ge=0, le=3_153_600_000, description="Seconds; 0: without end.")]
Reason = Annotated[str, Meta(max_length=512, description="Why; shown to the user and in the audit trail.")]
# JSON has no bytes: base64 (RFC 4648, 4).
_BASE64: Final = r"^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
Binary = Annotated[bytes, Meta(description="A binary message, in base64.", extra_json_schema={"pattern": _BASE64})]


class VerbError(Exception):
    """A call that is refused. `code` is one of `STATUS`, `retry_after` in seconds."""

    def __init__(self, code: str, message: str, *, field: str = "", retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.code = code
        self.field = field
        self.retry_after = retry_after


# The codes, and the status of HTTP that each has.
STATUS: Final[dict[str, int]] = {
    "bad_request": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "wrong_application": 404,  # what runs here has no such verb
    "method_not_allowed": 405,  # by HTTP: a verb is called by POST
    "conflict": 409,  # the key was used with another request, or its request is still being carried out
    "too_large": 413,
    "limit_reached": 422,
    "rate_limited": 429,
    "internal": 500,  # a bug, which is in the server's log
    "refused": 503,  # the store takes nothing: nothing was done
    "unavailable": 504,  # nobody answered in time: the outcome is unknown
}


KEY: Final = "key:"  # what the name of a caller with an API key begins with


class Caller(Struct, frozen=True):
    """Who calls, and what that caller may do; None: everything."""

    name: str  # as the audit trail shows it
    verbs: tuple[str, ...] | None = None  # names of verbs and of groups of verbs
    rooms: tuple[str, ...] | None = None  # patterns, as in `[[rooms]]`

    @property
    def api_key(self) -> str:
        """The name of the caller's API key; "" for a caller without one."""
        return self.name.removeprefix(KEY) if self.name.startswith(KEY) else ""

    def may_call(self, verb: str, group: str, *, reads: bool) -> bool:
        """Whether a verb is the caller's to call: by its name, its group, or `read` for all that change nothing."""
        return self.verbs is None or bool({verb, group, "read" if reads else group} & set(self.verbs))

    def may_use(self, room: str) -> bool:
        """Whether a room is the caller's to name; an inbox is only where every room is."""
        return self.rooms is None or (not is_inbox(room) and matches(self.rooms, room))


class VerbRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of all requests. `rule` is what JSON Schema says of several fields together."""

    rule: ClassVar[dict[str, Any]] = {}
    inboxes: ClassVar[bool] = False  # `room` may be an inbox, too

    def __post_init__(self) -> None:
        for field in self.__struct_fields__:
            check = room_or_inbox if field == "room" and self.inboxes else _CHECKS.get(field)
            if check is not None:
                _keep(self, field, check)

    def named_rooms(self) -> tuple[str, ...]:
        """The rooms that the request names."""
        room, rooms = getattr(self, "room", ""), getattr(self, "rooms", None)
        return ((room,) if isinstance(room, str) and room else ()) + tuple(rooms or ())


class VerbAnswer(Struct, frozen=True, kw_only=True):
    """The base of all answers."""


class DoneAnswer(VerbAnswer, frozen=True):
    """The call has done what it says."""


class PlacedAnswer(VerbAnswer, frozen=True):
    """Where a message was kept."""

    room: str
    epoch: str
    offset: int
    time: float  # Unix time by the store's clock
    duplicate: bool = False  # an earlier call with the same key kept it


def exactly_one(*fields: str) -> dict[str, Any]:
    """The rule that exactly one of some fields is there."""
    return {"oneOf": [{"required": [field]} for field in fields]}


def exactly_one_given(*fields: str) -> dict[str, Any]:
    """The rule that exactly one of some fields is there and not empty."""
    return {"oneOf": [{"required": [field], "properties": {field: {"minLength": 1}}} for field in fields]}


@cache
def _optional(kind: type[VerbRequest]) -> frozenset[str]:
    """The fields that may be empty."""
    return frozenset(one.name for one in msgspec.structs.fields(kind) if one.default == "")


def _keep(request: VerbRequest, field: str, check: Callable[[Any], Any]) -> None:
    value = getattr(request, field)
    if value is None or value is msgspec.UNSET or (value == "" and field in _optional(type(request))):
        return
    try:
        kept = tuple(check(one) for one in value) if isinstance(value, tuple) else check(value)
    except (ValueError, TypeError) as error:
        raise VerbError("bad_request", str(error), field=field) from None
    if kept != value:
        msgspec.structs.force_setattr(request, field, kept)


def _reason(reason: str) -> str:
    close_reason(reason)  # raises ValueError for what UTF-8 cannot hold
    return reason


_CHECKS: Final[dict[str, Callable[[Any], Any]]] = {
    "room": room_name,
    "rooms": room_name,
    "user": user_id,
    "users": user_id,
    "sender": user_id,
    "connection": connection_id,
    "connections": connection_id,
    "exclude": connection_id,
    "reason": _reason,
}
