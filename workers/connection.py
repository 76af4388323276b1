"""`Connection`: what a program may use of one client, and nothing of what the server keeps about the client.

`workers.node.client_connection.ClientConnection` is what every connection really is. Programs annotate with this class,
so that an editor offers, and a type checker lets pass, only what stays.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from workers.close_codes import CloseCode

if TYPE_CHECKING:
    from workers.session import Session


class ConnectionLost(ConnectionError):
    """The client went away without a closing handshake (close code 1006)."""


class ConnectionTimedOut(TimeoutError):
    """The client did not answer a ping in time (close code 4010), or reads too slowly (4008)."""


class Connection(ABC):
    """One client. It belongs to the worker's loop: from another thread use `Worker.call_soon_threadsafe`."""

    __slots__ = ()

    @property
    @abstractmethod
    def id(self) -> str:
        """Unique over all workers and machines, and the same after a reload."""

    @property
    @abstractmethod
    def user(self) -> str:
        """Who it is bound to; "" until `bind`."""

    @property
    @abstractmethod
    def session(self) -> Session:
        """A dictionary of the program's own, which survives a reload."""

    @property
    @abstractmethod
    def remote_ip(self) -> str:
        """The client's address, behind trusted proxies the one they name."""

    @property
    @abstractmethod
    def query(self) -> str:
        """The query string of the address that the client opened, without the question mark."""

    @property
    @abstractmethod
    def buffered(self) -> int:
        """Bytes that wait to be sent to this client."""

    @property
    @abstractmethod
    def rooms(self) -> list[str]:
        """The rooms that it joined."""

    @abstractmethod
    def send(self, data: str | bytes) -> None:
        """Send one message, text for str and binary for bytes; it leaves at the end of this turn of the loop.

        Nothing happens on a connection that is over. Raises TypeError for anything else, ValueError for a text that
        UTF-8 cannot hold and for more than `worker.max_send_buffer`, RuntimeError in another thread than the loop's.
        """

    @abstractmethod
    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Close with a closing handshake, for which the client has a bounded time.

        Raises TypeError and ValueError for what is no close code, or no reason, RuntimeError in another thread.
        """

    @abstractmethod
    async def join(self, room: str) -> None:
        """Be in a room from now on; when it returns, `members` of every worker shows it.

        A name has 1 to 64 letters, marks and digits of any script, and `_ . : -`. Raises TypeError and ValueError for
        what is none, BusError where the store cannot be reached in time.
        """

    @abstractmethod
    async def leave(self, room: str) -> None:
        """Be in it no longer; nothing where it was not. When it returns, nothing of the room comes any more.

        Raises TypeError and ValueError for what is no name, BusError where `members` cannot be told in time.
        """

    @abstractmethod
    async def bind(self, user: str) -> None:
        """Say who this is: it gets what is sent to that user from now on, on every worker, and to no user before.

        When it returns, `is_online` and `members` of every worker show it. Where it fails, it is bound as it was.
        A user's id has 1 to 64 letters, marks and digits of any script, and `_ . : - %`. Raises TypeError and
        ValueError for what is none, a number for example, and BusError.
        """

    @abstractmethod
    async def unbind(self) -> None:
        """Be nobody again: what is sent to the user that it was bound to does not reach it any more.

        It stays in its rooms. Raises BusError where `is_online` and `members` cannot be told in time.
        """
