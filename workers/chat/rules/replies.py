"""What the server sends to one connection: answers and pushes, as bytes.

`ack` is on the hot path and assembled by hand, `welcome` is a type; the others are encoded from plain values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from workers.addressing import inbox_of
from workers.chat.rules.commands import RequestId
from workers.chat.rules.entries import encode


class RoomState(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A room as `welcome` and `joined` show it."""

    room: str
    epoch: str
    offset: int
    recovered: bool | None = None
    members: int | None = None  # number of users; None where presence is off, as in an inbox
    unread: int | None = None  # messages of others after `read`, without deleted ones
    read: int | None = None
    topic: str | None = None  # what the room is about, where the settings say so
    mentions: Sequence[int] | None = None  # offsets of unread messages that mention the user; None in an inbox


class Welcome(Struct, frozen=True, omit_defaults=True, kw_only=True, tag_field="type", tag="welcome", gc=False):
    """The answer to `hello`."""

    id: RequestId = None
    connection: str
    user: str
    name: str
    role: str
    server_time: int
    ping_interval: float
    limits: msgspec.Raw
    rooms: Sequence[RoomState]
    token: str | None = None  # a guest's, to be given with the next hello
    push: str | None = None  # the server's key for Web Push, where there is push


def _answer(kind: str, request: RequestId, **members: Any) -> bytes:
    """An object in PROTOCOL's order: type, id, the rest; members that are None are left out."""
    answer: dict[str, Any] = {"type": kind}
    if request is not None:
        answer["id"] = request
    answer.update((name, value) for name, value in members.items() if value is not None)
    return encode(answer)


def _id(request: RequestId) -> bytes:
    return b"" if request is None else b',"id":' + encode(request)


def ack(request: RequestId, *, room: str, epoch: str, offset: int, duplicate: bool) -> bytes:
    """The answer to a message: it is kept at that place. `duplicate`: a retry, kept before."""
    return b'{"type":"ack"%b,"room":"%b","epoch":"%b","offset":%d%b' % (
        b"" if request is None else b',"id":' + encode(request),
        room.encode(),
        epoch.encode(),
        offset,
        b',"duplicate":true}' if duplicate else b"}",
    )


def done(request: RequestId, *, room: str | None = None, lifted: bool | None = None) -> bytes:
    """The answer to a request that keeps nothing in a log. `lifted`: whether an `unban` or `unmute` lifted anything."""
    return _answer("ack", request, room=room, lifted=lifted)


def error(
    code: str,
    message: str,
    *,
    request: RequestId = None,
    retry_after_ms: int | None = None,
    field: str | None = None,
    until: float | None = None,
    reason: str | None = None,
) -> bytes:
    """The request had no effect; after `unavailable` and `internal` the outcome is unknown.

    `until` (Unix time; None or inf: without end) and `reason` are those of a ban or a mute.
    """
    return _answer(
        "error", request, code=code, message=message, retry_after_ms=retry_after_ms, field=field or None,
        until=_milliseconds(until), reason=reason,
    )  # fmt: skip


def _milliseconds(until: float | None) -> int | None:
    return None if until is None or until == float("inf") else int(until * 1000)


def joined(request: RequestId, state: RoomState) -> bytes:
    """The answer to `join`."""
    return _answer("joined", request, **msgspec.structs.asdict(state))


def left(request: RequestId, room: str, *, reason: str | None = None) -> bytes:
    """The answer to `leave`; without an id and with a reason, the server removed the user from the room."""
    return _answer("left", request, room=room, reason=reason)


def history(request: RequestId, *, room: str, epoch: str, messages: Iterable[bytes], more: bool) -> bytes:
    """The answer to `history`, of messages that were spliced before."""
    return b'{"type":"history"%b,"room":"%b","epoch":%b,"messages":[%b],"more":%b}' % (
        _id(request),
        room.encode(),
        encode(epoch),
        b",".join(messages),
        b"true" if more else b"false",
    )


def members(request: RequestId, *, room: str, members: Sequence[dict[str, Any]], count: int, truncated: bool) -> bytes:
    """The answer to `members`."""
    return _answer("members", request, room=room, members=members, count=count, truncated=truncated)


def presence(
    room: str,
    *,
    joined: Sequence[dict[str, str]],
    left: Sequence[dict[str, str]],
    renamed: Sequence[dict[str, str]],
    count: int,
) -> bytes:
    """Who joined, left or has another name; after too many changes only how many users there are."""
    return _answer(
        "presence", None, room=room, joined=joined or None, left=left or None, renamed=renamed or None, count=count
    )


def renamed(user: str, name: str) -> bytes:
    """A user's new name, for the user's other connections: in the inbox, which all of them are in."""
    return presence(inbox_of(user), joined=(), left=(), renamed=[{"user": user, "name": name}], count=1)


def typing(room: str, user: str, name: str) -> bytes:
    """A user is typing."""
    return _answer("typing", None, room=room, user=user, name=name)


def read(room: str, user: str, offset: int) -> bytes:
    """A user has read up to that offset."""
    return _answer("read", None, room=room, user=user, offset=offset)


def muted(room: str, *, until: float, reason: str) -> bytes:
    """The user may not speak, in the room or, "", anywhere: until when (Unix time; inf: without end), and why."""
    return _answer("muted", None, room=room or None, until=_milliseconds(until), reason=reason)


def banned(room: str, *, until: float, reason: str) -> bytes:
    """The user is put out, of the room or, "", of the server: until when (Unix time; inf: without end), and why."""
    return _answer("banned", None, room=room or None, until=_milliseconds(until), reason=reason)


def sanctions(request: RequestId, *, sanctions: Sequence[dict[str, Any]], count: int, truncated: bool) -> bytes:
    """The answer to `sanctions`."""
    return _answer("sanctions", request, sanctions=sanctions, count=count, truncated=truncated)


def unmuted(room: str) -> bytes:
    """The user may speak again."""
    return _answer("unmuted", None, room=room or None)


def gap(room: str, epoch: str, first: int, last: int, *, changes: bool = False) -> bytes:
    """These offsets are gone for good; delivery goes on after them. `changes`: they only changed messages."""
    told: dict[str, Any] = {"type": "gap", "room": room, "epoch": epoch, "from": first, "to": last}
    return encode(told | {"changes": True} if changes else told)


def reset(room: str, epoch: str, offset: int) -> bytes:
    """The log was lost; it begins again at this offset."""
    return _answer("reset", None, room=room, epoch=epoch, offset=offset)


def bye(code: int, reason: str, retry_after_ms: int) -> bytes:
    """The server closes on purpose; the code says whether to come back, `retry_after_ms` when at the earliest."""
    return _answer("bye", None, code=code, reason=reason, retry_after_ms=retry_after_ms)


def pong(request: RequestId, server_time: int) -> bytes:
    """The answer to `ping`."""
    return _answer("pong", request, server_time=server_time)
