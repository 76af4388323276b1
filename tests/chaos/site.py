"""What the faults are done to: a server, its store behind a proxy, a crowd of clients, some behind another proxy.

Of three witnesses one connects directly, one through the proxy, and one over a link of its own where the machine allows
that; then the store is at the end of a link, too.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from chatmaster.errors import ChatmasterError
from chatmaster.store import layout
from tests.chaos import archive
from tests.chaos.archive import Archive
from tests.chaos.crowd import Crowd
from tests.chaos.judge import Verdict
from tests.chaos.namespaces import Namespace, Unavailable
from tests.chaos.proxy import Proxy
from tests.chaos.witness import Place, Witness
from tests.support import processes
from tests.support.server import ROOT, Chatmaster, DidNotStart
from tests.support.store import RedisServer
from tests.support.wait import until_async

T = TypeVar("T")
PROGRAM = Path(__file__).with_name("program.py")
WORKERS = 3
SETTINGS = {
    "store.history_size": 1_000_000,
    "store.timeout": 2.0,
    "limits.rate": 200,
    "limits.burst": 400,
    "limits.lag_timeout": 5.0,
    "limits.ping_interval": 5.0,
    "limits.ping_timeout": 10.0,
    "master.hang_timeout": 3.0,
    "master.drain_timeout": 2.0,
}
WELL = 90.0  # seconds until everything runs again after a fault: the longest back-off is 30


class Site:
    """One run's processes. `say` prints what happens."""

    def __init__(self, seed: int, *, herd: int = 300, say: Callable[[str], None] = print) -> None:
        self.seed = seed
        self.herd = herd
        self.say = say
        self.folder = Path(tempfile.mkdtemp(prefix="cm-chaos-"))
        self.program = self.folder / "program.py"
        shutil.copy(PROGRAM, self.program)
        self.store = RedisServer(self.folder / "r", fsync="always")
        self.links, self.no_links = _links()
        settings = {**SETTINGS, "store.url": f"unix://{self.folder / 'd'}"}
        self.server = Chatmaster(str(self.program), workers=WORKERS, settings=settings)
        if self.links:
            self.server.arguments = ("-b", f"ws://{self.links['client'].ours}:{self.server.port}")
        self.client_door = Proxy(("127.0.0.1", 0), ("127.0.0.1", self.server.port))
        self.store_door = Proxy(self.folder / "d", self.store.socket_path)
        self._far = self._link_up()
        self.elsewhere = Verdict()  # of the servers that a fault had for itself
        self.files = asyncio.Lock()  # for who changes the program or the configuration for a while
        self.crowd: Crowd | None = None
        self.losses: list[Archive] = []
        self.disk = False  # the state directory is a small file system of its own, which can be filled
        self._trimmed: dict[Place, str] = {}
        self._readers = 0

    async def __aenter__(self) -> Site:
        _allow_descriptors()
        await asyncio.to_thread(self.store.start)
        for far in self._far:
            await far.start()
        if self.links:
            self.store_door.target = (self.links["store"].ours, self._far[1].port)
        await self.store_door.start()
        await self.client_door.start()
        self.disk = self._mount()
        if self.disk:
            self.server.settings["log.file"] = str(self.server.state_dir / "log")
        await asyncio.to_thread(self.server.start)
        self.crowd = Crowd(self._url_of, witnesses=12, writers=6, seed=self.seed, timeout=60)
        await self.crowd.start()
        return self

    def _url_of(self, number: int) -> str:
        doors = [self.server.url, f"ws://127.0.0.1:{self.client_door.port}/"]
        doors += [f"ws://127.0.0.1:{self._far[0].port}/" if self._far else self.server.url]
        return doors[number % 3]

    def _link_up(self) -> list[Proxy]:
        """The far ends: where clients of the other namespace come from, and where the store is on this side."""
        if not self.links:
            return []
        client, store = self.links["client"], self.links["store"]
        self.store_door.dial = store.socket
        return [
            Proxy(("127.0.0.1", 0), (client.ours, self.server.port), client.socket),
            Proxy((store.ours, 0), self.store.socket_path),
        ]

    @property
    def direct(self) -> list[Witness]:
        """The clients that connect to the server itself."""
        return [one for one in self._witnesses if one.url == self.server.url]

    @property
    def behind(self) -> list[Witness]:
        """The clients that connect through the proxy."""
        return [one for one in self._witnesses if one.url.endswith(f":{self.client_door.port}/")]

    @property
    def _witnesses(self) -> list[Witness]:
        assert self.crowd is not None
        return self.crowd.witnesses

    async def __aexit__(self, *_: object) -> None:
        if self.crowd is not None:
            await self.crowd.close()
        await asyncio.to_thread(self._end)
        for door in (self.client_door, self.store_door, *self._far):
            await door.stop()
        for link in self.links.values():
            link.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end(self) -> None:
        for pid in self.workers() if self.server.running else []:
            processes.send(pid, signal.SIGCONT)
        if self.disk:
            subprocess.run(["umount", "-l", str(self.server.state_dir)], check=False)
        self.server.close()
        self.store.kill()

    # ---- the server ------------------------------------------------------------------------------------

    def workers(self) -> list[int]:
        """The pids of all workers that are there, in whatever state."""
        return [pid for pid in processes.children(self.server.pid) if ": worker" in processes.title(pid)]

    def a_worker(self, chance: random.Random) -> int:
        """The pid of one of them; 0 where there is none."""
        pids = self.workers()
        return chance.choice(pids) if pids else 0

    async def start_again(self) -> None:
        """As a supervisor does: until it stays."""
        await until_async(lambda: asyncio.to_thread(self._start), WELL, "the server starts again")

    def _start(self) -> bool:
        try:
            self.server.start(20.0)
        except DidNotStart:
            if self.server.running:
                self.server.kill()
            return False
        return True

    async def ctl(self, *arguments: str) -> int:
        """The exit code of a chatctl command; what it complains of is printed."""
        done = await asyncio.to_thread(lambda: self.server.ctl(*arguments, timeout=90))
        if done.returncode:
            self.say(f"         {' '.join(arguments)}: {done.returncode}: {done.stderr.strip().splitlines()[-1:]}")
        return done.returncode

    def copy_program(self, place: Path, *, version: str) -> None:
        """Another checkout of the program, with another version."""
        for package in ("chatmaster", "workers"):
            shutil.copytree(ROOT / package, place / package, ignore=shutil.ignore_patterns("__pycache__"))
        file = place / "chatmaster" / "__init__.py"
        file.write_text(re.sub(r'__version__ = ".*"', f'__version__ = "{version}"', file.read_text()))

    def cuts(self, since: float) -> list[str]:
        """Who of those that connect directly lost a connection after that (monotonic), and how."""
        return [f"{one.nickname}: {code}" for one in self.direct for at, code in one.cuts if at >= since]

    async def metric(self, name: str) -> float:
        """A figure of /metrics, over all workers; 0 if no worker answers."""
        return await asyncio.to_thread(_metric, self.server.http, f"chatmaster_{name}")

    async def restarts(self) -> int:
        """How many workers have died so far; 0 where the master does not answer."""
        try:
            return int((await asyncio.to_thread(self.server.status))["totals"]["restarts"])
        except ChatmasterError:
            return 0

    async def at_most(self, name: str, goal: float) -> bool:
        return await self.metric(name) <= goal

    async def more_than(self, name: str, before: float) -> bool:
        return await self.metric(name) > before

    async def counts_everybody(self) -> bool:
        """Whether /metrics shows every witness."""
        return await self.more_than("connections", len(self._witnesses) - 1)

    async def calm(self) -> None:
        """Wait until all is well, and everybody is in."""
        await self.well()
        await until_async(lambda: all(one.connected for one in self._witnesses), WELL, "every witness is in")

    async def well(self) -> None:
        """Wait until every worker is ready and something new is acknowledged."""
        await until_async(lambda: asyncio.to_thread(self._ready), WELL, "every worker is ready")
        assert self.crowd is not None
        await self.crowd.progress(5, timeout=WELL)

    def _ready(self) -> bool:
        done = self.server.ctl("status", "--json")
        return done.returncode == 0 and '"starting"' not in done.stdout and '"away"' not in done.stdout

    async def for_a_while(self, seconds: float) -> None:
        """A fault that lasts: the one place where time itself is what is waited for."""
        await asyncio.sleep(seconds)

    # ---- the store -------------------------------------------------------------------------------------

    def read(self) -> Archive:
        return archive.read(self.store.client, "hall").with_trimmed(self._trimmed)

    async def lose(self, destroy: Callable[[], object]) -> None:
        """Kill the store, keep what it had for the judge, do `destroy` to its files, and start it again."""
        self.store.kill()
        self.losses.append(await asyncio.to_thread(self._last_words))
        destroy()
        await asyncio.to_thread(self.store.start)
        now = archive.read(self.store.client, "hall")
        self._trimmed = {place: text for place, text in self._trimmed.items() if now.has_had(place)}

    def _last_words(self) -> Archive:
        self._readers += 1
        with RedisServer(self.folder / f"x{self._readers}", fsync="always") as reader:
            reader.stop()
            reader.restore(self.store.save_copy("last"))
            return archive.read(reader.start().client, "hall").with_trimmed(self._trimmed)

    def trim(self) -> int:
        """Take everything out of the log that is in it now; returns the offset up to which it went."""
        now = archive.read(self.store.client, "hall")
        self._trimmed.update(now.texts)
        self.store.client.xtrim(layout.key("chat", "hall", "log"), minid=f"{now.top + 1}-0", approximate=False)
        return now.top

    # ---- the end -----------------------------------------------------------------------------------------

    async def verdict(self) -> Verdict:
        assert self.crowd is not None
        self.client_door.heal()
        self.store_door.heal()
        for link in self.links.values():
            link.heal()
        await self.well()
        now = (await self.crowd.settle(self.store.client)).with_trimmed(self._trimmed)
        verdict = self.crowd.judge(*self.losses, now)
        verdict.add(self.elsewhere)
        return verdict

    # ---- the disk ----------------------------------------------------------------------------------------

    def _mount(self) -> bool:
        state = self.server.state_dir
        state.mkdir(mode=0o700)
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", str(state)], capture_output=True, check=False
        )
        return done.returncode == 0

    def fill_disk(self) -> None:
        ballast = os.open(self.server.state_dir / "ballast", os.O_WRONLY | os.O_CREAT)
        try:
            while os.write(ballast, bytes(4096)):
                pass
        except OSError:
            pass  # that was the last of it
        finally:
            os.close(ballast)

    def free_disk(self) -> None:
        (self.server.state_dir / "ballast").unlink(missing_ok=True)


def _allow_descriptors() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65_536), hard))


def _links() -> tuple[dict[str, Namespace], str]:
    """Links for clients and for the store, or none, and why."""
    made: dict[str, Namespace] = {}
    try:
        for network, kind in enumerate(("client", "store")):
            made[kind] = Namespace(kind[0], 213 + network)
    except Unavailable as why:
        for one in made.values():
            one.close()
        return {}, str(why)
    return made, ""


def _metric(http: str, name: str) -> float:
    try:
        with urllib.request.urlopen(f"{http}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        return 0.0
    return sum(float(line.rpartition(" ")[2]) for line in lines if re.match(rf"{name}(_total)?[ {{]", line))


async def within(seconds: float, what: Awaitable[T]) -> T | None:
    """Its result; None where it took longer."""
    try:
        return await asyncio.wait_for(what, seconds)
    except TimeoutError:
        return None
