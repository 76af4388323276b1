"""People: who is connected, which connections they have, and what a moderator may do to them."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal

import msgspec
from msgspec import Meta, Struct

from workers.addressing import is_internal
from workers.chat.rules.effects import Moderate
from workers.chat.rules.effects import Verb as Deed
from workers.chat.rules.identity import GUEST_PREFIX
from workers.close_codes import CloseCode
from workers.cluster.hosts import host_name
from workers.node.client_connection import ClientConnection
from workers.node.node import Node
from workers.payload import close_reason
from workers.registry import AuditEntry, Sanction
from workers.verbs.fleet import ConnectionsOf
from workers.verbs.request import (
    MOST_CURSOR,
    AnyConnection,
    AnyRoom,
    AnyUser,
    Caller,
    ConnectionId,
    Cursor,
    DoneAnswer,
    Limit,
    Reason,
    Seconds,
    UserId,
    VerbAnswer,
    VerbError,
    VerbRequest,
    exactly_one_given,
)
from workers.verbs.verb import AnyVerb, Services, no_such_user, verb

AuditCursor = Annotated[
    str,
    Meta(
        max_length=MOST_CURSOR,
        description="`cursor` of the page before; empty: the first page.",
        extra_json_schema={"pattern": r"^$|^[0-9]{1,16}-[0-9]{1,10}$"},
    ),
]
Code = Annotated[int, Meta(ge=3000, le=4999, description="The close code that the client gets.")]


class OnlineRequest(VerbRequest, frozen=True):
    """How many connections there are."""


class OnlineAnswer(VerbAnswer, frozen=True):
    """Connections to all workers and machines."""

    connections: int


class IsOnlineRequest(VerbRequest, frozen=True):
    """Whether a user is connected."""

    user: UserId


class IsOnlineAnswer(VerbAnswer, frozen=True):
    """Whether the user has a connection to any worker."""

    online: bool


class ConnectionsRequest(VerbRequest, frozen=True):
    """The connections: of one user, in one room, or all."""

    user: AnyUser = ""
    room: AnyRoom = ""
    cursor: Cursor = ""
    limit: Limit = 100


class ConnectionRow(Struct, frozen=True):
    """One connection; `since` is Unix time, `host` and `slot` name the worker that has it."""

    id: str
    user: str
    address: str
    since: float
    rooms: list[str]
    host: str = ""
    slot: int = 0


class ConnectionsPage(VerbAnswer, frozen=True):
    """In the order of their ids; `cursor` begins the next page, empty: this is the last."""

    connections: list[ConnectionRow]
    cursor: str = ""


class BindRequest(VerbRequest, frozen=True):
    """A connection and the user that it becomes."""

    connection: ConnectionId
    user: UserId


class UnbindRequest(VerbRequest, frozen=True):
    """A connection."""

    connection: ConnectionId


class DisconnectRequest(VerbRequest, frozen=True):
    """One connection, or all of a user."""

    rule: ClassVar[dict[str, Any]] = exactly_one_given("connection", "user")

    connection: AnyConnection = ""
    user: AnyUser = ""
    code: Code = int(CloseCode.REMOVED)
    reason: Reason = ""


class DisconnectAnswer(VerbAnswer, frozen=True):
    """How many connections were closed."""

    connections: int


class ModerationRequest(VerbRequest, frozen=True):
    """A user, everywhere or in one room."""

    user: UserId
    room: AnyRoom = ""
    reason: Reason = ""


class SanctionRequest(ModerationRequest, frozen=True):
    """A user, everywhere or in one room, for a time; the user may be nobody who is connected.

    Where somebody who is connected has `user` as the name, the call is refused: most likely the id of that one is
    meant. `ahead` says that `user` is an id all the same.
    """

    seconds: Seconds = 0.0
    ahead: bool = False


class LiftedAnswer(VerbAnswer, frozen=True):
    """Whether there was anything to lift."""

    lifted: bool


class SanctionsRequest(VerbRequest, frozen=True):
    """The bans and mutes that hold: of one kind, room or user, or all."""

    kind: Literal["", "ban", "mute"] = ""
    room: AnyRoom = ""
    user: AnyUser = ""
    cursor: Cursor = ""
    limit: Limit = 100


class SanctionRow(Struct, frozen=True):
    """A ban or a mute. Times are Unix time; `until` 0: without end; room "": everywhere.

    `address` has the networks that it holds for as well, where the user is a guest.
    """

    kind: str
    user: str
    room: str
    by: str
    since: float
    until: float
    reason: str
    address: str = ""


class SanctionsPage(VerbAnswer, frozen=True):
    """Newest first; `cursor` begins the next page, empty: this is the last."""

    sanctions: list[SanctionRow]
    cursor: str = ""


class AuditRequest(VerbRequest, frozen=True):
    """What was done to people: in one room, to one user, since a time (Unix time), or all that is remembered."""

    room: AnyRoom = ""
    user: AnyUser = ""
    since: Annotated[float, Meta(ge=0)] = 0.0
    cursor: AuditCursor = ""
    limit: Limit = 100


class AuditRow(Struct, frozen=True):
    """One deed; `seconds` 0: without end; room "": everywhere."""

    time: float
    action: str
    user: str
    room: str
    by: str
    seconds: float
    reason: str


class AuditPage(VerbAnswer, frozen=True):
    """Newest first; `cursor` begins the next page, empty: this is the last."""

    deeds: list[AuditRow]
    cursor: str = ""


@verb("people", OnlineRequest, OnlineAnswer, reads=True)
async def online(services: Services, caller: Caller, request: OnlineRequest, key: str) -> OnlineAnswer:
    """Count the connections to all workers and machines."""
    return OnlineAnswer(connections=await services.node.registry.count())


@verb("people", IsOnlineRequest, IsOnlineAnswer, reads=True)
async def is_online(services: Services, caller: Caller, request: IsOnlineRequest, key: str) -> IsOnlineAnswer:
    """Tell whether a user is connected to any worker."""
    return IsOnlineAnswer(online=await services.node.registry.is_online(request.user))


@verb("people", ConnectionsRequest, ConnectionsPage, reads=True)
async def connections(services: Services, caller: Caller, request: ConnectionsRequest, key: str) -> ConnectionsPage:
    """List the connections to all workers and machines."""
    asked = ConnectionsPart(request.user, request.room, request.cursor, request.limit + 1)
    found: dict[str, ConnectionRow] = {}  # one that moves may be at two workers for a moment
    for some in await services.fleet.ask("connections", asked):
        found |= {row.id: row for row in _decode_rows(some)}
    ids = sorted(found)
    cursor = ids[request.limit - 1] if len(ids) > request.limit else ""
    return ConnectionsPage(connections=[found[one] for one in ids[: request.limit]], cursor=cursor)


@verb("people", BindRequest, DoneAnswer, application="program")
async def bind(services: Services, caller: Caller, request: BindRequest, key: str) -> DoneAnswer:
    """Say whose a connection is, wherever it is; every worker shows it when the answer comes."""
    await services.fleet.act(request.connection, "bind", request)
    return DoneAnswer()


@verb("people", UnbindRequest, DoneAnswer, application="program")
async def unbind(services: Services, caller: Caller, request: UnbindRequest, key: str) -> DoneAnswer:
    """Make a connection nobody's, wherever it is."""
    await services.fleet.act(request.connection, "unbind", request)
    return DoneAnswer()


@verb("people", DisconnectRequest, DisconnectAnswer)
async def disconnect(services: Services, caller: Caller, request: DisconnectRequest, key: str) -> DisconnectAnswer:
    """Close one connection, or all of a user, wherever they are."""
    if bool(request.connection) == bool(request.user):
        raise VerbError("bad_request", "give a connection or a user, and not both", field="connection")
    if request.connection:
        await services.fleet.act(request.connection, "disconnect", request)
        return DisconnectAnswer(connections=1)
    closed = sum(msgspec.json.decode(one, type=int) for one in await services.fleet.ask("disconnect", request))
    if not closed:
        raise await no_such_user(services, caller, request.user)
    return DisconnectAnswer(connections=closed)


@verb("people", ModerationRequest, DoneAnswer, application="chat")
async def kick(services: Services, caller: Caller, request: ModerationRequest, key: str) -> DoneAnswer:
    """Put a user out of a room of the chat, or close the user's connections; it is in the audit trail."""
    node, fleet = services.node, services.fleet
    # The store counts a newcomer a moment later than the worker that has the connection.
    if not (await node.registry.is_online(request.user) or await fleet.connections_of(request.user)):
        raise await no_such_user(services, caller, request.user)
    await _moderate(services, caller, Deed.KICK, request)
    return DoneAnswer()


@verb("people", SanctionRequest, DoneAnswer, application="chat")
async def ban(services: Services, caller: Caller, request: SanctionRequest, key: str) -> DoneAnswer:
    """Keep a user out of the chat, or of one room."""
    await _check_whom(services, caller, request)
    await _moderate(services, caller, Deed.BAN, request, request.seconds)
    return DoneAnswer()


@verb("people", SanctionRequest, DoneAnswer, application="chat")
async def mute(services: Services, caller: Caller, request: SanctionRequest, key: str) -> DoneAnswer:
    """Let a user only read, everywhere or in one room."""
    await _check_whom(services, caller, request)
    await _moderate(services, caller, Deed.MUTE, request, request.seconds)
    return DoneAnswer()


@verb("people", ModerationRequest, LiftedAnswer, application="chat")
async def unban(services: Services, caller: Caller, request: ModerationRequest, key: str) -> LiftedAnswer:
    """Lift a ban."""
    return LiftedAnswer(lifted=await _moderate(services, caller, Deed.UNBAN, request))


@verb("people", ModerationRequest, LiftedAnswer, application="chat")
async def unmute(services: Services, caller: Caller, request: ModerationRequest, key: str) -> LiftedAnswer:
    """Lift a mute."""
    return LiftedAnswer(lifted=await _moderate(services, caller, Deed.UNMUTE, request))


@verb("people", SanctionsRequest, SanctionsPage, application="chat", reads=True)
async def sanctions(services: Services, caller: Caller, request: SanctionsRequest, key: str) -> SanctionsPage:
    """List the bans and mutes that hold."""
    held = sorted(await services.node.registry.sanctions_held(), key=_newest_first)
    fitting = [
        one
        for one in held
        if request.kind in ("", one.verb)
        and request.room in ("", one.room)
        and request.user in ("", one.user)
        and (caller.rooms is None or (one.room and caller.may_use(one.room)))
        and (not request.cursor or _place_of(one) > request.cursor)
    ]
    cursor = _place_of(fitting[request.limit - 1]) if len(fitting) > request.limit else ""
    return SanctionsPage(sanctions=[_sanction_row(one) for one in fitting[: request.limit]], cursor=cursor)


@verb("people", AuditRequest, AuditPage, application="chat", reads=True)
async def audit(services: Services, caller: Caller, request: AuditRequest, key: str) -> AuditPage:
    """List what was done to people, by whom and why."""
    try:
        found, cursor = await services.node.registry.trail_page(
            before=request.cursor, room=request.room, user=request.user, since=request.since, limit=request.limit
        )
    except ValueError as error:
        raise VerbError("bad_request", str(error), field="cursor") from None
    mine = [one for one in found if caller.rooms is None or (one.room and caller.may_use(one.room))]
    return AuditPage(deeds=[_audit_row(one) for one in mine], cursor=cursor)


VERBS: Final[tuple[AnyVerb, ...]] = (
    online, is_online, connections, bind, unbind, disconnect, kick, ban, mute, unban, unmute, sanctions, audit,
)  # fmt: skip


async def _check_whom(services: Services, caller: Caller, request: SanctionRequest) -> None:
    """Refuse the name of somebody who is connected where an id is wanted. Raises VerbError, BusError."""
    user = request.user
    if request.ahead or user.startswith(GUEST_PREFIX) or await services.node.registry.is_online(user):
        return
    holders = await services.holders_of(user)
    if holders and user not in holders:  # the store counts a newcomer a moment after the name is claimed
        raise await no_such_user(
            services, caller, user, also=", or say `ahead` where it is the id of a user who is away"
        )


async def _moderate(
    services: Services, caller: Caller, deed: Deed, request: ModerationRequest, seconds: float = 0.0
) -> bool:
    order = Moderate(None, deed, request.user, request.room, seconds, request.reason)
    return bool(await services.the_chat.moderation.carry_out(order, by=caller.name))


def _place_of(sanction: Sanction) -> str:
    """Where a sanction stands among all, newest first; as text in that order."""
    return f"{10**15 - sanction.at:016d} {sanction.verb} {sanction.room} {sanction.user}"


_newest_first = _place_of


def _sanction_row(one: Sanction) -> SanctionRow:
    times, addresses = (one.at / 1000, one.until / 1000), ", ".join(one.addresses)
    return SanctionRow(one.verb, one.user, one.room, one.by, *times, one.reason, addresses)


def _audit_row(one: AuditEntry) -> AuditRow:
    return AuditRow(one.time, one.verb, one.user, one.room, one.by, one.seconds, one.reason)


# ---- the part of each worker ---------------------------------------------------------------------------


class ConnectionsPart(Struct, frozen=True):
    """What `connections` asks of each worker."""

    user: str
    room: str
    after: str
    most: int


_decode_ids: Final = msgspec.json.Decoder(ConnectionsOf).decode
_decode_part: Final = msgspec.json.Decoder(ConnectionsPart).decode
_decode_rows: Final = msgspec.json.Decoder(list[ConnectionRow]).decode
_decode_disconnect: Final = msgspec.json.Decoder(DisconnectRequest).decode
_decode_bind: Final = msgspec.json.Decoder(BindRequest).decode


def part(node: Node, args: bytes) -> list[ConnectionRow]:
    """This worker's connections, the first ones after an id."""
    asked = _decode_part(args)
    rooms_of = node.hub.members.rooms_of
    found = sorted(
        one.id
        for one in node.connections.values()
        if one.id > asked.after and asked.user in ("", one.user) and (not asked.room or asked.room in rooms_of(one))
    )
    return [_row(node, node.connections[one]) for one in found[: asked.most]]


def part_ids(node: Node, args: bytes) -> list[str]:
    """The ids of this worker's connections of a user."""
    user = _decode_ids(args).user
    return [one.id for one in node.connections.values() if one.user == user]


def _row(node: Node, connection: ClientConnection) -> ConnectionRow:
    rooms = [room for room in node.hub.members.rooms_of(connection) if not is_internal(room)]
    return ConnectionRow(
        connection.id,
        connection.user,
        connection.ws.address,
        connection.opened_at,
        rooms,
        host_name(node.settings.master.host),
        node.launch.slot,
    )


def part_disconnect(node: Node, args: bytes) -> int:
    """Close this worker's connections of a user; returns how many."""
    asked = _decode_disconnect(args)
    found = [one for one in node.connections.values() if one.user == asked.user]
    for one in found:
        one.close(asked.code, close_reason(asked.reason))
    return len(found)


async def act_disconnect(connection: ClientConnection, args: bytes) -> None:
    """Carry out `disconnect` where the connection is."""
    asked = _decode_disconnect(args)
    connection.close(asked.code, close_reason(asked.reason))


async def act_bind(connection: ClientConnection, args: bytes) -> None:
    """Carry out `bind` where the connection is. Raises BusError."""
    await connection.bind(_decode_bind(args).user)


async def act_unbind(connection: ClientConnection, args: bytes) -> None:
    """Carry out `unbind` where the connection is. Raises BusError."""
    await connection.unbind()
