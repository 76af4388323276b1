"""What sits on top of the connections of a process: the port.

`application.py` calls a Worker's callbacks, the chat is another `Application`; both are told the same things.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from workers.node.client_connection import ClientConnection
    from workers.presence import PresenceChange


class Application(Protocol):
    """Told what happens to connections. An exception costs the one connection it is about (1011)."""

    any_path: bool
    binary: bool
    subprotocols: tuple[str, ...]

    def frame_size(self, message_size: int) -> int:
        """Bytes that a WebSocket message may have so that what it carries may have `message_size`."""

    async def start(self) -> None:
        """Before the first connection is accepted; an exception keeps the worker from getting ready."""

    async def stop(self) -> None:
        """After the last connection has gone."""

    def page(self) -> tuple[bytes | None, bytes | None]:
        """The page at `/` and the script at `/chat.js`, where it has them."""

    def opened(self, connection: ClientConnection) -> None:
        """The handshake is done."""

    def received(self, connection: ClientConnection, data: str | bytes) -> None:
        """One whole message came."""

    def closed(self, connection: ClientConnection, code: int, reason: str) -> None:
        """It is gone; called once, while it still is in its rooms."""

    def lost(self, connection: ClientConnection, error: Exception) -> None:
        """It went away without a word, or did not answer in time; `closed` follows."""

    def paused(self, connection: ClientConnection) -> None:
        """More waits to be sent to it than `limits.queue_size`."""

    def resumed(self, connection: ClientConnection) -> None:
        """It takes messages again."""

    def farewell(self, connection: ClientConnection, code: int, retry_after: float) -> None:
        """The worker is about to close it with `code`; the client may come back after so many seconds."""

    def busy(self, connection: ClientConnection) -> bool:
        """Whether a request of it is not answered yet."""

    def moved(self, connection: ClientConnection) -> None:
        """It is another worker's now; `closed` is not called."""

    def frozen(self, connection: ClientConnection) -> Any:
        """What another worker needs of the application's state, as msgspec can encode it."""

    def thawed(self, connection: ClientConnection, state: Any, rooms: Sequence[str]) -> None:
        """The connection came from another worker, where it had that state and was in these rooms.

        It is brought into them afterwards; `opened` is not called.
        """

    def noted(self, room: str, note: bytes) -> None:
        """Something that is not kept, and is no presence, came through a room's channel."""

    def presence_changed(self, room: str, change: PresenceChange) -> None:
        """Who is in a room that this worker has members in has changed."""

    def told(self, body: bytes, offset: int) -> None:
        """Something that an application of any worker told all of them through the control room.

        It may be told again when connections arrive from another worker; one whose `ordered` (of names: `named`)
        is not below `offset` has had it.
        """

    def missed(self, room: str) -> None:
        """Orders that `told` would have brought are lost; `room` is the log (see `control.ORDER_ROOMS`)."""

    async def query(self, what: str, args: dict[str, Any]) -> list[dict[str, Any]] | None:
        """Answer a question of the operator's that only the application can; None: not one of mine."""
