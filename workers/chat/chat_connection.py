"""ChatConnection: one connection of the chat. It hands requests to the session and effects to the executor.

What needs more than one answer of the store (`hello`, `join`, `history`, …) is a coroutine, one at a time: meanwhile
the connection's next requests wait here, a few of them, and then in its socket.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

from workers.bus.port import BusError
from workers.chat.rules.commands import RequestId
from workers.chat.rules.effects import Effects
from workers.chat.rules.request_error import RequestError, from_bus_error
from workers.chat.rules.session import ChatSession
from workers.chat.rules.state import SessionPhase
from workers.chat.user_rate import UserRate
from workers.node.client_connection import ClientConnection
from workers.rate_limit import TokenAccount
from workers.tasks import Tasks
from workers.transport.frames import text_frame

BACKLOG: Final = 16  # requests that wait here; then the socket is not read
IN_FLIGHT: Final = 256  # publications without an answer; then the socket is not read

Work = Coroutine[Any, Any, Effects | None]  # None: `go_on` or `give_up` is called later with what follows


class Executor(Protocol):
    """What a connection needs of `EffectExecutor`, which carries out effects for all connections of a worker."""

    tasks: Tasks
    user_rate: UserRate

    def carry_out(self, client: ChatConnection, effects: Effects) -> None:
        """Do what the session wants, in order."""

    def enter(self, client: ChatConnection, room: str, done: asyncio.Future[None]) -> Work:
        """Join a room for a program; `done` is told how that ended."""

    def refuse(self, client: ChatConnection, request: RequestId, error: RequestError) -> Effects:
        """End a hello, a join or another request that cannot be done; returns the answer."""

    def fail(self, client: ChatConnection, error: BaseException) -> None:
        """Log a bug, and end the session and the connection (1011)."""


class ChatConnection:
    """One connection of the chat."""

    __slots__ = (
        "_account", "_backlog", "_in_flight", "_waiting", "_working", "claimed", "connection", "executor", "session",
    )  # fmt: skip

    def __init__(self, executor: Executor, connection: ClientConnection, session: ChatSession) -> None:
        self.executor = executor
        self.connection = connection
        self.session = session
        self.claimed = ""  # the name that `NameClaims` counts it for, under its user
        self._account: TokenAccount | None = None  # of the user, once something was asked
        self._working = 0  # coroutines under way: one, or for a moment the next as well
        self._backlog: list[str | bytes | Callable[[], None]] | None = None  # what came meanwhile
        self._in_flight = 0  # publications under way
        self._waiting = False  # the socket is not read

    # ---- requests ----------------------------------------------------------------------------------

    def on_message(self, data: str | bytes) -> None:
        """Carry a request out, or refuse it where its user asks too much; later, where others have to come first."""
        if self._working:
            self._wait(data)
            return
        now, account = time.time(), self._account
        if account is None:
            account = self._open_account()
        if account is None or account.spend(len(data), now):
            self.executor.carry_out(self, self.session.receive_data(data, now))
        elif now < account.blocked_until:
            self.carry_out(self.session.one_too_many(data, account.blocked_until - now))
        elif owed := account.borrow(len(data), now):
            self.carry_out(self.session.receive_data(data, now))
            self.executor.user_rate.lease(account, owed)  # last: in one batch with what the request asks of the store
        else:
            self.start(self._take_later(account, data), None, "a lease of requests")

    def _wait(self, data: str | bytes | Callable[[], None]) -> None:
        """Keep a request, or the beginning of an order, until those before it are done."""
        if self._backlog is None:
            self._backlog = []
        self._backlog.append(data)
        if len(self._backlog) == BACKLOG:
            self._pause()

    def _open_account(self) -> TokenAccount | None:
        """The user's account, once the user is known; None where there is no limit, or no user yet."""
        user_rate = self.executor.user_rate
        if self.session.phase is SessionPhase.OPEN and user_rate.limited:
            self._account = user_rate.account(self.session.identity.user)
        return self._account

    async def _take_later(self, account: TokenAccount, data: str | bytes) -> Effects:
        wait = await self.executor.user_rate.spend(account, len(data))
        return self.session.one_too_many(data, wait) if wait else self.session.receive_data(data, time.time())

    @property
    def idle(self) -> bool:
        """Nothing is under way: every request was answered, or none has come yet."""
        return not self._working and not self._in_flight and self.session.phase in (SessionPhase.NEW, SessionPhase.OPEN)

    # ---- back pressure -----------------------------------------------------------------------------

    def publishing(self) -> None:
        """Count a publication that the store has not answered yet."""
        self._in_flight += 1
        if self._in_flight == IN_FLIGHT:
            self._pause()

    def published(self) -> None:
        """Count the answer of the store."""
        self._in_flight -= 1
        if self._waiting:
            self._resume()

    def _pause(self) -> None:
        if not self._waiting:
            self._waiting = True
            self.connection.ws.pause_reading()

    def _resume(self) -> None:
        """Read the socket again, which is not read now, where nothing is against it."""
        if not self._working and self._in_flight < IN_FLIGHT // 2:
            self._waiting = False
            self.connection.ws.resume_reading()

    # ---- orders of programs ------------------------------------------------------------------------

    async def enter(self, room: str) -> None:
        """Join a room for a program, in turn with the client's own requests. Raises RequestError, BusError."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def begin() -> None:
            self.start(self.executor.enter(self, room, done), None, "join for a program")

        if self._working:
            self._wait(begin)
        else:
            begin()
        await done

    def leave(self, room: str) -> None:
        """Leave a room for a program; nothing, where the connection is not in it."""
        self.carry_out(self.session.expelled(room, ""))

    # ---- coroutines --------------------------------------------------------------------------------

    def start(self, work: Work, request: RequestId, what: str, *, eager: bool = False) -> None:
        """Carry out a coroutine and then what it returns; until then the connection's requests wait.

        `eager` runs it to its first wait at once, without a task; `what` names it in the log.
        """
        self._working += 1
        run = self.executor.tasks.begin if eager else self.executor.tasks.start
        run(self._run(work, request), what=what)

    async def _run(self, work: Work, request: RequestId) -> None:
        try:
            try:
                effects = await work
            except RequestError as error:
                effects = self.executor.refuse(self, request, error)
            except BusError as error:
                effects = self.executor.refuse(self, request, from_bus_error(error))
            if effects is not None:
                self._finish(effects)
        except Exception as error:
            self.fail(error)

    def go_on(self, effects: Effects) -> None:
        """Finish a coroutine that returned None: its work is done, and these effects follow."""
        try:
            self._finish(effects)
        except Exception as error:
            self.fail(error)

    def give_up(self, request: RequestId, error: BusError) -> None:
        """Finish a coroutine that returned None: its work could not be done."""
        self.go_on(self.executor.refuse(self, request, from_bus_error(error)))

    def _finish(self, effects: Effects) -> None:
        """A coroutine has ended: do what follows, then what came meanwhile, as far as nothing new is under way."""
        self._working -= 1
        if effects and self.connection.ws.is_open:
            self.carry_out(effects)
        while self._backlog and not self._working and self.session.phase is not SessionPhase.ENDED:
            self._begin(self._backlog.pop(0))
        if not self._backlog:
            self._backlog = None
        if self._waiting:
            self._resume()

    def _begin(self, waited: str | bytes | Callable[[], None]) -> None:
        if callable(waited):
            waited()
        else:
            self.on_message(waited)

    def fail(self, error: BaseException) -> None:
        """End the connection because of a bug, which is logged once."""
        self._backlog = None
        self.executor.fail(self, error)

    # ---- out ---------------------------------------------------------------------------------------

    def carry_out(self, effects: Effects) -> None:
        """Do what the session wants, in order."""
        self.executor.carry_out(self, effects)

    def send(self, payload: bytes) -> None:
        """Send a push, or an answer, to the client."""
        self.connection.ws.write_frame(text_frame(payload))
