"""The port between one worker's connections and what is built on top of them.

`workers.callbacks.application` implements `Application` for a Worker's callbacks, `workers.chat.app` for the chat.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from workers.node.client_connection import ClientConnection
    from workers.presence import PresenceChange


class Application(Protocol):
    """Receives what happens to connections. An exception closes only the connection concerned (1011)."""

    any_path: bool
    binary: bool
    subprotocols: tuple[str, ...]

    def frame_size(self, message_size: int) -> int:
        """Bytes that a WebSocket message may have when its content may have `message_size`."""

    async def start(self) -> None:
        """Run before the first connection is accepted; an exception keeps the worker from becoming ready."""

    async def stop(self) -> None:
        """Run after the last connection has gone."""

    def page(self) -> tuple[bytes | None, bytes | None, Mapping[str, bytes]]:
        """Return the page at `/` and the script at `/chat.js`, or None, and the scripts that the page loads later."""

    def on_open(self, connection: ClientConnection) -> None:
        """The handshake is done."""

    def on_message(self, connection: ClientConnection, data: str | bytes) -> None:
        """A whole message arrived."""

    def on_close(self, connection: ClientConnection, code: int, reason: str) -> None:
        """The connection is closed; called once, while the connection is still in its rooms."""

    def on_lost(self, connection: ClientConnection, error: Exception) -> None:
        """The connection ended without a close frame, or the client did not answer in time; `on_close` follows."""

    def on_write_paused(self, connection: ClientConnection) -> None:
        """More than `limits.queue_size` bytes wait to be sent to the client."""

    def on_write_resumed(self, connection: ClientConnection) -> None:
        """The client reads again."""

    def announce_close(self, connection: ClientConnection, code: int, retry_after: float) -> None:
        """Tell the client that the worker will close with `code`, and after how many seconds to reconnect."""

    def is_busy(self, connection: ClientConnection) -> bool:
        """Return whether a request of the connection is still unanswered."""

    def on_moved(self, connection: ClientConnection) -> None:
        """The connection belongs to another worker now; `on_close` is not called."""

    def snapshot(self, connection: ClientConnection) -> Any:
        """Return the application's state of the connection for another worker, as a value that msgspec encodes."""

    def restore(self, connection: ClientConnection, state: Any, rooms: Sequence[str]) -> None:
        """Continue a connection from another worker, where it had `state` and was in `rooms`.

        The connection joins the rooms afterwards; `on_open` is not called.
        """

    def on_note(self, room: str, note: bytes) -> None:
        """A note arrived through a room's channel: it is not stored, and is not a presence note."""

    def on_presence_change(self, room: str, change: PresenceChange) -> None:
        """The users present in a room changed; called for rooms that have members on this worker."""

    def on_order(self, body: bytes, offset: int) -> None:
        """An application of any worker sent an order to all of them through the control room.

        The order is repeated when connections arrive from another worker: a connection whose `ordered` (for the log of
        names: `named`) is at least `offset` has had the order already.
        """

    def on_orders_lost(self, room: str) -> None:
        """Orders that `on_order` would have received are lost; `room` is their log (see `control_room.ORDER_ROOMS`)."""
