"""HostMember: this worker as a part of its host, one of those that share the store.

Every worker tells the store what its whole host is (all have the counters of all), and reads what is ordered for the
host. So no worker is special, and none has to be chosen anew when another ends. A host that is drained is not ready
from the moment that a worker has read the order, so that the load balancer stops sending clients; after the order's
notice no handshake is accepted and the clients leave, spread over the order's time.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from chatmaster import contract
from chatmaster.contract import VERSION
from chatmaster.stats import RETIRED_ROW, Field, WorkerStats
from workers.bus.port import BusError
from workers.close_codes import CloseCode
from workers.cluster.hosts import DrainOrder, HostRecord, Hosts, KnownHost, StandingOrder, host_name
from workers.node.node import Node
from workers.process.send_off import SendOff

logger = logging.getLogger(__name__)

EVERY: Final = 2.0  # seconds between two renewals
SOON: Final = 0.3  # seconds after the start
RETRY: Final = 0.5  # seconds after the store did not answer
PATIENCE: Final = 1.0  # seconds that a worker's start, and its end, wait for a store that may be away
LOOK: Final = 0.5  # seconds between two looks while clients leave
PAUSE: Final = 1.0  # seconds: a client that leaves comes back within this time, to another host
FRESH: Final = 3.0  # seconds: a worker without a heartbeat for so long does not serve
CONTESTED: Final = 3  # renewals in a row that find another master under the same name
DESCRIPTORS_KEPT: Final = 64  # of a worker, for files that are no connections

Row = dict[str, Any]


class HostMember:
    """Renews the host's lease and carries out what is ordered for the host. Made when the node is built."""

    def __init__(self, node: Node, tell: Callable[[contract.FromWorker], None]) -> None:
        """`tell` sends a message to the master."""
        self._node = node
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        # Of the whole program, whichever of its Workers this one serves: a host has one list of orders.
        self._hosts = Hosts(node.bus, node.launch.settings.master.name)
        self.name = host_name(node.launch.settings.master.host)
        self._master = master_identity()
        self._send_off = SendOff(node)
        self._standing: StandingOrder | None = None
        self._clock = 0.0  # how far this machine's clock is ahead of the store's, seconds
        self._contested = 0
        self._tasks: list[asyncio.Task[None]] = []

    # ---- life --------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Be a member from now on. An order that stands is known before the first client is accepted."""
        try:
            await asyncio.wait_for(self.renew(), PATIENCE)
        except (BusError, TimeoutError):
            logger.warning("the store does not answer yet: this host is listed later")
        self._tasks = [
            self._loop.create_task(self._keep(), name="host lease"),
            self._loop.create_task(self._look(), name="host drain"),
        ]

    async def stop(self, *, final: bool) -> None:
        """Renew no more. `final`: the whole host ends, and is no member any more."""
        self._send_off.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if final:
            try:
                await asyncio.wait_for(self._hosts.retire(self.name, self._master), PATIENCE)
            except (BusError, TimeoutError):
                logger.info("the store cannot be reached: this host is listed as lost")

    async def _keep(self) -> None:
        pause = SOON  # the record of the start says that this worker does not serve yet
        while True:
            try:
                # Spread, so that many workers do not come at once.
                await asyncio.sleep(pause * random.uniform(0.8, 1.0))
                pause = EVERY
                await self.renew()
            except BusError as error:
                logger.debug("the host's lease was not renewed: %s", error)
                await asyncio.sleep(RETRY)

    async def renew(self) -> None:
        """Renew the lease, and read what is ordered. Raises BusError."""
        before = time.time()
        now, standing, contested = await self._hosts.attend(self.name, self._master, self._record())
        self._clock = (before + time.time()) / 2 - now
        self._contested = self._contested + 1 if contested else 0
        if self._contested == CONTESTED:
            logger.error("another master calls itself %s, too: give each a master.host of its own", self.name)
        if standing != self._standing:
            self._change(standing)

    # ---- what is ordered ---------------------------------------------------------------------------

    @property
    def why_not_ready(self) -> str | None:
        """Why no client should come to this host; None: they may."""
        return f"this host is drained, as {self._standing.order.by} asked" if self._standing is not None else None

    def _change(self, standing: StandingOrder | None) -> None:
        self._standing = standing
        if standing is None:
            logger.info("the host is no longer drained")
            self._send_off.cancel()
            self._shut(shut=False)
            self._tell(contract.HostOrder())
            return
        order = standing.order
        logger.info(
            "the host is drained, as %s asked: not ready from now on, clients leave after %g s, spread over %g s",
            order.by,
            order.notice,
            order.seconds,
        )
        self._tell(contract.HostOrder(order.by, standing.since))

    async def _look(self) -> None:
        """Send the clients away while an order stands."""
        while True:
            await asyncio.sleep(LOOK)
            standing = self._standing
            now = time.time() - self._clock
            if standing is None or now < standing.leave_at:
                continue
            self._shut(shut=True)
            self._send_off.everyone(
                max(0.0, standing.over_at - now), CloseCode.SERVICE_RESTART, lambda: PAUSE * random.random()
            )
            if standing.order.stop and (self._is_empty() or now > standing.over_at + FRESH):
                await self._end(standing)

    async def _end(self, standing: StandingOrder) -> None:
        """The clients have left: have the server stopped. The order ends with it, so that the next start serves."""
        try:
            await self._hosts.order(self.name, None)
        except (BusError, LookupError) as error:
            logger.warning(
                "the order could not be taken out of the store, where it stands until it is undone: %s", error
            )
        self._tell(contract.HostOrder(standing.order.by, standing.since, stop=True))
        self._standing = None  # the master's drain follows

    def _shut(self, *, shut: bool) -> None:
        for endpoint in self._node.endpoints:
            endpoint.shared.shut = self.why_not_ready or "" if shut else ""

    def _is_empty(self) -> bool:
        return not any(row[Field.CONNECTIONS] for row in self._rows())

    # ---- asked by chatctl --------------------------------------------------------------------------

    async def query(self, what: str, args: Row) -> list[Row] | None:
        """Answer `hosts` or `drain`; None: it is neither.

        Raises BusError, LookupError for an unknown host, ValueError for wrong arguments.
        """
        match what:
            case "hosts":
                return [_shown(self._now(known), here=self.name) for known in await self._hosts.all()]
            case "drain":
                return [await self._order(args)]
        return None

    def _now(self, known: KnownHost) -> KnownHost:
        """What is said of this host is of now."""
        if known.host != self.name or known.record.contested:
            return known
        return dataclasses.replace(known, record=self._record())

    async def _order(self, args: Row) -> Row:
        host = str(args.get("host") or "")
        if args.get("undo"):
            before = await self._hosts.order(host, None)
            if before is None:
                raise LookupError(f"{host} is not drained")
            order = before.order
        else:
            given = {key: args[key] for key in ("notice", "seconds", "stop") if args.get(key) is not None}
            order = msgspec.convert({"by": "operator", **given}, DrainOrder)
            if min(order.notice, order.seconds) < 0:
                raise ValueError("a time is not negative")
            await self._hosts.order(host, order)
        if host == self.name:
            await self.renew()
        return {"host": host, **msgspec.to_builtins(order)}

    # ---- what the host is ----------------------------------------------------------------------------

    def _rows(self) -> list[WorkerStats]:
        return [row for row in self._node.launch.stats.table.rows() if row.slot != RETIRED_ROW]

    def _record(self) -> HostRecord:
        launch, rows, now = self._node.launch, self._rows(), time.monotonic_ns()
        serving = [row for row in rows if row[Field.READY] and now - row[Field.HEARTBEAT] < FRESH * 1e9]
        probes = [row[Field.STORE_PROBE_RTT] for row in serving if row[Field.STORE_PROBE]]
        return HostRecord(
            version=VERSION,
            pid=os.getppid(),
            addresses=launch.settings.server.listen,
            started=_process_started(),
            generation=launch.generation,
            workers=len(serving),
            connections=sum(row[Field.CONNECTIONS] for row in rows),
            users=sum(row[Field.USERS] for row in rows),
            capacity=sum(max(0, row[Field.DESCRIPTORS_LIMIT] - DESCRIPTORS_KEPT) for row in serving),
            memory=sum(row[Field.MEMORY] for row in rows),
            loop_lag=max((row[Field.LOOP_LAG] for row in serving), default=0) / 1e9,
            store_seconds=max(probes, default=0) / 1e9,
            clock=round(self._clock, 3),
            contested=self._contested >= CONTESTED,
        )


def master_identity() -> str:
    """What no other master has, on whatever machine, and what stays when this one executes itself anew."""
    return f"{_read('/proc/sys/kernel/random/boot_id')}-{os.getppid()}-{_ticks()}"


def _process_started() -> float:
    """When the master's process began, Unix time."""
    try:
        uptime = float(_read("/proc/uptime").split()[0])
        return round(time.time() - uptime + _ticks() / os.sysconf("SC_CLK_TCK"), 1)
    except (ValueError, IndexError):
        return 0.0


def _ticks() -> int:
    """When the master's process began, in clock ticks since the machine's start."""
    fields = _read(f"/proc/{os.getppid()}/stat").rpartition(")")[2].split()
    return int(fields[19]) if len(fields) > 19 else 0


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _shown(known: KnownHost, *, here: str) -> Row:
    standing = known.order
    drain = None
    if standing is None:
        state = "lost" if known.lost_for else "ready"
    else:
        drain = {**msgspec.to_builtins(standing.order), "since": standing.since}
        state = "away" if known.lost_for else "draining" if known.record.connections else "drained"
    row = {name: getattr(known.record, name) for name in HostRecord.__struct_fields__}
    return {
        "host": known.host,
        "state": state,
        **row,
        "addresses": list(known.record.addresses),
        "lost_for": round(known.lost_for, 1),
        "drain": drain,
        "here": known.host == here,
    }
