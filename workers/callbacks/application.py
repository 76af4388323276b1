"""The application that calls the callbacks of a `Worker`: one message of a connection at a time."""

from __future__ import annotations

import inspect
import logging
from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from workers.addressing import ALL_ROOM
from workers.bus.port import BusError
from workers.close_codes import CloseCode
from workers.failures import Failures, brief
from workers.node.published_settings import PROGRAM, Notice
from workers.rate_limit import ProgramBucket

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from workers.bus.port import Entry
    from workers.node.client_connection import ClientConnection
    from workers.node.node import Node
    from workers.presence import PresenceChange

logger = logging.getLogger(__name__)

# Messages of one connection that may wait for a coroutine of on_message; then its socket is not read.
INBOX_LIMIT = 16


class ApplicationExit(RuntimeError):
    """Application code raised what is no Exception: it exited, was interrupted, or awaited something cancelled.

    `on_error` is told this; the original is its `__cause__`.
    """


def contained(error: BaseException) -> Exception:
    """What application code raised, as an Exception: SystemExit and its kind must not end the worker."""
    if isinstance(error, Exception):
        return error
    wrapped = ApplicationExit(f"application code raised {error!r}")
    wrapped.__cause__ = error
    return wrapped


class CallbackApplication:
    """Calls the callbacks of a `Worker`, one message of a connection at a time."""

    any_path = True
    binary = True
    subprotocols: tuple[str, ...] = ()

    def __init__(self, node: Node) -> None:
        self._node = node
        self._callbacks = node.worker.callbacks
        self._limits = node.settings.limits
        self._inboxes: dict[str, deque[str | bytes]] = {}
        self._failures = Failures()

    def frame_size(self, message_size: int) -> int:
        """A program receives the WebSocket message unchanged."""
        return message_size

    async def start(self) -> None:
        notice = Notice(self._node.bus, self._node.settings, PROGRAM, self._node.launch.worker)
        notice.post()
        self._node.lease.when_reborn(lambda old: notice.post())
        self._node.hub.follow(ALL_ROOM, _pass_over)  # so that a new connection need not wait for it

    async def stop(self) -> None:
        """Nothing to do."""

    def page(self) -> tuple[None, None, dict[str, bytes]]:
        return None, None, {}

    def on_open(self, connection: ClientConnection) -> None:
        connection.ws.mark_identified()
        self._node.hub.members.join(connection, [(ALL_ROOM, None)], _announce_nothing, partial(_not_joined, connection))
        self._node.tasks.start(self._counted(connection), what="count a connection")
        accepted = connection.ws.accepted
        if accepted is not None:
            connection.session.update(accepted.session)
            if accepted.user:
                self._work_off(connection, self._begin_bound(connection, accepted.user), what="on_handshake")
                return
        begun = [self._call(event, connection, *args) for event, args in self._beginning(connection)]
        waiting = [one for one in begun if one is not None]
        if waiting:  # the client's messages wait until then
            self._work_off(connection, self._one_by_one(connection, waiting), what="on_connect")

    async def _begin_bound(self, connection: ClientConnection, user: str) -> None:
        """Bind the connection to the user whom `on_handshake` named, and begin it then."""
        await self._node.bindings.bind(connection, user)
        for event, args in self._beginning(connection):
            if connection.ws.is_open and (waiting := self._call(event, connection, *args)) is not None:
                await self._one_by_one(connection, [waiting])

    def _beginning(self, connection: ClientConnection) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """The callbacks of a new connection, with what each gets beside the connection."""
        yield "connect", ()
        if "websocket_connect" in self._callbacks:
            yield "websocket_connect", (connection.request,)

    def _slow_down(self, connection: ClientConnection, size: int) -> None:
        """Pause reading the socket until there are tokens again: a program's protocol has no message for "too fast".

        No message is lost, and a flood fills only the client's own buffers. Programs have no limit unless `limits.rate`
        is set.
        """
        bucket = connection.app
        now = self._node.loop.time()
        if bucket is None:
            bucket = connection.app = ProgramBucket(self._limits.burst, now)
        if bucket.take(self._limits, now, size) and not connection.ws.reading_paused:
            bucket.charge(1.0)  # this message is not refused, but the next waits longer
            wait = (1.0 - bucket.tokens) / self._limits.rate
            self._node.counters.rate_limited += 1
            if bucket.should_warn(now):
                logger.warning(
                    "connection %s (%s) sends faster than limits.rate (%g messages a second, limits.burst %d): "
                    "the server reads it more slowly",
                    connection.id,
                    connection.remote_ip,
                    self._limits.rate,
                    self._limits.burst,
                )
            connection.ws.pause_reading()
            self._node.loop.call_later(wait, self._read_on, connection)

    def _read_on(self, connection: ClientConnection) -> None:
        inbox = self._inboxes.get(connection.id)
        if connection.id not in self._node.moving and (inbox is None or len(inbox) < INBOX_LIMIT):
            connection.ws.resume_reading()

    async def _counted(self, connection: ClientConnection) -> None:
        try:
            await self._node.admit(connection)
        except BusError as error:
            logger.debug("connection %s is not counted yet: %s", connection.id, error)

    def on_message(self, connection: ClientConnection, data: str | bytes) -> None:
        if self._limits.rate:
            self._slow_down(connection, len(data))
        inbox = self._inboxes.get(connection.id)
        if inbox is not None:
            inbox.append(data)
            if len(inbox) == INBOX_LIMIT:
                connection.ws.pause_reading()
            return
        waiting = self._call("message", connection, data)
        if waiting is not None:
            self._work_off(connection, waiting, what="on_message")

    def on_close(self, connection: ClientConnection, code: int, reason: str) -> None:
        self._inboxes.pop(connection.id, None)
        self._fire("close", connection, code, reason)
        self._node.bindings.left_all(connection)

    def announce_close(self, connection: ClientConnection, code: int, retry_after: float) -> None:
        """Nothing to send: a program's protocol has no such message, the close code has to do."""

    def is_busy(self, connection: ClientConnection) -> bool:
        return connection.id in self._inboxes

    def on_moved(self, connection: ClientConnection) -> None:
        """The session moves with the connection; the other worker counts the connection in its rooms."""
        self._node.bindings.left_all(connection, moved=True)

    def snapshot(self, connection: ClientConnection) -> None:
        return None

    def restore(self, connection: ClientConnection, state: Any, rooms: Sequence[str]) -> None:
        """A program's state is in `connection.session`, which moves without the application's help."""
        for room in rooms:
            self._node.bindings.entered(connection, room)

    def on_note(self, room: str, note: bytes) -> None:
        """Nothing to do: a program has no notes."""

    def on_presence_change(self, room: str, change: PresenceChange) -> None:
        """Nothing to do: a program asks for `members`."""

    def on_order(self, body: bytes, offset: int) -> None:
        """Nothing to do: programs send through their own rooms."""

    def on_orders_lost(self, room: str) -> None:
        """Nothing to do but the log line of the node: a program's orders can be read nowhere else."""

    def on_write_paused(self, connection: ClientConnection) -> None:
        self._fire("buffer_full", connection)

    def on_write_resumed(self, connection: ClientConnection) -> None:
        self._fire("buffer_drain", connection)

    def _work_off(self, connection: ClientConnection, waiting: Awaitable[Any], *, what: str) -> None:
        """Await this, and then what comes meanwhile."""
        inbox = self._inboxes[connection.id] = deque()
        self._node.tasks.start(self._worked_off(connection, inbox, waiting), what=what)

    async def _worked_off(
        self, connection: ClientConnection, inbox: deque[str | bytes], waiting: Awaitable[Any] | None
    ) -> None:
        """Await one message's coroutine after the other, in the order the messages came."""
        while True:
            if waiting is not None:
                try:
                    await waiting
                except BaseException as error:
                    if self._node.tasks.is_ending(error):
                        raise
                    self.failed(connection, error)
                    break  # the connection is closed, and waiting messages are dropped
            if not inbox:
                break
            data = inbox.popleft()
            if len(inbox) == INBOX_LIMIT - 1:
                connection.ws.resume_reading()
            waiting = self._call("message", connection, data)
        self._inboxes.pop(connection.id, None)

    def _fire(self, event: str, connection: ClientConnection, *args: Any) -> None:
        waiting = self._call(event, connection, *args)
        if waiting is not None:
            self._node.tasks.start(self._one_by_one(connection, [waiting]), what=f"on_{event}")

    def _call(self, event: str, connection: ClientConnection, *args: Any) -> Awaitable[Any] | None:
        """Call a callback and return what is still to be awaited."""
        callback = self._callbacks.get(event)
        if callback is None:
            return None
        try:
            result = callback(connection, *args)
        except BaseException as error:
            self.failed(connection, error)
            return None
        if result is None or inspect.isawaitable(result):
            return result
        if inspect.isgenerator(result) or inspect.isasyncgen(result):
            self.failed(connection, TypeError(f"on_{event} returned a generator, so none of its code ran"))
        return None

    async def _one_by_one(self, connection: ClientConnection, waiting: list[Awaitable[Any]]) -> None:
        for one in waiting:
            try:
                await one
            except BaseException as error:
                if self._node.tasks.is_ending(error):
                    raise
                self.failed(connection, error)

    def failed(self, connection: ClientConnection, error: BaseException) -> None:
        """Handle a bug in a callback: log it once with traceback, pass it to on_error, close the connection."""
        self._node.counters.callback_errors += 1
        self._failures.log(f"a callback failed for connection {connection.id}; it is closed (1011)", error, each=True)
        connection.close(CloseCode.INTERNAL_ERROR, self._told_reason(error))
        self.on_lost(connection, contained(error))

    def _told_reason(self, error: BaseException) -> str:
        """What the client is told: nothing of the program, except in development mode, for the browser's console."""
        return brief(error) if self._node.settings.server.dev else "internal error"

    def on_lost(self, connection: ClientConnection, error: Exception) -> None:
        """Call on_error: the connection was lost, the client did not answer in time, or a callback has a bug."""
        callback = self._callbacks.get("error")
        if callback is None:
            return
        try:
            result = callback(connection, error)
        except BaseException as failure:
            self._on_error_failed(failure)
            return
        if inspect.isawaitable(result):
            self._node.tasks.start(self._await_on_error(result), what="on_error")

    async def _await_on_error(self, waiting: Awaitable[Any]) -> None:
        try:
            await waiting
        except BaseException as error:
            if self._node.tasks.is_ending(error):
                raise
            self._on_error_failed(error)

    def _on_error_failed(self, failure: BaseException) -> None:
        self._node.counters.callback_errors += 1
        self._failures.log("on_error itself failed", failure)


def _announce_nothing(joined: Any) -> None:
    """A program's connection gets no announcement of a join."""


def _pass_over(entry: Entry) -> None:
    """Ignore the entry: the members of the room get it."""


def _not_joined(connection: ClientConnection, error: BaseException) -> None:
    if connection.ws.is_open:
        # Broadcasts would never reach the client: it reconnects when the store is back.
        logger.warning("connection %s could not join the room of all connections: %s", connection.id, error)
        connection.close(CloseCode.SERVICE_RESTART, "the store is away")


async def call(callback: Callable[..., Any] | None, *args: Any) -> Any:
    """Call a callback, which may be None, a function or a coroutine function. Raises what the callback raises."""
    if callback is None:
        return None
    result = callback(*args)
    return await result if inspect.isawaitable(result) else result
