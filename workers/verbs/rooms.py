"""Rooms: rooms, room, join, leave and members.

What all workers know a part of (`rooms`) is asked of all of them. A page begins after the name that its cursor tells,
so a room that stays is in exactly one page.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final

import msgspec
from msgspec import Meta, Struct

from workers.addressing import is_public
from workers.bus.script import load
from workers.chat.chat_connection import ChatConnection
from workers.chat.rules.request_error import RequestError
from workers.cluster import keys as presence_keys
from workers.node.client_connection import ClientConnection
from workers.node.node import Node
from workers.verbs.fleet import DEADLINE
from workers.verbs.request import (
    MOST_CURSOR,
    AnyConnection,
    AnyUser,
    Caller,
    Cursor,
    DoneAnswer,
    Limit,
    RoomName,
    VerbAnswer,
    VerbError,
    VerbRequest,
    exactly_one_given,
)
from workers.verbs.verb import AnyVerb, Services, no_such_user, of_request, verb

_MEMBERS: Final = load(Path(__file__).parent / "scripts" / "members.lua")


# About how many users one step of the store's cursor gives. Always as many: a page that ends within a step is gone on
# with after the last user of that step, which another size would make another step.
SCANNED: Final = 1000

MembersCursor = Annotated[
    str,
    Meta(
        max_length=MOST_CURSOR,
        description="`cursor` of the page before; empty: the first page.",
        extra_json_schema={"pattern": r"^$|^[0-9]{1,19}(:|$)"},
    ),
]


class RoomsRequest(VerbRequest, frozen=True):
    """The rooms that connections are in, by name."""

    prefix: Annotated[str, Meta(max_length=256)] = ""
    cursor: Cursor = ""
    limit: Limit = 100


class RoomRow(Struct, frozen=True):
    """A room, and how many connections are in it over all workers."""

    room: str
    connections: int


class RoomsPage(VerbAnswer, frozen=True):
    """In the order of their names; `cursor` begins the next page, empty: this is the last."""

    rooms: list[RoomRow]
    cursor: str = ""


class RoomRequest(VerbRequest, frozen=True):
    """One room."""

    room: RoomName


class RoomState(VerbAnswer, frozen=True):
    """Users, and the log: `first` is the offset of the oldest message that can be read, `offset` that of the last.

    A program's connections without a user count together as one user.
    """

    room: str
    users: int
    epoch: str
    first: int
    offset: int


class PlaceRequest(VerbRequest, frozen=True):
    """Bring one connection, or all of a user, into a room, or take them out."""

    rule: ClassVar[dict[str, Any]] = exactly_one_given("connection", "user")

    room: RoomName
    connection: AnyConnection = ""
    user: AnyUser = ""


class MembersRequest(VerbRequest, frozen=True):
    """The users in a room."""

    room: RoomName
    cursor: MembersCursor = ""
    limit: Limit = 1000


class MemberRow(Struct, frozen=True):
    """A user in a room, with the number of connections there; user "": all connections without a user."""

    user: str
    name: str
    connections: int


class MembersPage(VerbAnswer, frozen=True):
    """`count` is that of the rows of all pages; `cursor` begins the next page, empty: this is the last.

    Each user is one row, however many connections the user has. A program's connections without a user are one row
    together, of the user "".
    """

    room: str
    count: int
    members: list[MemberRow]
    cursor: str = ""


@verb("rooms", RoomsRequest, RoomsPage, reads=True)
async def rooms(services: Services, caller: Caller, request: RoomsRequest, key: str) -> RoomsPage:
    """List the rooms that somebody is in, over all workers and machines."""
    asked = RoomsPart(after=request.cursor, prefix=request.prefix, most=request.limit + 1, patterns=caller.rooms)
    counts: dict[str, int] = {}
    for part in await services.fleet.ask("rooms", asked):
        for name, connections in msgspec.json.decode(part, type=list[tuple[str, int]]):
            counts[name] = counts.get(name, 0) + connections
    names = sorted(counts)
    page = names[: request.limit]
    cursor = page[-1] if len(names) > request.limit else ""
    return RoomsPage(rooms=[RoomRow(name, counts[name]) for name in page], cursor=cursor)


@verb("rooms", RoomRequest, RoomState, reads=True)
async def room(services: Services, caller: Caller, request: RoomRequest, key: str) -> RoomState:
    """Tell of one room how many users are in it, and where its log stands."""
    found = await services.node.presence.members(request.room, 0)
    bus = services.node.bus
    page = await bus.read(request.room, after=2**53 - 2, limit=1, max_bytes=1, messages_only=True)
    state = page.state
    return RoomState(room=request.room, users=found.count, epoch=state.epoch, first=state.first, offset=state.top)


@verb("rooms", PlaceRequest, DoneAnswer)
async def join(services: Services, caller: Caller, request: PlaceRequest, key: str) -> DoneAnswer:
    """Bring a connection, or all of a user, into a room, wherever they are; they are there when the answer comes.

    In the chat only where the user may join; the client is told, as of a join of its own.
    """
    await _act(services, caller, "join", request)
    return DoneAnswer()


@verb("rooms", PlaceRequest, DoneAnswer)
async def leave(services: Services, caller: Caller, request: PlaceRequest, key: str) -> DoneAnswer:
    """Take a connection, or all of a user, out of a room, wherever they are; in the chat the client is told."""
    await _act(services, caller, "leave", request)
    return DoneAnswer()


async def _act(services: Services, caller: Caller, what: str, request: PlaceRequest) -> None:
    """Have the connections join or leave. Raises VerbError, BusError."""
    if bool(request.connection) == bool(request.user):
        raise VerbError("bad_request", "give a connection or a user, and not both", field="connection")
    if request.connection:
        await services.fleet.act(request.connection, what, request)
        return
    found = await services.fleet.connections_of(request.user)
    acts = (services.fleet.act(one, what, PlaceRequest(room=request.room, connection=one)) for one in found)
    results = await asyncio.gather(*acts, return_exceptions=True)
    failures = [one for one in results if isinstance(one, BaseException)]
    gone = [one for one in failures if isinstance(one, VerbError) and one.code == "not_found"]
    if len(gone) == len(found):
        raise await no_such_user(services, caller, request.user)
    for failure in failures:
        if failure not in gone:
            raise failure


@verb("rooms", MembersRequest, MembersPage, reads=True)
async def members(services: Services, caller: Caller, request: MembersRequest, key: str) -> MembersPage:
    """List who is in a room, over all workers and machines: users, and the connections without one as the user ""."""
    scan, after = _cursor(request.cursor)
    _, users, names = presence_keys.of_room(services.node.settings.master.name, request.room)
    script = services.node.bus.script(_MEMBERS)
    found: list[MemberRow] = []
    while True:
        reply = await services.node.bus.call_read(script, [users, names], [scan, SCANNED])
        rows = sorted(_rows(reply), key=lambda one: one.user)
        rest = [one for one in rows if after is None or one.user > after]
        free = request.limit - len(found)
        if len(rest) > free:
            found += rest[:free]
            return _page(request, reply[1], found, f"{scan}:{rest[free - 1].user}")
        found += rest
        scan, after = reply[0].decode(), None
        if scan == "0" or len(found) == request.limit:
            return _page(request, reply[1], found, "" if scan == "0" else scan)


def _page(request: MembersRequest, count: int, found: list[MemberRow], cursor: str) -> MembersPage:
    return MembersPage(room=request.room, count=count, members=found, cursor=cursor)


def _cursor(cursor: str) -> tuple[str, str | None]:
    """A cursor of the store's, and the last user that was shown of what it gives: a small room comes whole.

    None: nothing of that was shown. "" is a user as well, that of the connections without one.
    """
    scan, shown, after = cursor.partition(":")
    if cursor and not (scan.isascii() and scan.isdigit() and len(scan) <= 19):  # the store's have 64 bits
        raise VerbError("bad_request", "this is no cursor of `members`", field="cursor")
    return scan or "0", after if shown else None


def _rows(reply: list[Any]) -> list[MemberRow]:
    fields = iter(reply[2:])
    return [
        MemberRow(user.decode(), (name or user).decode(), int(connections))
        for user, connections, name in zip(fields, fields, fields, strict=True)
    ]


VERBS: Final[tuple[AnyVerb, ...]] = (rooms, room, join, leave, members)


# ---- the part of each worker ---------------------------------------------------------------------------


class RoomsPart(Struct, frozen=True):
    """What `rooms` asks of each worker."""

    after: str
    prefix: str
    most: int
    patterns: tuple[str, ...] | None


_decode_part: Final = msgspec.json.Decoder(RoomsPart).decode
_decode_join: Final = msgspec.json.Decoder(PlaceRequest).decode


def part(node: Node, args: bytes) -> list[tuple[str, int]]:
    """This worker's rooms and connections in them, the first ones after a name."""
    asked = _decode_part(args)
    may = Caller("", rooms=asked.patterns).may_use
    found = sorted(
        one.name
        for one in node.hub.rooms.values()
        if is_public(one.name)
        and len(one)
        and one.name > asked.after
        and one.name.startswith(asked.prefix)
        and may(one.name)
    )
    return [(name, len(node.hub.rooms[name])) for name in found[: asked.most]]


async def act_join(connection: ClientConnection, args: bytes) -> None:
    """Carry out `join` where the connection is. Raises VerbError, BusError."""
    room = _decode_join(args).room
    if not isinstance(connection.app, ChatConnection):
        await connection.join(room)
        return
    try:
        async with asyncio.timeout(DEADLINE):
            await connection.app.enter(room)
    except RequestError as error:
        raise of_request(error) from None
    except TimeoutError:
        raise VerbError("unavailable", f"the connection did not join within {DEADLINE:g} s") from None


async def act_leave(connection: ClientConnection, args: bytes) -> None:
    """Carry out `leave` where the connection is. Raises BusError."""
    room = _decode_join(args).room
    if isinstance(connection.app, ChatConnection):
        connection.app.leave(room)
    else:
        await connection.leave(room)
