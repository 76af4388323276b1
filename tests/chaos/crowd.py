"""A steady load: witnesses in one room, some of whom send messages all the time, through all faults."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any

import redis

from tests.chaos import archive
from tests.chaos.archive import Archive
from tests.chaos.judge import Account, Verdict, judge
from tests.chaos.witness import Place, Witness
from tests.support.wait import until_async
from workers.client.events import Position

SAY_TIMEOUT = 30.0  # seconds after which a writer gives one thing up
BURST = 5  # things said at once, now and then


class Crowd:
    """Clients of one room. The first `writers` of them speak, each about every `period` seconds."""

    def __init__(
        self,
        url: str | Callable[[int], str],
        *,
        room: str = "hall",
        witnesses: int = 10,
        writers: int = 5,
        period: float = 0.04,
        seed: int = 0,
        prefix: str = "w",
        **options: Any,
    ) -> None:
        """`url` may be a function of the witness's number."""
        self.room = room
        urls = url if callable(url) else lambda _: url
        self.witnesses = [
            Witness(urls(number), room, name=f"{prefix}{number}", **options) for number in range(witnesses)
        ]
        self._writers = self.witnesses[:writers]
        self._period = period
        self._random = random.Random(seed)
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> Crowd:
        """Everybody is in, and the writers begin."""
        await asyncio.gather(*(one.start() for one in self.witnesses))
        self._tasks = [asyncio.create_task(self._write(one)) for one in self._writers]
        return self

    async def stop_writing(self) -> None:
        """The writers finish what they are at."""
        self._stopping.set()
        await asyncio.gather(*self._tasks)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, *(one.close() for one in self.witnesses), return_exceptions=True)

    async def __aenter__(self) -> Crowd:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # ---- what it has --------------------------------------------------------------------------------------

    @property
    def acked(self) -> int:
        return sum(len(one.said) for one in self._writers)

    @property
    def refused(self) -> int:
        return sum(one.refused for one in self.witnesses)

    async def progress(self, count: int = 20, timeout: float = 60.0) -> None:
        """Wait until so many more things were acknowledged."""
        goal = self.acked + count
        await until_async(lambda: self.acked >= goal, timeout, f"{count} more things are acknowledged")

    # ---- the end --------------------------------------------------------------------------------------------

    async def settle(self, store: redis.Redis, timeout: float = 60.0) -> Archive:
        """Stop, say one last thing, and wait until everybody has got there; returns what the store has."""
        await self.stop_writing()
        speaker = self.witnesses[-1]
        await until_async(
            lambda: speaker.attempt(f"{speaker.nickname} ends", turn=2**31, timeout=timeout),
            timeout,
            "the last thing is acknowledged",
        )
        now = await asyncio.to_thread(archive.read, store, self.room)
        last = now.by_offset[max(now.by_offset)]  # what comes after it is no message
        try:
            await until_async(lambda: not self._behind(last), timeout, f"everybody is at {last}")
        except AssertionError:
            pass  # the judge says who misses what
        return now

    def _behind(self, last: Place) -> list[str]:
        return [one.nickname for one in self.witnesses if not _is_at(one.rooms.get(self.room), last)]

    def judge(self, *archives: Archive) -> Verdict:
        """See `judge.judge`."""
        return judge((Account(one.nickname, one.notes, one.said) for one in self.witnesses), archives)

    # ---- inside ---------------------------------------------------------------------------------------------

    async def _write(self, one: Witness) -> None:
        turn = 0
        while not self._stopping.is_set():
            turn += 1
            texts = [f"{one.nickname} {turn}"]
            if self._random.random() < 0.1:  # several at once have to stay in order with the ones before and after
                texts = [f"{one.nickname} {turn}.{number}" for number in range(BURST)]
            await asyncio.gather(*(one.attempt(text, turn=turn, timeout=SAY_TIMEOUT) for text in texts))
            await asyncio.sleep(self._period * self._random.uniform(0.5, 1.5))


def _is_at(position: Position | None, last: Place) -> bool:
    return position is not None and position.epoch == last.epoch and position.offset >= last.offset


def assert_kept(verdict: Verdict) -> None:
    assert not verdict.faults, str(verdict)


def sum_of(verdicts: Sequence[Verdict]) -> Verdict:
    total = Verdict()
    for verdict in verdicts:
        total.add(verdict)
    return total
