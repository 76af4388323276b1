"""Owns the order of commands on one connection: a queue, batches, and what happens to them when something breaks.

Theory of operation. Commands are collected for one turn of the loop and sent as one batch; the next batch waits for
the answers of the last. With one batch under way, an error that concerns the connection and not the command (no
such script, a read-only replica) can be healed and the same commands sent again before any later one: nothing
overtakes. redis-py's own retries are not used because they did just that. With `atomic` a batch is a
MULTI/EXEC, so that either all of it was carried out or none.

After a batch of many commands there is a pause, in which the next one gathers (`batch_pause.py`). Neither a command
that comes alone nor a long queue waits for its end.

When the connection is lost under a batch, the outcome is unknown. Commands that may be sent twice go back to
the head of the queue; the others get `Unavailable`. Whatever was not sent yet waits for its deadline.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import hiredis

from workers.bus.batch_pause import BatchPause
from workers.bus.connection import StoreConnection, pack
from workers.bus.errors import StoreFault, fault_of, refusal
from workers.bus.port import BusError, StoreRefused, Unavailable
from workers.bus.script import Script

logger = logging.getLogger(__name__)

BATCH = 256  # commands: about 4 ms of the store's time
BATCH_BYTES = 1 << 20
QUEUE_BYTES = 16 << 20  # 4 ms of full frames for a second; beyond it callers are told at once
PATIENCE = 0.003  # seconds between the sending of a batch of many commands and the next
ENOUGH = 64 * 1024  # bytes in the queue: a larger batch would save nothing more
SWEEP = 0.25  # seconds between looks at the deadlines

_MULTI = b"*1\r\n$5\r\nMULTI\r\n"
_EXEC = b"*1\r\n$4\r\nEXEC\r\n"


class StoreCommand(ABC):
    """What is sent at once and gets one reply. `again`: sending it twice does no harm."""

    __slots__ = ("again", "count", "deadline", "refusal", "size")

    again: bool
    count: int  # how many commands it counts as
    size: int  # bytes, about
    deadline: float  # set by the pipeline
    refusal: str | None  # the store's last refusal of the command; None: the outcome is unknown

    @property
    @abstractmethod
    def packed(self) -> bytes:
        """The whole command in RESP."""

    @abstractmethod
    def answered(self, reply: Any) -> None:
        """The store's reply, unless it is an error."""

    @abstractmethod
    def failed(self, error: BusError) -> None:
        """The command was refused, or its outcome is unknown."""


class Call(StoreCommand):
    """A command that was packed beforehand; `done` gets the reply or a BusError."""

    __slots__ = ("_done", "_packed")

    def __init__(self, packed: bytes, done: Callable[[Any], None], *, again: bool) -> None:
        self._packed = packed
        self._done = done
        self.again = again
        self.count, self.size = 1, len(packed)

    @property
    def packed(self) -> bytes:
        return self._packed

    def answered(self, reply: Any) -> None:
        self._done(reply)

    def failed(self, error: BusError) -> None:
        self._done(error)


class Pipeline:
    """The commands of one connection."""

    def __init__(
        self,
        *,
        atomic: bool,
        timeout: float,
        reconnect: Callable[[], None],
        refused: Callable[[str], None],
        batch: int = BATCH,
        patience: float = 0.0,
    ) -> None:
        self._atomic = atomic
        self._timeout = timeout
        self._reconnect = reconnect
        self._refused = refused  # told why the store takes no commands, in its words, as often as it says so
        self._batch = batch
        self.pause = BatchPause(patience, self._flush)
        self._loop = asyncio.get_running_loop()
        self._scripts: dict[str, Script] = {}
        self._link: StoreConnection | None = None
        self._queue: deque[StoreCommand] = deque()
        self._queued_bytes = 0
        self._flight: list[StoreCommand] = []
        self._replies: list[Any] = []
        self._expected = 0  # replies to the batch under way
        self._loading = 0  # scripts whose load was not confirmed yet
        self._scheduled = False
        self._sweeping: asyncio.TimerHandle | None = None
        self.turn = 0  # moves on when a command that was queued before must not grow any more

    def __len__(self) -> int:
        return len(self._queue) + len(self._flight)

    @property
    def usable(self) -> bool:
        """The connection is up and knows the scripts."""
        return self._link is not None and not self._loading

    def register(self, script: Script) -> Script:
        """Have a script loaded on this connection, before anything uses it; returns the script."""
        self._scripts[script.sha] = script
        if self._link is not None:
            self._load([script])
        return script

    def send(self, command: StoreCommand, *, closing: bool = True) -> None:
        """Queue a command; it is answered or failed exactly once, not before this returns.

        With `closing`, what was queued before it may not `grow` any more: it would overtake this one.
        """
        if closing:
            self.turn += 1
        command.deadline = self._loop.time() + self._timeout
        command.refusal = ""
        if not self.grow(command.size):
            self._loop.call_soon(command.failed, Unavailable("the queue to the store is full"))
            return
        self._queue.append(command)
        if not self._scheduled and not self._flight:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def grow(self, size: int) -> bool:
        """Let the queue be longer by so many bytes; False: it is full."""
        if self._queued_bytes + size > QUEUE_BYTES:
            return False
        self._queued_bytes += size
        return True

    # ---- the connection ----------------------------------------------------------------------------

    def up(self, link: StoreConnection) -> None:
        """A connection is there; the scripts go first."""
        self._link = link
        link.replied = self._replied
        self._load(list(self._scripts.values()))

    def down(self) -> None:
        """The connection is gone."""
        self._link = None
        self._loading = self._expected = 0
        self._replies = []
        flight, self._flight = self._flight, []
        for command in flight:
            if not command.again:
                command.failed(Unavailable("the connection to the store broke"))
            command.refusal = None
        self._put_back([command for command in flight if command.again])

    def start(self) -> None:
        self._sweeping = self._loop.call_later(SWEEP, self._sweep)

    def stop(self) -> None:
        """Fail whatever is left."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        for command in [*self._flight, *self._queue]:
            command.failed(Unavailable("the bus was stopped"))
        self._flight = []
        self._queue.clear()

    # ---- out ---------------------------------------------------------------------------------------

    def _flush(self) -> None:
        """Send the next batch, unless it waits for more; then the end of the pause calls this again."""
        self._scheduled = False
        if self._flight or not self._queue or self._link is None or self._loading:
            return
        if not self.pause.active or self._queued_bytes >= ENOUGH:
            self._send_batch(self._next_batch())

    def _next_batch(self) -> list[StoreCommand]:
        queue = self._queue
        batch: list[StoreCommand] = []
        size = count = 0
        while queue and count < self._batch and size < BATCH_BYTES:
            command = queue.popleft()
            size += command.size
            count += command.count
            batch.append(command)
        self._queued_bytes -= size
        self.turn += 1
        self.pause.sent(count)
        return batch

    def _send_batch(self, batch: list[StoreCommand]) -> None:
        self._flight = batch
        if len(batch) == 1:
            self._write(batch[0].packed, 1)
            return
        packed = [command.packed for command in batch]
        if self._atomic:
            self._write(b"".join((_MULTI, *packed, _EXEC)), len(batch) + 2)
        else:
            self._write(b"".join(packed), len(batch))

    def _write(self, data: bytes, replies: int) -> None:
        """Send the batch under way."""
        assert self._link is not None
        self._expected = replies
        self._link.write(data)

    def _put_back(self, commands: list[StoreCommand]) -> None:
        """Be sent first when that is possible again, in the old order."""
        self._queue.extendleft(reversed(commands))
        self._queued_bytes += sum(command.size for command in commands)

    def _load(self, scripts: list[Script]) -> None:
        assert self._link is not None
        self._loading += len(scripts)
        self._link.write(b"".join(pack("SCRIPT", "LOAD", one.source) for one in scripts))
        if not self._loading:
            self._flush()

    # ---- in ----------------------------------------------------------------------------------------

    def _replied(self, reply: Any) -> None:
        if self._expected:
            self._replies.append(reply)
            if len(self._replies) == self._expected:
                replies, self._replies, self._expected = self._replies, [], 0
                self._settle(self._results(replies))
        elif self._loading:
            self._loaded(reply)
        else:
            logger.error("the store sent an unexpected reply; the connection is dropped")
            self._reconnect()

    def _loaded(self, reply: Any) -> None:
        if isinstance(reply, hiredis.ReplyError):
            self._refused(str(reply))
            self._reconnect()
            return
        self._loading -= 1
        if not self._loading:
            self._flush()

    def _results(self, replies: list[Any]) -> list[Any]:
        """One result for each command of the batch."""
        if not self._atomic or len(replies) == 1:
            return replies
        last = replies[-1]
        if isinstance(last, list):
            return last
        # EXEC was refused and nothing was done; the first complaint says why.
        reason = next((one for one in replies if isinstance(one, hiredis.ReplyError)), last)
        return [reason] * len(self._flight)

    def _settle(self, results: list[Any]) -> None:
        flight, self._flight = self._flight, []
        faults = {
            at: self._fault_of(str(result))
            for at, result in enumerate(results)
            if isinstance(result, hiredis.ReplyError)
        }
        undone = [flight[at] for at, fault in faults.items() if fault is not StoreFault.REFUSED]
        if undone:
            for at, fault in faults.items():
                if fault is not StoreFault.REFUSED and flight[at].refusal is not None:
                    flight[at].refusal = str(results[at])
            self._put_back(undone)
            self._heal({fault: str(results[at]) for at, fault in faults.items()})
        else:
            self._flush()  # the store works on the next batch while the callers hear of this one
        _give_replies(flight, results, faults)

    def _fault_of(self, words: str) -> StoreFault:
        """What to do about an error reply."""
        return fault_of(words)

    def _heal(self, faults: Mapping[StoreFault, str]) -> None:
        if StoreFault.WRONG_SERVER not in faults and self._link is not None:
            logger.info("the store lost its scripts; they are loaded again")
            self._load(list(self._scripts.values()))
            return
        if StoreFault.WRONG_SERVER in faults:
            self._refused(faults[StoreFault.WRONG_SERVER])
        self._reconnect()

    # ---- deadlines ---------------------------------------------------------------------------------

    def _sweep(self) -> None:
        self._sweeping = self._loop.call_later(SWEEP, self._sweep)
        self.expire(self._loop.time())

    def expire(self, now: float) -> None:
        """Fail what was not sent in time, and break a connection on which no answer comes."""
        self.turn += 1  # a command that grows has the deadline of its first part
        while self._queue and self._queue[0].deadline <= now:
            command = self._queue.popleft()
            self._queued_bytes -= command.size
            late = "the store did not answer in time"
            command.failed(StoreRefused(command.refusal) if command.refusal else Unavailable(late))
        if self._flight and self._flight[0].deadline <= now:
            # A frozen store may still carry the command out, so no caller may be told that the store did not.
            for command in self._flight:
                command.again = command.again and command.deadline > now
            self._reconnect()


def _refusal(command: StoreCommand, words: str) -> BusError:
    """Nothing was done, unless an earlier attempt got no answer."""
    error = refusal(words)
    if command.refusal is None and type(error) is StoreRefused:
        return Unavailable(words)
    return error


def _give_replies(commands: list[StoreCommand], results: list[Any], faults: Mapping[int, StoreFault]) -> None:
    """Give every command its reply; those that are sent again have none yet. `faults` are by place."""
    for at, command in enumerate(commands):
        result = results[at]
        try:
            if at not in faults:
                command.answered(result)
            elif faults[at] is StoreFault.REFUSED:
                command.failed(_refusal(command, str(result)))
        except Exception:  # a bug of one caller must not keep the answers from the others
            logger.exception("handling a reply of the store failed")
