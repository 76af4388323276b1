"""`ClientConnection`: one client with the server's state of it.

The connection is both the transport's owner and the rooms' member, so that a client costs one object here and one in
the transport.
"""

from __future__ import annotations

import os
import time
from operator import attrgetter
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final, Protocol

from workers.addressing import room_name, user_id
from workers.close_codes import CloseCode
from workers.connection import Connection
from workers.payload import TEXT, close_code, close_reason, packed
from workers.session import Session

if TYPE_CHECKING:
    from workers.handshake_request import ConnectionRequest
    from workers.rooms.room import Room
    from workers.transport.ports import OpenSocket


class MessageHandler(Protocol):
    """The part of the application that a connection calls."""

    def on_message(self, connection: ClientConnection, data: str | bytes) -> None: ...


class ConnectionBindings(Protocol):
    """Rooms and users of connections; see `workers.node.bindings`."""

    def rooms_of(self, connection: ClientConnection) -> list[str]: ...

    def leave_all(self, connection: ClientConnection) -> None: ...

    async def join(self, connection: ClientConnection, room: str) -> None: ...

    async def leave(self, connection: ClientConnection, room: str) -> None: ...

    async def bind(self, connection: ClientConnection, user: str) -> None: ...

    async def unbind(self, connection: ClientConnection) -> None: ...


class ConnectionHost(Protocol):
    """The part of the serving process that a connection calls; `workers.node.node.Node` implements it."""

    thread: int

    @property
    def application(self) -> MessageHandler: ...

    @property
    def bindings(self) -> ConnectionBindings: ...

    def on_close(self, connection: ClientConnection, code: int, reason: str) -> None: ...

    def on_write_paused(self, connection: ClientConnection) -> None: ...

    def on_write_resumed(self, connection: ClientConnection) -> None: ...

    def cut(self, connection: ClientConnection, code: int) -> None: ...


NO_ORDERS: Final = (0, 0, 0)  # offsets of the logs of orders, in the order of `control_room.ORDER_ROOMS`


def new_connection_id() -> str:
    """Return 96 random bits in hexadecimal: among a billion ids the chance of two equal ones is 1 in 10^11."""
    return os.urandom(12).hex()


def _in_a_thread(method: str) -> RuntimeError:
    return RuntimeError(
        f"connection.{method} was called in another thread than the worker's: use "
        f"worker.call_soon_threadsafe(connection.{method}, …)"
    )


def _bind_instead(connection: ClientConnection, user: object) -> None:
    raise AttributeError("connection.user cannot be assigned: use `await connection.bind(user)`")


class ClientConnection(Connection):
    """One client with the server's state of it. Every method must be called on the worker's loop."""

    __slots__ = (
        "_host",
        "_id",
        "_session",
        "_user",
        "app",
        "changing",
        "inside",
        "named",
        "opened_at",
        "ordered",
        "paused",
        "present",
        "sent",
        "ws",
    )

    # Read for each message, hence a getter in C; written only by `__init__` and `become`.
    if TYPE_CHECKING:

        @property
        def id(self) -> str: ...

        @property
        def user(self) -> str: ...

    else:
        id = property(attrgetter("_id"), doc=Connection.id.__doc__)
        user = property(attrgetter("_user"), _bind_instead, doc=Connection.user.__doc__)

    def __init__(
        self, host: ConnectionHost, ws: OpenSocket, connection_id: str, heard: tuple[int, int, int] = NO_ORDERS
    ) -> None:
        self._host = host
        self.ws = ws
        self._id = connection_id  # unique over all workers and machines; does not contain the worker
        self._user = ""  # "" until bound
        self.paused = False
        self.app: Any = None  # the application's state of this connection
        self.opened_at = time.time()
        self.inside: tuple[Room, ...] = ()  # written by the rooms alone
        # Offsets up to which the logs of orders were carried out for this connection, or are older than it:
        # of the control room, of the names, and of what is sent to single connections.
        self.ordered, self.named, self.sent = heard
        self._session: Session | None = None
        self.changing = 0  # joins, leaves and bindings under way; while there are any, the connection does not move
        self.present: tuple[str, ...] = ()  # rooms of a program that count the connection, under `user`

    # ---- for the application -----------------------------------------------------------------------

    @property
    def session(self) -> Session:
        """A dictionary for the application, which survives a reload."""
        if self._session is None:
            self._session = Session()
        return self._session

    @property
    def remote_ip(self) -> str:
        """The client's IP address; behind trusted proxies the address they report."""
        return self.ws.address

    @property
    def query(self) -> str:
        """The query string of the address that the client opened, without the question mark."""
        return self.ws.query

    @property
    def request(self) -> ConnectionRequest:
        """Path, query, and the headers and cookies that `worker.keep_headers` names; it survives a reload."""
        return self.ws.request

    @property
    def buffered(self) -> int:
        """Bytes waiting to be sent to this client."""
        return self.ws.buffered

    @property
    def rooms(self) -> list[str]:
        """The rooms that the connection has joined."""
        return self._host.bindings.rooms_of(self)

    def send(self, data: str | bytes) -> None:
        """Send one message, text for str and binary for bytes, at the end of this turn of the loop.

        Raises RuntimeError in another thread than the loop's (see `Worker.call_soon_threadsafe`), TypeError for
        other types, ValueError for a text that UTF-8 cannot hold.
        """
        if get_ident() != self._host.thread:
            raise _in_a_thread("send")
        if type(data) is not str and type(data) is not bytes:
            payload, form = packed(data)
            data = payload.decode() if form == TEXT else payload
        self.ws.send(data)

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Close with a closing handshake, for which the client has a bounded time.

        Raises RuntimeError in another thread than the loop's, TypeError and ValueError for an invalid code or reason.
        """
        if get_ident() != self._host.thread:
            raise _in_a_thread("close")
        self.ws.close(close_code(code), close_reason(reason))
        self._host.bindings.leave_all(self)

    async def join(self, room: str) -> None:
        """Join a room; on return `members` of every worker shows the connection.

        A name has 1 to 64 letters, marks and digits of any script, and `_ . : -`. Raises TypeError and ValueError for
        an invalid name, BusError if the store cannot be reached in time.
        """
        await self._host.bindings.join(self, room_name(room))

    async def leave(self, room: str) -> None:
        """Leave a room; no effect if the connection is not in it. After the return no message of the room arrives.

        Raises TypeError and ValueError for an invalid name, BusError if `members` cannot be updated in time.
        """
        await self._host.bindings.leave(self, room_name(room))

    async def bind(self, user: str) -> None:
        """Bind the connection to a user: from now on it receives what any worker sends to that user, and no other user.

        On return `is_online` and `members` of every worker show it. On an error the earlier binding stays.
        A user's id has 1 to 64 letters, marks and digits of any script, and `_ . : - %`. Raises TypeError and
        ValueError for an invalid id (a number, for example), and BusError.
        """
        await self._host.bindings.bind(self, user_id(user))

    async def unbind(self) -> None:
        """Remove the binding: messages to the user no longer reach this connection.

        The connection stays in its rooms. Raises BusError if `is_online` and `members` cannot be updated in time.
        """
        await self._host.bindings.unbind(self)

    def become(self, user: str) -> None:
        """Set the user only; the caller updates rooms and counts. Programs call `bind` instead."""
        self._user = user

    def __dir__(self) -> list[str]:
        """The public names, for debugging a running program."""
        return dir(Connection)

    # ---- called by the transport -------------------------------------------------------------------

    def on_message(self, data: str | bytes) -> None:
        self._host.application.on_message(self, data)

    def on_close(self, code: int, reason: str) -> None:
        self._host.on_close(self, code, reason)

    def on_write_paused(self) -> None:
        self._host.on_write_paused(self)

    def on_write_resumed(self) -> None:
        self._host.on_write_resumed(self)

    # ---- called by the rooms -----------------------------------------------------------------------

    @property
    def deflate(self) -> bool:
        """Whether the client takes compressed frames."""
        return self.ws.deflate

    def cut(self, code: int) -> None:
        """Close the connection: the client reads too slowly."""
        self._host.cut(self, code)
