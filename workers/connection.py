"""`Connection`: the public interface of one client, without the server's own state.

Every connection is a `workers.node.client_connection.ClientConnection`. Programs annotate with this class, so that
editors and type checkers show only the stable interface.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from workers.close_codes import CloseCode

if TYPE_CHECKING:
    from workers.handshake_request import ConnectionRequest
    from workers.session import Session


class ConnectionLost(ConnectionError):
    """The client went away without a closing handshake (close code 1006)."""


class ConnectionTimedOut(TimeoutError):
    """The client did not answer a ping in time (close code 4010), or reads too slowly (4008)."""


class Connection(ABC):
    """One client. Its methods run on the worker's loop: other threads use `Worker.call_soon_threadsafe`."""

    __slots__ = ()

    @property
    @abstractmethod
    def id(self) -> str:
        """The connection's id: unique over all workers and machines, unchanged by a reload."""

    @property
    @abstractmethod
    def user(self) -> str:
        """The user that the connection is bound to; "" until `bind`."""

    @property
    @abstractmethod
    def session(self) -> Session:
        """A dictionary for the program, which survives a reload."""

    @property
    @abstractmethod
    def remote_ip(self) -> str:
        """The client's IP address; behind trusted proxies the address they report."""

    @property
    @abstractmethod
    def query(self) -> str:
        """The query string of the address that the client opened, without the question mark."""

    @property
    @abstractmethod
    def request(self) -> ConnectionRequest:
        """Path, query, and the headers and cookies that `worker.keep_headers` names; it survives a reload."""

    @property
    @abstractmethod
    def buffered(self) -> int:
        """Bytes waiting to be sent to this client."""

    @property
    @abstractmethod
    def rooms(self) -> list[str]:
        """The rooms that the connection has joined."""

    @abstractmethod
    def send(self, data: str | bytes) -> None:
        """Send one message, text for str and binary for bytes, at the end of this turn of the loop.

        No effect on a closed connection. Raises TypeError for other types, ValueError for a text that
        UTF-8 cannot hold and for more than `worker.max_send_buffer`, RuntimeError in another thread than the loop's.
        """

    @abstractmethod
    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Close with a closing handshake, for which the client has a bounded time.

        Raises TypeError and ValueError for an invalid code or reason, RuntimeError in another thread.
        """

    @abstractmethod
    async def join(self, room: str) -> None:
        """Join a room; on return `members` of every worker shows the connection.

        A name has 1 to 64 letters, marks and digits of any script, and `_ . : -`. Raises TypeError and ValueError for
        an invalid name, BusError if the store cannot be reached in time.
        """

    @abstractmethod
    async def leave(self, room: str) -> None:
        """Leave a room; no effect if the connection is not in it. After the return no message of the room arrives.

        Raises TypeError and ValueError for an invalid name, BusError if `members` cannot be updated in time.
        """

    @abstractmethod
    async def bind(self, user: str) -> None:
        """Bind the connection to a user: from now on it receives what any worker sends to that user, and no other user.

        On return `is_online` and `members` of every worker show it. On an error the earlier binding stays.
        A user's id has 1 to 64 letters, marks and digits of any script, and `_ . : - %`. Raises TypeError and
        ValueError for an invalid id (a number, for example), and BusError.
        """

    @abstractmethod
    async def unbind(self) -> None:
        """Remove the binding: messages to the user no longer reach this connection.

        The connection stays in its rooms. Raises BusError if `is_online` and `members` cannot be updated in time.
        """
