"""The hosts that share a store: what each says of itself, and what is ordered for each.

Every worker renews the lease of its host; the store's clock alone decides whether a host is still there. An order
waits in the store until it is taken back, so that no host misses it, whoever gives it and whenever the host reads it.
"""

from __future__ import annotations

import logging
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from workers.bus.script import Argument, ScriptRunner, scripts_of
from workers.cluster import keys

logger = logging.getLogger(__name__)

LEASE: Final = 8.0  # seconds
KEPT: Final = 3600.0  # seconds that a lost host is remembered, and what was ordered for it


class HostRecord(Struct, frozen=True, omit_defaults=True):
    """What a host says of itself. Sizes in bytes, times in seconds; one of another version may lack what is new."""

    version: str = ""
    pid: int = 0  # the master's
    addresses: tuple[str, ...] = ()
    started: float = 0.0  # Unix time
    generation: int = 0
    workers: int = 0  # that accept
    connections: int = 0
    users: int = 0
    capacity: int = 0  # connections that the limit of open files allows
    memory: int = 0
    loop_lag: float = 0.0  # of the slowest worker
    store_seconds: float = 0.0  # the last round trip through the store
    clock: float = 0.0  # how far the host's clock is ahead of the store's
    contested: bool = False  # another master has the same name


class DrainOrder(Struct, frozen=True):
    """The clients of a host leave: `notice` seconds after it was ordered, spread over `seconds`.

    `stop`: the server ends when they have left, and the order with it.
    """

    by: str
    notice: float = 5.0
    seconds: float = 30.0
    stop: bool = False


@dataclass(frozen=True, slots=True)
class StandingOrder:
    """An order, and since when it stands: Unix time by the store's clock."""

    order: DrainOrder
    since: float

    @property
    def leave_at(self) -> float:
        """When the first client leaves."""
        return self.since + self.order.notice

    @property
    def over_at(self) -> float:
        """When the last client has left."""
        return self.leave_at + self.order.seconds


@dataclass(frozen=True, slots=True)
class KnownHost:
    """One host as the store knows it."""

    host: str
    record: HostRecord
    order: StandingOrder | None
    lost_for: float  # seconds since its lease was over; 0: the host is there


class Hosts:
    """The list of hosts in the store."""

    def __init__(self, calls: ScriptRunner, name: str) -> None:
        self._calls = calls
        self._keys = keys.of_hosts(name)
        scripts = scripts_of(Path(__file__).parent, "attend", "members", "order", "retire")
        self._attend, self._members, self._order, self._retire = map(calls.script, scripts)

    async def attend(self, host: str, master: str, record: HostRecord) -> tuple[float, StandingOrder | None, bool]:
        """Renew a host's lease. Returns the store's time, the standing order, whether another master has that name.

        Raises BusError.
        """
        args: list[Argument] = [host, int(LEASE * 1000), msgspec.json.encode(record), master, int(KEPT * 1000)]
        now, order, contested = await self._calls.call(self._attend, self._keys, args, again=True)
        return int(now) / 1000, _standing(order), bool(contested)

    async def all(self) -> list[KnownHost]:
        """All hosts, lost ones for a while too, by name. Raises BusError."""
        now, rows = await self._calls.call(self._members, self._keys, [], again=True)
        found = [
            KnownHost(host.decode(), _record(record), _standing(order), max(0.0, (int(now) - float(until)) / 1000))
            for host, until, record, order in rows
        ]
        return sorted(found, key=lambda known: known.host)

    async def order(self, host: str, order: DrainOrder | None) -> StandingOrder | None:
        """Order something of a host, or take the order back; returns the one that stood before.

        Raises LookupError for a host that the store does not know, BusError.
        """
        args: list[Argument] = [host, msgspec.json.encode(order) if order is not None else b""]
        known, before = await self._calls.call(self._order, self._keys, args, again=True)
        if not known:
            there = ", ".join(one.host for one in await self.all())
            raise LookupError(f"no host {host} is known; there are {there or 'none'}")
        return _standing(before)

    async def retire(self, host: str, master: str) -> None:
        """Take a host that ends in order out of the list. Raises BusError."""
        await self._calls.call(self._retire, self._keys, [host, master], again=True)


def host_name(configured: str) -> str:
    """The name of this host among the others: `master.host`, or the machine's, with what no name may have as `-`."""
    found = configured or socket.gethostname()
    return "".join(one if one.isascii() and (one.isalnum() or one in "._-") else "-" for one in found)[:64] or "host"


def _record(packed: bytes) -> HostRecord:
    try:
        return msgspec.json.decode(packed, type=HostRecord)
    except ValueError as error:  # of another version of this program
        logger.warning("what a host says of itself cannot be read: %s", error)
        return HostRecord()


def _standing(packed: bytes) -> StandingOrder | None:
    at, _, order = packed.partition(b" ")
    if not order:
        return None
    try:
        return StandingOrder(msgspec.json.decode(order, type=DrainOrder), int(at) / 1000)
    except ValueError as error:
        logger.warning("an order for a host cannot be read and is not followed: %s", error)
        return None
