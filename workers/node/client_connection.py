"""`ClientConnection`: one client, with all that the server keeps about the client.

A connection is the transport's owner and the rooms' member at once, so that it costs one object here and one in the
transport.
"""

from __future__ import annotations

import os
import time
from operator import attrgetter
from threading import get_ident
from typing import TYPE_CHECKING, Any, Protocol

from workers.addressing import room_name, user_id
from workers.close_codes import CloseCode
from workers.connection import Connection
from workers.payload import TEXT, close_code, close_reason, packed
from workers.session import Session

if TYPE_CHECKING:
    from workers.transport.ports import OpenSocket


class MessageHandler(Protocol):
    """The application, as far as a connection calls it."""

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
    """What a connection calls of the process that serves it; `workers.node.node.Node` is one."""

    thread: int

    @property
    def application(self) -> MessageHandler: ...

    @property
    def bindings(self) -> ConnectionBindings: ...

    def on_close(self, connection: ClientConnection, code: int, reason: str) -> None: ...

    def on_write_paused(self, connection: ClientConnection) -> None: ...

    def on_write_resumed(self, connection: ClientConnection) -> None: ...

    def cut(self, connection: ClientConnection, code: int) -> None: ...


def new_connection_id() -> str:
    """96 random bits in hexadecimal: two alike among a billion have a chance of one in 10^11."""
    return os.urandom(12).hex()


def _in_a_thread(method: str) -> RuntimeError:
    return RuntimeError(
        f"connection.{method} was called in another thread than the worker's: use "
        f"worker.call_soon_threadsafe(connection.{method}, …)"
    )


def _bind_instead(connection: ClientConnection, user: object) -> None:
    raise AttributeError("connection.user cannot be assigned: `await connection.bind(user)` says who it is")


class ClientConnection(Connection):
    """One client, with all that the server keeps of it. Every method must be called on the worker's loop."""

    __slots__ = (
        "_host",
        "_id",
        "_session",
        "_user",
        "app",
        "changing",
        "deflate",
        "messages_in",
        "named",
        "opened_at",
        "ordered",
        "paused",
        "present",
        "sent",
        "ws",
    )

    # Read with each message, so by a getter in C; written by nobody but `__init__` and `become`.
    if TYPE_CHECKING:

        @property
        def id(self) -> str: ...

        @property
        def user(self) -> str: ...

    else:
        id = property(attrgetter("_id"), doc=Connection.id.__doc__)
        user = property(attrgetter("_user"), _bind_instead, doc=Connection.user.__doc__)

    def __init__(self, host: ConnectionHost, ws: OpenSocket, connection_id: str) -> None:
        self._host = host
        self.ws = ws
        self._id = connection_id  # unique over all workers and machines, and never names a worker
        self._user = ""  # "" until bound
        self.deflate: bool = ws.deflate
        self.paused = False
        self.app: Any = None  # the application's own state of this connection
        self.opened_at = time.time()
        self.messages_in = 0
        # Entries of the logs of orders up to here were carried out for it, or came before it:
        self.ordered = 0  # of the control room
        self.named = 0  # of the names
        self.sent = 0  # of what is sent to single connections
        self._session: Session | None = None
        self.changing = 0  # joins, leaves and bindings under way: it does not move to another worker meanwhile
        self.present: tuple[str, ...] = ()  # rooms of a program in which it is counted, under `user`

    # ---- for the application -----------------------------------------------------------------------

    @property
    def session(self) -> Session:
        """A dictionary of the application's own, which survives a reload."""
        if self._session is None:
            self._session = Session()
        return self._session

    @property
    def remote_ip(self) -> str:
        """The client's address, behind trusted proxies the one they name."""
        return self.ws.address

    @property
    def query(self) -> str:
        """The query string of the address that the client opened, without the question mark."""
        return self.ws.query

    @property
    def buffered(self) -> int:
        """Bytes that wait to be sent to this client."""
        return self.ws.buffered

    @property
    def rooms(self) -> list[str]:
        """The rooms that it joined."""
        return self._host.bindings.rooms_of(self)

    def send(self, data: str | bytes) -> None:
        """Send one message, text for str and binary for bytes; it leaves at the end of this turn of the loop.

        Raises RuntimeError in another thread than the loop's (see `Worker.call_soon_threadsafe`), TypeError for
        anything else, ValueError for a text that UTF-8 cannot hold.
        """
        if get_ident() != self._host.thread:
            raise _in_a_thread("send")
        if type(data) is not str and type(data) is not bytes:
            payload, form = packed(data)
            data = payload.decode() if form == TEXT else payload
        self.ws.send(data)

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Close with a closing handshake, for which the client has a bounded time.

        Raises RuntimeError in another thread than the loop's, TypeError and ValueError for what is no close code, or no
        reason.
        """
        if get_ident() != self._host.thread:
            raise _in_a_thread("close")
        self.ws.close(close_code(code), close_reason(reason))
        self._host.bindings.leave_all(self)

    async def join(self, room: str) -> None:
        """Be in a room from now on; when it returns, `members` of every worker shows it.

        A name has 1 to 64 letters, marks and digits of any script, and `_ . : -`. Raises TypeError and ValueError for
        what is none, BusError where the store cannot be reached in time.
        """
        await self._host.bindings.join(self, room_name(room))

    async def leave(self, room: str) -> None:
        """Be in it no longer; nothing where it was not. When it returns, nothing of the room comes any more.

        Raises TypeError and ValueError for what is no name, BusError where `members` cannot be told in time.
        """
        await self._host.bindings.leave(self, room_name(room))

    async def bind(self, user: str) -> None:
        """Say who this is: it gets what is sent to that user from now on, on every worker, and to no user before.

        When it returns, `is_online` and `members` of every worker show it. Where it fails, it is bound as it was.
        A user's id has 1 to 64 letters, marks and digits of any script, and `_ . : - %`. Raises TypeError and
        ValueError for what is none, a number for example, and BusError.
        """
        await self._host.bindings.bind(self, user_id(user))

    async def unbind(self) -> None:
        """Be nobody again: what is sent to the user that it was bound to does not reach it any more.

        It stays in its rooms. Raises BusError where `is_online` and `members` cannot be told in time.
        """
        await self._host.bindings.unbind(self)

    def become(self, user: str) -> None:
        """It is that user's; everything else about it is the caller's to change. Not for programs: `bind`."""
        self._user = user

    def __dir__(self) -> list[str]:
        """What a program may use: for those who look in a running one."""
        return dir(Connection)

    # ---- told by the transport ---------------------------------------------------------------------

    def on_message(self, data: str | bytes) -> None:
        self.messages_in += 1
        self._host.application.on_message(self, data)

    def on_close(self, code: int, reason: str) -> None:
        self._host.on_close(self, code, reason)

    def on_write_paused(self) -> None:
        self._host.on_write_paused(self)

    def on_write_resumed(self) -> None:
        self._host.on_write_resumed(self)

    # ---- told by the rooms -------------------------------------------------------------------------

    def cut(self, code: int) -> None:
        """The rooms gave up on it: it reads too slowly."""
        self._host.cut(self, code)
