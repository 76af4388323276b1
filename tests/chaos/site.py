"""What the faults are done to: a server, its store behind a proxy, a crowd of clients, half of them behind another."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from tests.chaos import archive
from tests.chaos.archive import Archive
from tests.chaos.crowd import Crowd
from tests.chaos.judge import Verdict
from tests.chaos.proxy import Proxy
from tests.chaos.witness import Place
from tests.support import processes
from tests.support.server import Chatmaster, DidNotStart
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
    "master.hang_timeout": 3.0,
    "master.drain_timeout": 2.0,
}
WELL = 90.0  # seconds until everything runs again after a fault: the longest back-off is 30


class Site:
    """One run's processes. `say` prints what happens."""

    def __init__(self, chance: random.Random, *, herd: int = 300, say: Callable[[str], None] = print) -> None:
        self.chance = chance
        self.herd = herd
        self.say = say
        self.folder = Path(tempfile.mkdtemp(prefix="cm-chaos-"))
        self.program = self.folder / "program.py"
        shutil.copy(PROGRAM, self.program)
        self.store = RedisServer(self.folder / "r", fsync="always")
        self.store_door = Proxy(self.folder / "d", self.store.socket_path)
        settings = {**SETTINGS, "store.url": f"unix://{self.folder / 'd'}"}
        self.server = Chatmaster(str(self.program), workers=WORKERS, settings=settings)
        self.client_door = Proxy(("127.0.0.1", 0), ("127.0.0.1", self.server.port))
        self.crowd: Crowd | None = None
        self.losses: list[Archive] = []
        self.disk = False  # the state directory is a small file system of its own, which can be filled
        self._trimmed: dict[Place, str] = {}
        self._readers = 0

    async def __aenter__(self) -> Site:
        _allow_descriptors()
        await asyncio.to_thread(self.store.start)
        await self.store_door.start()
        await self.client_door.start()
        self.disk = self._mount()
        if self.disk:
            self.server.settings["log.file"] = str(self.server.state_dir / "log")
        await asyncio.to_thread(self.server.start)
        behind = f"ws://127.0.0.1:{self.client_door.port}/"
        self.crowd = Crowd(
            lambda number: behind if number % 2 else self.server.url, witnesses=12, writers=6, timeout=60
        )
        await self.crowd.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.crowd is not None:
            await self.crowd.close()
        await asyncio.to_thread(self._end)
        await self.client_door.stop()
        await self.store_door.stop()
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

    def a_worker(self) -> int:
        """The pid of one of them; 0 where there is none."""
        pids = self.workers()
        return self.chance.choice(pids) if pids else 0

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
        """The exit code of a chatctl command."""
        return (await asyncio.to_thread(lambda: self.server.ctl(*arguments, timeout=90))).returncode

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
        self.store.client.xtrim("chat:{hall}:log", minid=f"{now.top + 1}-0", approximate=False)
        return now.top

    # ---- the end -----------------------------------------------------------------------------------------

    async def verdict(self) -> Verdict:
        assert self.crowd is not None
        self.client_door.heal()
        self.store_door.heal()
        await self.well()
        now = (await self.crowd.settle(self.store.client)).with_trimmed(self._trimmed)
        return self.crowd.judge(*self.losses, now)

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


async def within(seconds: float, what: Awaitable[T]) -> T | None:
    """Its result; None where it took longer."""
    try:
        return await asyncio.wait_for(what, seconds)
    except TimeoutError:
        return None
