"""`python -m tests.chaos.soak --minutes 30`: people come, join, speak, leave and go, and nothing is left of them.

What the server has (memory, descriptors, tasks, rooms, keys in the store) is looked at all the time; at the end it must
be within 5 % of what it was after the first sixth. Exits with 1 where it is not, or where a visit failed.

What is kept on purpose, a room's log and what remembers idempotency keys, is kept for so short a time here that by the
end of the first sixth as many go as come. Most of the rooms stand empty for longer than a worker lingers in them, so
that it leaves them and comes again; their names are few, because the store remembers a room's presence for an hour.
The visitors are always the same guests and have little to say: a worker remembers some thousands of names and texts.
Likewise a worker remembers the last 512 entries of each room, which the churn alone would bring in half an hour: so
they are there from the beginning, and are such as the visitors leave.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from statistics import median
from typing import Final

import redis
from msgspec import Struct
from prometheus_client.parser import text_string_to_metric_families

from tests.support import processes
from tests.support.server import Chatmaster
from tests.support.ws import ChatSocket, Closed, Refused
from workers import Gateway
from workers.chat.rules.names import generated

TOLERANCE: Final = 0.05
FEW: Final = 3
LASTING: Final = 40  # rooms that are always there
PASSING: Final = 5.0  # for each visit a second: rooms that are entered in turn, each by a few people, after 40 s again
STAYING: Final = 60  # people who are always there
GUESTS: Final = 300  # people who come and go
RING: Final = 520  # entries that a worker remembers of a room, and some
TEXTS: Final = 200  # that they say
SETTLED: Final = 60.0  # seconds until every room was entered, and some were left by the workers
SAMPLES: Final = 12  # in each of the two windows that are compared
WINDOW: Final = 1 / 12  # of the whole time


class Sample(Struct, frozen=True):
    """The server's figures at one moment."""

    at: float  # seconds since the beginning
    memory: int  # bytes that master and workers have written, shared pages by their share
    descriptors: int
    tasks: int
    rooms: int
    keys: int
    connections: int


JUDGED: Final = ("memory", "descriptors", "tasks", "rooms", "keys")


class Change(Struct, frozen=True):
    """One figure, then and now."""

    name: str
    before: float
    after: float

    @property
    def share(self) -> float:
        return (self.after - self.before) / self.before if self.before else float(self.after > 0)

    @property
    def too_much(self) -> bool:
        """Beyond 5 %; a few tasks more or less are what is under way just then, where a leak makes thousands."""
        return abs(self.share) > TOLERANCE and abs(self.after - self.before) > FEW


def compare(samples: Sequence[Sample], seconds: float) -> list[Change]:
    """Medians of the window before the end of the first sixth, and of the last window."""
    width, first = seconds * WINDOW, max(seconds / 6, SETTLED)
    begin = [one for one in samples if first - width <= one.at <= first]
    end = [one for one in samples if one.at >= seconds - width]
    assert begin and end, "no samples to compare"
    return [
        Change(name, median(getattr(one, name) for one in begin), median(getattr(one, name) for one in end))
        for name in JUDGED
    ]


class Soak:
    """The churn on a running server, and the looks at it."""

    def __init__(self, server: Chatmaster, *, seconds: float, per_second: float, seed: int = 0, rings: int = 0) -> None:
        """`rings`: entries that each lasting room begins with."""
        self.samples: list[Sample] = []
        self.outcomes: Counter[str] = Counter()  # of visits
        self._server = server
        self._seconds = seconds
        self._per_second = per_second
        self._random = random.Random(seed)
        self._store = redis.Redis.from_url(server.status()["store"]["url"], protocol=2)
        self._rings = rings
        self._passing = max(1, round(PASSING * per_second))
        self._began = 0.0
        self._guests: list[str] = []  # their tokens

    async def run(self) -> None:
        """From beginning to end."""
        async with AsyncExitStack() as stack:
            for number in range(STAYING):
                person = await stack.enter_async_context(await ChatSocket.enter(self._server.url, _room(number)))
                staying = asyncio.create_task(person.wait_closed(2 * self._seconds + 60))  # reads, and answers pings
                stack.callback(staying.cancel)
            await asyncio.to_thread(self._fill_rings)
            self._began = time.monotonic()
            looking = asyncio.create_task(self._look())
            await self._churn()
            await looking

    def _fill_rings(self) -> None:
        """Say what visitors say, as guests and with keys, in every lasting room."""
        guests = [self._random.getrandbits(64) for _ in range(GUESTS)]
        with Gateway(self._server.status()["store"]["url"]) as gateway:
            for number in range(LASTING * self._rings):
                guest, text = guests[number % GUESTS], f"visit {number % TEXTS}"
                gateway.say(_room(number), text, user=f"guest:{guest:016x}", name=generated(guest), key=f"k{number}")

    async def _churn(self) -> None:
        visits: set[asyncio.Task[None]] = set()
        count = 0
        while (now := time.monotonic() - self._began) < self._seconds:
            if (due := count / self._per_second) > now:
                await asyncio.sleep(due - now)
            count += 1
            if len(visits) < self._per_second * 5:
                visit = asyncio.create_task(self._visit(count))
                visits.add(visit)
                visit.add_done_callback(visits.discard)
        await asyncio.gather(*visits)

    async def _visit(self, number: int) -> None:
        room = f"passing-{number // 8 % self._passing}" if number % 2 else _room(self._random.randrange(LASTING))
        try:
            token = self._guests[number % GUESTS] if len(self._guests) >= GUESTS else ""
            async with await ChatSocket.enter(self._server.url, token=token) as person:
                if not token:
                    self._guests.append(person.welcome["token"])
                joined = await person.ask(type="join", room=room)
                said = await person.ask(type="say", room=room, text=f"visit {number % TEXTS}", key=f"k{number}")
                left = await person.ask(type="leave", room=room)
                if number % 3:
                    await person.close()
            found = [answer["type"] for answer in (joined, said, left)]
            outcome = "whole" if found == ["joined", "ack", "left"] else f"answered {found}"
        except (OSError, TimeoutError, Closed, Refused, AssertionError) as error:
            outcome = f"failed: {type(error).__name__}"
        self.outcomes[outcome] += 1

    # ---- looking -------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        pause = self._seconds * WINDOW / SAMPLES
        while (now := time.monotonic() - self._began) < self._seconds:
            self.samples.append(await asyncio.to_thread(self._sample, now))
            await asyncio.sleep(pause)

    def _sample(self, at: float) -> Sample:
        master = self._server.pid
        pids = [master, *(pid for pid in processes.children(master) if ": worker" in processes.title(pid))]
        with urllib.request.urlopen(f"{self._server.http}/metrics", timeout=10) as answer:
            families = text_string_to_metric_families(answer.read().decode())
            sums = {family.name: sum(sample.value for sample in family.samples) for family in families}
        keys = self._store.dbsize()
        assert isinstance(keys, int)
        return Sample(
            at=at,
            memory=sum(processes.written(pid) for pid in pids),
            descriptors=sum(len(processes.descriptors(pid)) for pid in pids),
            tasks=int(sums["chatmaster_tasks"]),
            rooms=int(sums["chatmaster_rooms"]),
            keys=keys,
            connections=int(sums["chatmaster_connections"]),
        )


def _room(number: int) -> str:
    return f"hall-{number % LASTING}"


def table(samples: Sequence[Sample], changes: Sequence[Change]) -> str:
    """Twelve looks over the time, then what is compared."""
    heads = ("minute", "memory MiB", *JUDGED[1:], "connections")
    lines = ["  ".join(f"{head:>11}" for head in heads)]
    for one in samples[:: max(1, len(samples) // 12)]:
        cells = (f"{one.at / 60:.1f}", f"{one.memory / 2**20:.1f}", one.descriptors, one.tasks, one.rooms, one.keys)
        lines.append("  ".join(f"{cell:>11}" for cell in (*cells, one.connections)))
    lines.append("")
    for change in changes:
        mark = "  beyond 5 %" if change.too_much else ""
        lines.append(f"{change.name:>12}  {change.before:14,.0f}  {change.after:14,.0f}  {change.share:+7.1%}{mark}")
    return "\n".join(lines)


def settings(seconds: float) -> dict[str, object]:
    """What is kept for a while is kept for a while that this run outlasts."""
    # What the store knows of a room lives four times as long as its log, and longer than a worker looks away.
    keep = max(15, int(seconds * WINDOW / 4))
    return {"store.history_ttl": keep, "limits.key_ttl": keep, "store.history_size": 100, "limits.rate": 0}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=20.0, help="visits a second")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    seconds = options.minutes * 60
    with Chatmaster(workers=options.workers, settings=settings(seconds)) as server:
        soak = Soak(server, seconds=seconds, per_second=options.rate, rings=RING)
        asyncio.run(soak.run())
        changes = compare(soak.samples, seconds)
        print(table(soak.samples, changes))
        print("visits:", ", ".join(f"{times} {outcome}" for outcome, times in soak.outcomes.items()))
        failed = any(change.too_much for change in changes) or set(soak.outcomes) != {"whole"}
        if failed:
            print(server.log()[-20_000:], file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
