"""The arithmetic: from what was measured to the machines that a million people need, each factor named. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Final

from msgspec import Struct

from tests.sizing import cost
from tests.sizing.cost import Cost
from tests.sizing.reconnect import Course, Region, simulate
from tests.sizing.returning import Measured

BUSY: Final = 0.5  # part of a core that is used while nothing unusual happens
CORES: Final = 8  # workers of a host
READ: Final = 10.0  # seconds between two messages that one person reads
SAID: Final = 300.0  # seconds between two messages that one person says
PING: Final = 25.0  # seconds, limits.ping_interval
BACK: Final = 30.0  # seconds in which all people could come back at once, as far as the CPU decides
DESCRIPTORS: Final = 50_000  # connections of one worker
WORKER_KIB: Final = 1.99  # of an idle connection: `python -m tests.bench idle`
KERNEL_KIB: Final = 4.0  # of its socket, an estimate
PING_US: Final = 10.0  # there and back, an estimate
HISTORY: Final = 1000  # messages of a room that are kept, store.history_size
WEEK: Final = 604_800.0  # seconds, store.history_ttl
GRAINS: Final = 50_000  # events for a whole region
GIB: Final = 2.0**30


class Factors(Struct, frozen=True):
    """What the arithmetic begins with: µs of CPU, and bytes."""

    server_message: float  # with the deliveries to a room of cost.MEMBERS, on one host
    another_host: float  # more for each further host that has members of the room
    store_message: float  # of a store alone
    shard_message: float  # of a cluster, all shards together
    server_newcomer: float
    store_newcomer: float
    store_member: float
    store_kept: float


class Need(Struct, frozen=True):
    """What so many people need; cores as they are used, workers and shards as they are to be there."""

    people: int
    said: float  # messages a second
    delivered: float
    server_cores: float
    workers: int
    hosts: int  # one more than are needed, so that one may be lost
    server_gib: float
    store_cores: float
    shards: int
    store_gib: float


def factors(costs: Sequence[Cost]) -> Factors:
    """From one store and one host, three hosts, and six shards. Raises KeyError where one was not measured."""
    by = {(one.shards, one.hosts): one for one in costs}
    alone, three, six = by[1, 1], by[1, 3], by[6, 1]
    return Factors(
        server_message=alone.server_message,
        another_host=max(0.0, three.server_message - alone.server_message) / 2,
        store_message=alone.store_message,
        shard_message=six.store_message,
        server_newcomer=six.server_newcomer,
        store_newcomer=six.store_newcomer,
        store_member=alone.store_member,
        store_kept=alone.store_kept,
    )


def need(found: Factors, people: int) -> Need:
    """Of people of whom each reads a message every READ and says one every SAID seconds."""
    said, delivered = people / SAID, people / READ
    members = delivered / said
    server = delivered * found.server_message / cost.MEMBERS + people / PING * PING_US
    comers = ceil(people * found.server_newcomer / 1e6 / BACK)
    workers = max(ceil(server / 1e6 / BUSY), ceil(people / DESCRIPTORS), comers)
    hosts = ceil(workers / CORES) + 1
    server += said * (min(members, hosts) - 1) * found.another_host
    workers = max(ceil(server / 1e6 / BUSY), ceil(people / DESCRIPTORS), comers)
    store = said * found.shard_message
    rooms = people / members
    kept = rooms * min(HISTORY, said / rooms * WEEK) * found.store_kept
    return Need(
        people=people,
        said=said,
        delivered=delivered,
        server_cores=server / 1e6,
        workers=workers,
        hosts=ceil(workers / CORES) + 1,
        server_gib=people * (WORKER_KIB + KERNEL_KIB) * 1024 / GIB,
        store_cores=store / 1e6,
        shards=max(3, ceil(store / 1e6 / BUSY), ceil(people * found.store_newcomer / 1e6 / BACK)),
        store_gib=(people * found.store_member + kept) / GIB,
    )


def region(found: Factors, people: int) -> Region:
    """All of so many people come back at once, to the workers and shards that they need otherwise."""
    wanted = need(found, people)
    return Region(
        people=people,
        grain=max(1, people // GRAINS),
        workers=wanted.workers,
        shards=wanted.shards,
        server_newcomer=found.server_newcomer / 1e6,
        store_newcomer=found.store_newcomer / 1e6,
    )


def same_as(measured: Measured) -> Region:
    """The real run, for the simulation."""
    return Region(
        people=len(measured.back_after),
        workers=1,
        shards=1,
        server_newcomer=measured.server_newcomer,
        store_newcomer=measured.store_newcomer,
    )


# ---- as tables ---------------------------------------------------------------------------------------


def compared(measured: Measured) -> str:
    """The real run beside the simulated one."""
    course = simulate(same_as(measured))
    real = Course(measured.back_after, [], 0, [])
    rows = [
        f"| {name} | {real.quantile(part):.2f} s | {course.quantile(part):.2f} s |"
        for name, part in (("half are back", 0.5), ("99 % are back", 0.99), ("all are back", 1.0))
    ]
    return "\n".join(["| | measured | simulated |", "|---|---|---|", *rows])


def cost_table(costs: Sequence[Cost]) -> str:
    """What was measured of each setup."""
    head = "| shards | hosts | message: store | message: hosts | newcomer: store | newcomer: hosts | member | kept |"
    rows = [
        f"| {one.shards} | {one.hosts} | {one.store_message:.0f} µs | {one.server_message:.0f} µs "
        f"| {one.store_newcomer:.0f} µs | {one.server_newcomer:.0f} µs "
        f"| {one.store_member / 1024:.2f} KiB | {one.store_kept:.0f} B |"
        for one in costs
    ]
    return "\n".join([head, "|---|---|---|---|---|---|---|---|", *rows])


def shard_table(found: Factors) -> str:
    """What one shard carries at BUSY of its core."""
    said = BUSY * 1e6 / found.shard_message
    people, members = said * SAID, SAID / READ
    kept = people / members * min(HISTORY, WEEK / SAID * members) * found.store_kept
    return "\n".join(
        [
            "| one shard, half of its core | |",
            "|---|---|",
            f"| messages a second | {said:,.0f} |",
            f"| people who say one every {SAID:.0f} s | {people:,.0f} |",
            f"| rooms of {members:.0f} of them | {people / members:,.0f} |",
            f"| newcomers a second, with nothing else to do | {1e6 / found.store_newcomer:,.0f} |",
            f"| memory, with {HISTORY:,} messages a room | {(people * found.store_member + kept) / GIB:.0f} GiB |",
        ]
    )


def people_table(found: Factors, counts: Sequence[int] = (1_000_000, 10_000_000)) -> str:
    """What so many people need, with the arithmetic beside it."""
    needs = [need(found, people) for people in counts]
    per = found.server_message / cost.MEMBERS
    rows = [
        ("messages a second", f"people / {SAID:.0f} s", [f"{one.said:,.0f}" for one in needs]),
        ("deliveries a second", f"people / {READ:.0f} s", [f"{one.delivered:,.0f}" for one in needs]),
        (
            "workers' CPU",
            f"deliveries × {per:.0f} µs + people / {PING:.0f} s × {PING_US:.0f} µs for pings + messages × "
            f"{found.another_host:.0f} µs for each further host of the room",
            [f"{one.server_cores:.1f} cores" for one in needs],
        ),
        (
            "workers",
            f"at {BUSY:.0%} of a core, at most {DESCRIPTORS:,} connections each, and all people let in within "
            f"{BACK:.0f} s ({found.server_newcomer:.0f} µs each)",
            [f"{one.workers:,}" for one in needs],
        ),
        ("hosts", f"{CORES} workers each, one more than needed", [f"{one.hosts:,}" for one in needs]),
        (
            "their memory",
            f"people × ({WORKER_KIB} + {KERNEL_KIB:.0f} KiB)",
            [f"{one.server_gib:,.1f} GiB" for one in needs],
        ),
        (
            "stores' CPU",
            f"messages × {found.shard_message:.0f} µs",
            [f"{one.store_cores:.2f} cores" for one in needs],
        ),
        (
            "shards",
            f"at {BUSY:.0%} of a core, and all people let in within {BACK:.0f} s ({found.store_newcomer:.0f} µs each)",
            [f"{one.shards:,}" for one in needs],
        ),
        (
            "their memory",
            f"people × {found.store_member:.0f} bytes + rooms × {HISTORY:,} messages × {found.store_kept:.0f} bytes",
            [f"{one.store_gib:,.0f} GiB" for one in needs],
        ),
    ]
    head = "| | factors | " + " | ".join(f"{people:,}" for people in counts) + " |"
    lines = [f"| {what} | {how} | {' | '.join(values)} |" for what, how, values in rows]
    return "\n".join([head, "|---|---|" + "---|" * len(counts), *lines])
