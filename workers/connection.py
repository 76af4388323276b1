"""`Connection`: one client, as an application sees it.

It is the transport's owner and the rooms' member at once, so that a connection costs one object here and one in
the transport.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from operator import attrgetter
from threading import get_ident
from typing import TYPE_CHECKING, Any

from workers import connection_api
from workers.addressing import is_public, room_name, user_id
from workers.payload import TEXT, close_code, close_reason, packed
from workers.session import Session
from workers.tasks import answer_of

if TYPE_CHECKING:
    from workers.node.node import Node
    from workers.transport.ports import OpenSocket

logger = logging.getLogger(__name__)


class ConnectionLost(ConnectionError):
    """The client went away without a closing handshake (close code 1006)."""


class ConnectionTimedOut(TimeoutError):
    """The client did not answer a ping in time (close code 4010), or reads too slowly (4008)."""


LOST, NO_PONG, TOO_SLOW = 1006, 4010, 4008


def _in_a_thread(method: str) -> RuntimeError:
    return RuntimeError(
        f"connection.{method} was called in another thread than the worker's: use "
        f"worker.call_soon_threadsafe(connection.{method}, …)"
    )


def _bind_instead(connection: Connection, user: object) -> None:
    raise AttributeError("connection.user cannot be assigned: `await connection.bind(user)` says who it is")


class Connection(connection_api.Connection):
    """One client, with all that the server keeps of it. Every method must be called on the worker's loop."""

    __slots__ = (
        "_id",
        "_node",
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
        id = property(attrgetter("_id"), doc=connection_api.Connection.id.__doc__)
        user = property(attrgetter("_user"), _bind_instead, doc=connection_api.Connection.user.__doc__)

    def __init__(self, node: Node, ws: OpenSocket, connection_id: str) -> None:
        self._node = node
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
        return list(filter(is_public, self._node.hub.members.rooms_of(self)))

    def send(self, data: str | bytes) -> None:
        """Send one message, text for str and binary for bytes; it leaves at the end of this turn of the loop.

        Raises RuntimeError in another thread than the loop's (see `Worker.call_soon_threadsafe`), TypeError for
        anything else, ValueError for a text that UTF-8 cannot hold.
        """
        if get_ident() != self._node.thread:
            raise _in_a_thread("send")
        if type(data) is not str and type(data) is not bytes:
            payload, form = packed(data)
            data = payload.decode() if form == TEXT else payload
        self.ws.send(data)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close with a closing handshake, for which the client has a bounded time.

        Raises RuntimeError in another thread than the loop's, TypeError and ValueError for what is no close code, or no
        reason.
        """
        if get_ident() != self._node.thread:
            raise _in_a_thread("close")
        self.ws.close(close_code(code), close_reason(reason))
        self._node.hub.members.leave_all(self)

    async def join(self, room: str) -> None:
        """Be in a room from now on; when it returns, `members` of every worker shows it.

        A name has 1 to 64 letters, marks and digits of any script, and `_ . : -`. Raises TypeError and ValueError for
        what is none, BusError where the store cannot be reached in time.
        """
        await self._node.bindings.join(self, room_name(room))

    async def enter(self, room: str) -> None:
        """The same for any room, an inbox for example. Not for programs."""
        await answer_of(partial(self._enter, room))

    def _enter(self, room: str, done: Callable[[BaseException | None], None]) -> None:
        self._node.hub.members.join(self, [(room, None)], lambda joined: done(None), done)

    async def leave(self, room: str) -> None:
        """Be in it no longer; nothing where it was not. When it returns, nothing of the room comes any more.

        Raises TypeError and ValueError for what is no name, BusError where `members` cannot be told in time.
        """
        await self._node.bindings.leave(self, room_name(room))

    async def bind(self, user: str) -> None:
        """Say who this is: it gets what is sent to that user from now on, on every worker, and to no user before.

        When it returns, `is_online` and `members` of every worker show it. Where it fails, it is bound as it was.
        A user's id has 1 to 64 letters, marks and digits of any script, and `_ . : - %`. Raises TypeError and
        ValueError for what is none, a number for example, and BusError.
        """
        await self._node.bindings.bind(self, user_id(user))

    async def unbind(self) -> None:
        """Be nobody again: what is sent to the user that it was bound to does not reach it any more.

        It stays in its rooms. Raises BusError where `is_online` and `members` cannot be told in time.
        """
        await self._node.bindings.unbind(self)

    def become(self, user: str) -> None:
        """It is that user's; everything else about it is the caller's to change. Not for programs: `bind`."""
        self._user = user

    def __dir__(self) -> list[str]:
        """What a program may use: for those who look in a running one."""
        return dir(connection_api.Connection)

    # ---- told by the transport ---------------------------------------------------------------------

    def on_message(self, data: str | bytes) -> None:
        self.messages_in += 1
        self._node.application.received(self, data)

    def on_close(self, code: int, reason: str) -> None:
        self._node.closed(self, code, reason)

    def on_write_paused(self) -> None:
        self._node.paused(self)

    def on_write_resumed(self) -> None:
        self._node.resumed(self)

    # ---- told by the rooms -------------------------------------------------------------------------

    def cut(self, code: int) -> None:
        """The rooms gave up on it: it reads too slowly."""
        self._node.cut(self, code)
