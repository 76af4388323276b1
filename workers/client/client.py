"""The client's shell: one WebSocket at a time, its tasks, and the methods that an application calls.

A call survives lost connections: `say` returns when the server has stored the message, after any number of
reconnects. Messages that were missed come first after a reconnect.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable
from types import TracebackType
from typing import Any, Final, Self

import websockets
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_websocket
from websockets.typing import Subprotocol

from workers.client import core, reach, reconnect
from workers.client import events as ev
from workers.client.errors import CannotConnect, ConnectionEnded, OutcomeUnknown, RequestRefused
from workers.client.reconnect import End, ReconnectPolicy
from workers.client.requests import encode, spelled
from workers.client.verbs import Answer, Verbs
from workers.close_codes import CloseCode

TIMEOUT: Final = 30.0  # seconds for a request, over all connections it takes
MAX_MESSAGE: Final = 4 * 2**20  # bytes: a page of history is the largest message of a server
SUBPROTOCOL: Final = Subprotocol("chat.v1.json")
_LIMIT: Final = 1000  # events waiting for the application before the client stops reading

Token = str | Callable[[], str | Awaitable[str]] | None

_log = logging.getLogger(__name__)


class Client(Verbs):
    """A chat client. Use it as ``async with Client(url, rooms=["lobby"]) as chat:``."""

    def __init__(
        self,
        url: str,
        *,
        rooms: Iterable[str] = (),
        name: str | None = None,
        token: Token = None,
        on_event: Callable[[ev.Event], None] | None = None,
        timeout: float = TIMEOUT,
        random: Callable[[], float] = random.random,
        **websocket: Any,
    ) -> None:
        """Prepare a client; it connects in `start`.

        `token`: a string, or a function (a coroutine function, too) that gives a fresh one for each connection.
        `on_event` is called with every event, in order, on the loop; without it they wait for `events`.
        `timeout`: seconds until a request gives up. `random` gives numbers from 0 to 1, for the back-off. Further
        arguments go to `websockets`' `connect`.
        """
        self.url = url
        self.timeout = timeout
        if isinstance(rooms, str):
            raise TypeError(f"rooms is a list of names: [{rooms!r}]")
        self.core = core.Core(rooms, name=name, key_prefix=os.urandom(6).hex() + "-")
        self._token = token
        self._given: str | None = None  # of `token`, for the present connection
        self._on_event = on_event
        self._random = random
        self._websocket = {"max_size": MAX_MESSAGE, "compression": None, **websocket}
        self._ws: ClientConnection | None = None
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._events: deque[ev.Event] = deque()
        self._changed = asyncio.Event()  # wakes `events`, and a reader that waits for space in the queue
        self._first: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._due = asyncio.Event()  # wakes the sender
        self._refused: RequestRefused | CannotConnect | None = (
            None  # why the client ended, if the hello or the handshake was refused
        )
        self._failure = ""  # why the last attempt to connect failed; "" after a success
        self._tried = False
        self._ended: ConnectionEnded | None = None

    # ---- lifecycle --------------------------------------------------------------------------------

    async def start(self) -> Self:
        """Connect. Returns after the first `welcome`.

        Raises CannotConnect at once if no server listens or the address is wrong, and after `timeout` if no
        connection came about; RequestRefused where the server does not let us in, ConnectionEnded where it closes for
        good, and OutcomeUnknown where it did not answer within `timeout`.
        """
        self._first = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run(), name=f"chat client of {self.url}")
        try:
            async with asyncio.timeout(self.timeout):
                await self._first
        except TimeoutError:
            await self.close()
            if self._failure:
                raise CannotConnect(self.url, f"{self._failure}, for {self.timeout:g} s") from None
            raise OutcomeUnknown("hello", self.timeout, None) from None
        return self

    async def close(self) -> None:
        """Close the client. Unanswered requests raise ConnectionEnded."""
        self._end(ConnectionEnded(1000, "closed by this side"))
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    @property
    def user(self) -> str:
        """The user id that the server gave the client; "" before the first `welcome`."""
        return self.core.user

    @property
    def connected(self) -> bool:
        return self.core.online and self._ended is None

    @property
    def rooms(self) -> dict[str, ev.Position | None]:
        """The client's position in each room."""
        return {room: place.position for room, place in self.core.rooms.items()}

    async def events(self) -> AsyncIterator[ev.Event]:
        """Yield every event in order until the client ends. A slow loop makes the server wait; nothing is lost."""
        while True:
            while self._events:
                event = self._events.popleft()
                self._changed.set()
                yield event
            if self._ended is not None:
                return
            self._changed.clear()
            await self._changed.wait()

    # ---- inside ------------------------------------------------------------------------------------

    async def _request(self, expected: type[Answer], kind: str, timeout: float | None, **fields: Any) -> Answer:
        if self._ended is not None:
            raise ConnectionEnded(self._ended.code, self._ended.reason)
        request = self.core.ask(kind, **fields)
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._answers[request.id] = answered
        seconds = self.timeout if timeout is None else timeout
        try:
            async with asyncio.timeout(seconds):
                self._due.set()
                answer = await answered
        except TimeoutError:
            raise OutcomeUnknown(kind, seconds, request.key) from None
        finally:
            self._answers.pop(request.id, None)
            self.core.forget(request.id)
            self._due.set()  # requests of the same room may wait for this one
        if not isinstance(answer, expected):
            raise RequestRefused("internal", f"{type(answer).__name__} is no answer to {kind}")
        return answer

    async def _mark_read(self, room: str, offset: int) -> None:
        await self._send(self.core.mark_read(room, offset))

    async def _note(self, kind: str, **fields: Any) -> None:
        await self._send(encode({"type": kind, **spelled(fields)}) if self.core.online else None)

    async def _send(self, data: bytes | None) -> None:
        """Send what is due on an open connection; the reader handles a connection that breaks during the send."""
        if data is None or self._ws is None:
            return
        with contextlib.suppress(websockets.ConnectionClosed):
            await self._ws.send(data, text=True)

    async def _run(self) -> None:
        """Run until the client must not reconnect; a bug of the client is one reason."""
        why = ConnectionEnded(CloseCode.ABNORMAL, "the client failed")
        try:
            why = await self._come_and_go()
        finally:
            self._end(why)

    async def _come_and_go(self) -> ConnectionEnded:
        """Open one connection after another."""
        back = ReconnectPolicy(self._random, renewable=callable(self._token) or self._token is None)
        while True:
            end = await self._connection()
            self.core.lost()
            delay = back.after(end)
            if end.code == reconnect.UNAUTHORIZED and not (self._token and self._given):
                for action in self.core.become_a_stranger(self.timeout):
                    await self._carry_out(action)
            self._tell(ev.Disconnected(end.code, end.reason, delay))
            if delay is None:
                return ConnectionEnded(end.code, end.reason)
            await asyncio.sleep(delay)

    async def _connection(self) -> End:
        """Open a connection and serve it until it ends."""
        first, self._tried = not self._tried, True
        try:
            self._given = token = await self._fresh_token()
            async with open_websocket(self.url, subprotocols=[SUBPROTOCOL], **self._websocket) as ws:
                return await self._serve(ws, token)
        except websockets.InvalidStatus as error:
            return _refused(error)
        except (OSError, TimeoutError, websockets.WebSocketException) as error:
            self._failure = reach.words(error)
            if first and reach.hopeless(error):
                self._refused = CannotConnect(self.url, self._failure)
                return End(reconnect.POLICY, self._failure)
            return End(reconnect.LOST, self._failure)

    async def _serve(self, ws: ClientConnection, token: str | None) -> End:
        self._ws = ws
        self._failure = ""
        answered = False
        sending = asyncio.create_task(self._send_what_is_due(ws), name=f"requests to {self.url}")
        try:
            await ws.send(self.core.hello(token), text=True)
            while self._ws is ws:  # messages behind a hole are ignored
                await self._receive(await ws.recv())
                answered = answered or self.core.online
        except websockets.ConnectionClosed:
            pass
        finally:
            self._ws = None
            sending.cancel()
            await asyncio.wait([sending])
        if not sending.cancelled():
            sending.result()
        if self._refused is not None:
            return End(reconnect.POLICY, str(self._refused), answered=answered)
        if (bye := self.core.bye) is not None:  # the close frame, which repeats it, may be lost
            return End(bye.code, bye.reason, bye.retry_after_ms / 1000, answered)
        return End(ws.close_code or reconnect.LOST, ws.close_reason or "", answered=answered)

    async def _fresh_token(self) -> str | None:
        if not callable(self._token):
            return self.core.renewed_token or self._token
        given = self._token()
        return given if isinstance(given, str) else await given

    async def _receive(self, data: str | bytes) -> None:
        event = ev.decode(data)
        if event is None:
            return
        for action in self.core.receive(event, asyncio.get_running_loop().time()):
            await self._carry_out(action)
        if isinstance(event, ev.Welcome | ev.Error):
            self._due.set()
        await self._wait_for_room()

    async def _send_what_is_due(self, ws: ClientConnection) -> None:
        """Send while the connection lasts, one request after another, so that requests keep their order."""
        try:
            while True:
                self._due.clear()
                actions, wake_at = self.core.due(asyncio.get_running_loop().time())
                for action in actions:
                    await self._carry_out(action)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(wake_at if math.isfinite(wake_at) else None):
                        await self._due.wait()
        except Exception:
            ws.transport.abort()  # ends the reader, which raises the error
            raise

    async def _carry_out(self, action: core.Action) -> None:
        match action:
            case core.Send(data=wanted):
                await self._send(wanted)
            case core.Tell(event=told):
                self._tell(told)
            case core.Finish(id=number, answer=answer):
                self._finish(number, answer)
            case core.Resume():
                _log.warning("something is missing in a room: resuming")
                self._cut()
            case core.StayAway(why=why):
                self._refused = why
                self._cut()

    def _cut(self) -> None:
        """Close a useless connection without waiting for the closing handshake."""
        if self._ws is not None:
            self._ws.transport.abort()
            self._ws = None

    async def _wait_for_room(self) -> None:
        """Stop reading while the application is behind, unless it waits for an answer."""
        while len(self._events) >= _LIMIT and not self._answers:
            self._changed.clear()
            await self._changed.wait()

    def _finish(self, number: int, answer: ev.FromServer | RequestRefused | OutcomeUnknown) -> None:
        waiting = self._answers.get(number)
        if waiting is None or waiting.done():
            return
        if isinstance(answer, RequestRefused | OutcomeUnknown):
            waiting.set_exception(answer)
        else:
            waiting.set_result(answer)

    def _tell(self, event: ev.Event) -> None:
        if isinstance(event, ev.Welcome) and self._first is not None and not self._first.done():
            self._first.set_result(None)
        if self._on_event is None:
            self._events.append(event)
            self._changed.set()
            return
        try:
            self._on_event(event)
        except Exception:
            _log.exception("on_event failed")

    def _end(self, why: ConnectionEnded) -> None:
        if self._ended is None:
            self._ended = why
        if self._first is not None and not self._first.done():
            self._first.set_exception(self._refused or self._ended)
        for waiting in self._answers.values():
            if not waiting.done():
                waiting.set_exception(self._ended)
        self._changed.set()

    async def __aenter__(self) -> Self:
        return self if self._task is not None else await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class Connecting:
    """The result of `connect`: awaited, a connected client; with `async with`, a client closed at the end."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def __await__(self) -> Generator[Any, None, Client]:
        return self._client.start().__await__()

    async def __aenter__(self) -> Client:
        return await self._client.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()


def connect(url: str, **options: Any) -> Connecting:
    """Create and connect a client; the options are those of `Client`.

    `async with connect(url) as chat:` closes it at the end; after `chat = await connect(url)` call its `close`. Raises
    what `Client.start` does.
    """
    return Connecting(Client(url, **options))


def _refused(error: websockets.InvalidStatus) -> End:
    """Convert the HTTP status of a refused handshake; statuses that a retry cannot change end the client."""
    status = error.response.status_code
    lasting = 400 <= status < 500 and status not in (408, 425, 429)
    return End(reconnect.POLICY if lasting else reconnect.LOST, f"HTTP {status}")
