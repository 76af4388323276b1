"""Programs: what is sent to a program's clients as it is, sessions of connections, and tokens."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import Annotated, Any, ClassVar, Final, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from chatmaster import tokens
from workers.addressing import ALL_ROOM, inbox_of
from workers.node.client_connection import ClientConnection
from workers.payload import packed
from workers.session import plain
from workers.verbs.request import (
    Binary,
    Caller,
    ConnectionId,
    Excluded,
    PlacedAnswer,
    RoomName,
    Several,
    UserId,
    VerbAnswer,
    VerbError,
    VerbRequest,
    exactly_one,
)
from workers.verbs.verb import AnyVerb, Services, placed, verb

CONCURRENT: Final = 64  # targets of one call that are sent to at once
T = TypeVar("T")
Text = Annotated[str, Meta(description="A text message.")]
Values = Annotated[dict[str, Any], Meta(description="What is kept of the connection, by name.")]


class SendRequest(VerbRequest, frozen=True):
    """A message, `text` or `binary`; `exclude` names connections that do not get it."""

    rule: ClassVar[dict[str, Any]] = exactly_one("text", "binary")

    text: Text | UnsetType = UNSET
    binary: Binary | UnsetType = UNSET
    exclude: Excluded = ()

    def data(self) -> str | bytes:
        """What is to be sent. Raises VerbError."""
        if isinstance(self.text, str) == isinstance(self.binary, bytes):
            raise VerbError("bad_request", "give text or binary, and not both", field="text")
        return self.text if isinstance(self.text, str) else bytes(self.binary or b"")


class SendToAllRequest(SendRequest, frozen=True, kw_only=True):
    """A message for every connection."""


class SendToRoomRequest(SendRequest, frozen=True, kw_only=True):
    """A message for the members of some rooms."""

    rooms: Annotated[tuple[RoomName, ...], Several]


class SendToUserRequest(SendRequest, frozen=True, kw_only=True):
    """A message for all connections of some users."""

    users: Annotated[tuple[UserId, ...], Several]


class SendToConnectionRequest(VerbRequest, frozen=True):
    """A message for some connections, `text` or `binary`."""

    rule: ClassVar[dict[str, Any]] = exactly_one("text", "binary")

    connections: Annotated[tuple[ConnectionId, ...], Several]
    text: Text | UnsetType = UNSET
    binary: Binary | UnsetType = UNSET


class SentAnswer(VerbAnswer, frozen=True):
    """Where the message was kept, in the order of the targets."""

    sent: list[PlacedAnswer]


class ConnectionsAnswer(VerbAnswer, frozen=True):
    """To how many connections it was sent, and which are not open."""

    sent: int
    absent: list[str]


class SessionGetRequest(VerbRequest, frozen=True):
    """A connection."""

    connection: ConnectionId


class SessionSetRequest(VerbRequest, frozen=True):
    """A connection and what its session is to hold."""

    connection: ConnectionId
    session: Values


class SessionAnswer(VerbAnswer, frozen=True):
    """The session as it is now; bytes are in base64."""

    session: dict[str, Any]


class TokenRequest(VerbRequest, frozen=True):
    """Whom a token is for, and what its bearer may do; `ttl` in seconds."""

    user: Annotated[str, Meta(min_length=1, max_length=64, description="The claim `sub`.")]
    ttl: Annotated[float, Meta(gt=0, le=31_536_000)] = 3600.0
    name: Annotated[str, Meta(max_length=64)] = ""
    role: Literal["user", "moderator", "admin"] = "user"
    rooms: Annotated[tuple[str, ...], Meta(max_length=100, description="Patterns of rooms.")] | None = None

    def __post_init__(self) -> None:
        """A claim `sub` may be anything, and patterns are no names."""


class TokenAnswer(VerbAnswer, frozen=True):
    """A JSON Web Token, and until when it is valid (Unix time)."""

    token: str
    expires: float


@verb("programs", SendToAllRequest, SentAnswer, application="program", keyed=True)
async def send_to_all(services: Services, caller: Caller, request: SendToAllRequest, key: str) -> SentAnswer:
    """Send a message to every connection of a program."""
    if caller.rooms is not None:
        raise VerbError("forbidden", "this key is for some rooms, and this would reach all connections")
    return await _send(services, (ALL_ROOM,), request, key, shown=("",))


@verb("programs", SendToRoomRequest, SentAnswer, application="program", keyed=True)
async def send_to_room(services: Services, caller: Caller, request: SendToRoomRequest, key: str) -> SentAnswer:
    """Send a message to the members of some rooms, as it is."""
    return await _send(services, request.rooms, request, key, shown=request.rooms)


@verb("programs", SendToUserRequest, SentAnswer, application="program", keyed=True)
async def send_to_user(services: Services, caller: Caller, request: SendToUserRequest, key: str) -> SentAnswer:
    """Send a message to all connections of some users."""
    return await _send(services, tuple(map(inbox_of, request.users)), request, key, shown=request.users)


@verb("programs", SendToConnectionRequest, ConnectionsAnswer, application="program")
async def send_to_connection(
    services: Services, caller: Caller, request: SendToConnectionRequest, key: str
) -> ConnectionsAnswer:
    """Send a message to some connections, wherever they are."""
    SendRequest(text=request.text, binary=request.binary).data()
    order = SendOrder(request.text, request.binary)

    async def send(connection: str) -> bool:
        try:
            await services.fleet.act(connection, "send", order)
        except VerbError as error:
            if error.code != "not_found":
                raise
            return False
        return True

    there = await _some_at_once(send(one) for one in request.connections)
    absent = [one for one, found in zip(request.connections, there, strict=True) if not found]
    if len(absent) == len(request.connections):
        raise VerbError("not_found", f"no connection {', '.join(absent[:3])} is open", field="connections")
    return ConnectionsAnswer(sent=len(there) - len(absent), absent=absent)


@verb("programs", SessionGetRequest, SessionAnswer, application="program", reads=True)
async def session_get(services: Services, caller: Caller, request: SessionGetRequest, key: str) -> SessionAnswer:
    """Read the session of a connection, wherever it is."""
    return _session(await services.fleet.act(request.connection, "session_get", request))


@verb("programs", SessionSetRequest, SessionAnswer, application="program")
async def session_set(services: Services, caller: Caller, request: SessionSetRequest, key: str) -> SessionAnswer:
    """Put a session in the place of that of a connection."""
    return _session(await services.fleet.act(request.connection, "session_set", request))


@verb("programs", SessionSetRequest, SessionAnswer, application="program")
async def session_update(services: Services, caller: Caller, request: SessionSetRequest, key: str) -> SessionAnswer:
    """Put some values into the session of a connection; the others stay."""
    return _session(await services.fleet.act(request.connection, "session_update", request))


@verb("programs", TokenRequest, TokenAnswer, application="chat")
async def token(services: Services, caller: Caller, request: TokenRequest, key: str) -> TokenAnswer:
    """Sign a token with which a user can say hello to the chat."""
    if caller.rooms is not None:
        raise VerbError("forbidden", "this key is for some rooms: who may sign tokens may enter all")
    auth = services.node.settings.auth
    if not auth.secret:
        raise VerbError("refused", "this server has no auth.secret to sign with")
    import jwt  # takes 0.1 s

    text = tokens.sign(
        request.user,
        secret=auth.secret,
        ttl=max(1.0, request.ttl),
        name=request.name,
        role=request.role,
        rooms=request.rooms,
        issuer=auth.issuer,
        audience=auth.audience,
        algorithm=auth.algorithms[0] if auth.algorithms else "HS256",
    )
    return TokenAnswer(token=text, expires=jwt.decode(text, options={"verify_signature": False})["exp"])


VERBS: Final[tuple[AnyVerb, ...]] = (
    send_to_all, send_to_room, send_to_user, send_to_connection, session_get, session_set, session_update, token,
)  # fmt: skip


async def _send(
    services: Services, logs: Iterable[str], request: SendRequest, key: str, *, shown: tuple[str, ...]
) -> SentAnswer:
    payload, form = packed(request.data())
    exclude = ",".join(request.exclude)
    most = services.node.settings.limits.message_size
    if len(payload) > most:
        raise VerbError("too_large", f"the message has {len(payload)} bytes, {most} are allowed", field="text")
    places = await _some_at_once(services.publish(log, payload, form=form, key=key, exclude=exclude) for log in logs)
    return SentAnswer(sent=[placed(name, place) for name, place in zip(shown, places, strict=True)])


async def _some_at_once(calls: Iterable[Awaitable[T]]) -> list[T]:
    """The results in order, of a bounded number of calls at once."""
    results: list[T] = []
    waiting = list(calls)
    for start in range(0, len(waiting), CONCURRENT):
        results += await asyncio.gather(*waiting[start : start + CONCURRENT])
    return results


def _session(answer: bytes) -> SessionAnswer:
    return SessionAnswer(session=msgspec.json.decode(answer))


# ---- the part of the worker that has the connection ------------------------------------------------------


class SendOrder(Struct, frozen=True):
    """What `send_to_connection` orders."""

    text: str | UnsetType = UNSET
    binary: bytes | UnsetType = UNSET


_decode_send: Final = msgspec.json.Decoder(SendOrder).decode
_decode_set: Final = msgspec.json.Decoder(SessionSetRequest).decode


async def act_send(connection: ClientConnection, args: bytes) -> None:
    """Carry out `send_to_connection` where the connection is."""
    order = _decode_send(args)
    connection.send(order.text if isinstance(order.text, str) else bytes(order.binary or b""))


async def act_session_get(connection: ClientConnection, args: bytes) -> Any:
    """The session."""
    return plain(connection.session)


async def act_session_set(connection: ClientConnection, args: bytes) -> Any:
    """Another session in the place of this one: all of it, or nothing where it cannot be kept."""
    before = plain(connection.session)
    connection.session.clear()
    try:
        return _updated(connection, args)
    except VerbError:
        connection.session.clear()
        connection.session.update(before)
        raise


async def act_session_update(connection: ClientConnection, args: bytes) -> Any:
    """Some values more, or others: all of them, or none where one cannot be kept."""
    before = plain(connection.session)
    try:
        return _updated(connection, args)
    except VerbError:
        connection.session.clear()
        connection.session.update(before)
        raise


def _updated(connection: ClientConnection, args: bytes) -> Any:
    try:
        connection.session.update(_decode_set(args).session)
    except (TypeError, ValueError) as error:
        raise VerbError("bad_request", str(error), field="session") from None
    return plain(connection.session)
