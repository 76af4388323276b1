"""A fleet: three hosts, each a master with its workers in a namespace of its own, a store, a balancer, a crowd."""

from __future__ import annotations

import asyncio
import json
import platform
import re
import shutil
import signal
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from chatmaster.errors import ChatmasterError
from tests.chaos.archive import Archive
from tests.chaos.crowd import Crowd
from tests.chaos.judge import Verdict
from tests.fleet.balancer import Balancer
from tests.fleet.cluster import ClusterStores
from tests.fleet.network import PORT, Network, inside
from tests.fleet.stores import Stores
from tests.support import processes
from tests.support.server import ROOT, Chatmaster
from tests.support.wait import until_async

HOSTS: Final = 3
WORKERS: Final = 2  # of each host
SETTINGS: Final = {
    "store.history_size": 1_000_000,
    "store.timeout": 2.0,
    "limits.rate": 200,
    "limits.burst": 400,
    "limits.ping_interval": 5.0,
    "limits.ping_timeout": 5.0,
    "master.drain_timeout": 2.0,
    "server.trusted_proxies": ["10.231.0.0/16"],
}
FAKETIME: Final = Path("/usr/lib") / f"{platform.machine()}-linux-gnu" / "faketime" / "libfaketimeMT.so.1"
FAKED: Final = ("LD_PRELOAD", "FAKETIME", "FAKETIME_DONT_FAKE_MONOTONIC", "FAKETIME_NO_CACHE")
WELL: Final = 90.0  # seconds until everything runs again after a fault


class Fleet:
    """One run's processes. `say` prints what happens."""

    def __init__(self, seed: int, *, sentinels: int, cluster: bool = False, say: Callable[[str], None] = print) -> None:
        self.say = say
        self._seed = seed
        self.folder = Path(tempfile.mkdtemp(prefix="cm-fleet-"))
        self.network = Network(HOSTS)
        try:
            self.stores = (
                ClusterStores(self.folder, self.network.store)
                if cluster
                else Stores(self.folder, self.network.store, sentinels=sentinels)
            )
            addresses = {name_of(number): self.network.address(number) for number in range(HOSTS)}
            self._balancer = Balancer(
                self.folder / "lb", self.network.balancer, self.network.balancer_address, addresses
            )
        except BaseException:
            self.network.close()
            raise
        self.hosts: list[Chatmaster] = []
        self.losses: list[Archive] = []
        self.versions = 0
        self._crowd: Crowd | None = None

    @property
    def url(self) -> str:
        """The balancer's."""
        return f"ws://{self.network.balancer_address}:{PORT}/"

    @property
    def crowd(self) -> Crowd:
        """The clients, once the fleet has started."""
        assert self._crowd is not None
        return self._crowd

    async def __aenter__(self) -> Fleet:
        try:
            await self._start()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def _start(self) -> None:
        await asyncio.to_thread(self.stores.start)
        for number in range(HOSTS):
            settings = {**SETTINGS, "store.url": self.stores.url, "master.host": name_of(number)}
            self.hosts.append(
                Chatmaster(
                    workers=WORKERS,
                    settings=settings,
                    prefix=inside(self.network.hosts[number]),
                    arguments=("-b", f"ws://{self.network.address(number)}:{PORT}"),
                )
            )
        for host in self.hosts:
            await asyncio.to_thread(host.start)
        self._balancer.start()
        await until_async(lambda: asyncio.to_thread(self._balanced), WELL, "the balancer passes on")
        self._crowd = Crowd(self.url, witnesses=9, writers=4, seed=self._seed, timeout=60)
        await self._crowd.start()

    async def __aexit__(self, *_: object) -> None:
        if self._crowd is not None:
            await self._crowd.close()
        await asyncio.to_thread(self._end)

    def _end(self) -> None:
        for number, host in enumerate(self.hosts):
            self.network.heal(number)
            host.close()
        self._balancer.close()
        self.stores.close()
        self.network.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _balanced(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.network.balancer_address}:{PORT}/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    # ---- what is looked at -------------------------------------------------------------------------------

    async def recovered(self, since: float) -> float:
        """Wait until every client is in and was shown what is acknowledged from now on; seconds since `since`."""
        await until_async(lambda: all(one.connected for one in self.crowd.witnesses), WELL, "every client is in")
        await self.crowd.progress(5, timeout=WELL)
        top = max(said.place.offset for one in self.crowd.witnesses for said in one.said[-1:])
        await until_async(
            lambda: all(one.offset >= top for one in self.crowd.witnesses), WELL, f"every client was shown {top}"
        )
        return time.monotonic() - since

    async def all_ready(self) -> None:
        """Wait until every host is a member that serves."""
        await until_async(lambda: asyncio.to_thread(self._all_ready), WELL, "every host is ready")

    def _all_ready(self) -> bool:
        rows = self.rows()
        return len(rows) == HOSTS and all(row["state"] == "ready" and row["workers"] == WORKERS for row in rows)

    def rows(self) -> list[dict[str, Any]]:
        """The hosts as the first one that answers sees them."""
        for host in self.hosts:
            try:
                done = host.ctl("status", "--cluster", "--json", timeout=20)
            except (ChatmasterError, OSError):
                continue
            if done.returncode == 0:
                rows: list[dict[str, Any]] = json.loads(done.stdout)["hosts"]
                return rows
        return []

    # ---- what is done to it ------------------------------------------------------------------------------

    def kill_host(self, number: int) -> None:
        """As a machine that loses power: everything of it ends at once."""
        host = self.hosts[number]
        everything = processes.tree(host.pid)
        for pid in everything:
            processes.send(pid, signal.SIGKILL)
        assert host.process is not None
        host.process.wait(10)
        processes.end(pid for pid in everything if processes.alive(pid))

    def set_clock(self, number: int, seconds: float) -> None:
        """A host loses power, and starts again with its clock off by so many seconds; monotonic time is as before."""
        host = self.hosts[number]
        self.kill_host(number)
        others = {name: value for name, value in host.environment.items() if name not in FAKED}
        host.environment = others if not seconds else {**others, **faked(seconds)}
        host.start()

    def upgrade(self, number: int) -> None:
        """Drain a host from another one, let it stop, and start another version there."""
        host, other = self.hosts[number], self.hosts[(number + 1) % HOSTS]
        drain = ("drain", name_of(number), "--notice", "3", "--seconds", "2", "--stop", "--wait")
        done = other.ctl(*drain, timeout=90)
        assert done.returncode == 0, f"drain {name_of(number)}: {done.stderr}"
        assert host.process is not None
        host.process.wait(30)
        host.environment = {**host.environment, "PYTHONPATH": str(self._program())}
        host.start()

    def _program(self) -> Path:
        """A checkout of another version; the same one for a round over all hosts."""
        place = self.folder / f"v{self.versions}"
        if not place.exists():
            for package in ("chatmaster", "workers"):
                shutil.copytree(ROOT / package, place / package, ignore=shutil.ignore_patterns("__pycache__"))
            file = place / "chatmaster" / "__init__.py"
            file.write_text(re.sub(r'__version__ = ".*"', f'__version__ = "9.{self.versions}"', file.read_text()))
        return place

    # ---- the end -----------------------------------------------------------------------------------------

    async def verdict(self) -> Verdict:
        """What the crowd was shown and answered, against what the store has, and what was lost with a store."""
        for number in range(HOSTS):
            self.network.heal(number)
        await self.all_ready()
        store = await asyncio.to_thread(lambda: self.stores.master)
        now = await self.crowd.settle(store.client)
        return self.crowd.judge(*self.losses, now)


def faked(seconds: float) -> dict[str, str]:
    """What makes libfaketime shift the clock of a process, and of those that it forks."""
    return dict(zip(FAKED, (str(FAKETIME), f"{seconds:+.0f}s", "1", "1"), strict=True))


def name_of(number: int) -> str:
    """A host's name among the others."""
    return f"h{number + 1}"
