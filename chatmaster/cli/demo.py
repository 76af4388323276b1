"""`chatctl demo`: a server of its own, bots that talk, many connections, and reloads that drop nobody."""

from __future__ import annotations

import asyncio
import resource
import shutil
import sys
import time
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import click

from chatmaster.cli import demo_picture, top_screen
from chatmaster.cli.bench_client import OPEN_TIMEOUT, ConnectRefused
from chatmaster.cli.demo_crowd import Crowd
from chatmaster.cli.demo_picture import Scene
from chatmaster.cli.demo_server import DemoServer
from chatmaster.errors import ChatmasterError, UsageError
from chatmaster.plural import counted

WORKERS: Final = 2
SPARE: Final = 256  # descriptors beside those of the connections
REDRAW: Final = 0.1  # seconds
QUIET: Final = 2.0  # seconds between two reloads


class Demo:
    """One demonstration: the server, the clients, what is shown."""

    def __init__(self, server: DemoServer, *, connections: int, seconds: float, screen: bool) -> None:
        self.scene = Scene(connections, server.address.page_url)
        self._server = server
        self._crowd = Crowd(server.address)
        self._seconds = seconds
        self._screen = screen
        self._ended = asyncio.Event()

    async def run(self) -> None:
        """Open the connections, let the bots talk, reload, count. Raises ChatmasterError."""
        self.scene.tally = self._crowd.tally
        async with asyncio.TaskGroup() as tasks:
            watching = [tasks.create_task(self._watch())]
            if self._screen:
                watching.append(tasks.create_task(self._draw()))
            try:
                await self._perform(tasks)
            finally:
                self._ended.set()
                for task in watching:
                    task.cancel()
                self._crowd.close()

    async def _perform(self, tasks: asyncio.TaskGroup) -> None:
        await self._open()
        talking = tasks.create_task(self._crowd.talk())
        end = time.monotonic() + self._seconds
        try:
            while not self._ended.is_set() and time.monotonic() < end:
                await self._pause(min(QUIET, self._seconds / 3))
                if not self._ended.is_set():
                    await self._reload()
        finally:
            talking.cancel()
        await self._crowd.drain()

    async def _open(self) -> None:
        try:
            await self._crowd.open(self.scene.wanted)
        except (TimeoutError, ConnectRefused, OSError) as error:
            raise ChatmasterError(
                f"the {counted(self.scene.wanted, 'connection')} could not be opened within {OPEN_TIMEOUT:g} s: "
                f"{error or 'the machine is too busy'}; --connections takes fewer"
            ) from None
        self._tell(f"{counted(self.scene.wanted, 'connection')} at {self.scene.address}, and five bots talk")

    async def _reload(self) -> None:
        self.scene.reloading = True
        began = time.monotonic()
        try:
            generation = await asyncio.to_thread(self._server.reload)
        finally:
            self.scene.reloading = False
        self.scene.reloads += 1
        self._tell(
            f"reload {self.scene.reloads}: generation {generation} after {time.monotonic() - began:.1f} s, "
            f"{self.scene.tally.dropped} dropped"
        )

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._ended.wait(), seconds)
        except TimeoutError:
            return

    def _tell(self, line: str) -> None:
        if not self._screen:
            click.echo(line, err=True)

    async def _watch(self) -> None:
        """Keep what the workers have up to date."""
        began = time.monotonic()
        while True:
            try:
                status = await asyncio.to_thread(self._server.status)
                self.scene.workers = [row for row in status["workers"] if row["pid"]]
            except ChatmasterError:
                pass  # the master is busy with a reload; the next answer comes soon
            self.scene.seconds = time.monotonic() - began
            await asyncio.sleep(REDRAW)

    async def _draw(self) -> None:
        with _keys(self._ended):
            while True:
                size = shutil.get_terminal_size()
                self.scene.alive = self._crowd.states()
                top_screen.draw(demo_picture.frame(self.scene, size.columns, size.lines))
                await asyncio.sleep(REDRAW)


def run(*, connections: int, seconds: float, page: bool) -> Scene:
    """Run the demonstration and return what there was to see. Raises ChatmasterError."""
    _allow_descriptors(connections + SPARE)
    screen = sys.stdout.isatty() and sys.stdin.isatty()
    with DemoServer(workers=WORKERS) as server:
        if page:
            webbrowser.open(server.address.page_url)
        with top_screen.screen() if screen else _no_screen():
            demo: list[Scene] = []
            asyncio.run(_run(server, connections, seconds, screen, demo))
        return demo[0]


async def _run(server: DemoServer, connections: int, seconds: float, screen: bool, seen: list[Scene]) -> None:
    demo = Demo(server, connections=connections, seconds=seconds, screen=screen)
    seen.append(demo.scene)
    try:
        await demo.run()
    except* ChatmasterError as group:
        raise group.exceptions[0] from None


@contextmanager
def _keys(ended: asyncio.Event) -> Iterator[None]:
    """End at `q`, Ctrl-C, or where the terminal is closed."""
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin.fileno(), lambda: ended.set() if "quit" in top_screen.keys(0.0) else None)
    try:
        yield
    finally:
        loop.remove_reader(sys.stdin.fileno())


@contextmanager
def _no_screen() -> Iterator[None]:
    yield


def _allow_descriptors(count: int) -> None:
    """Raise the soft limit of open files; the server inherits it. Raises UsageError where the hard limit is lower."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        if hard != resource.RLIM_INFINITY and hard < count:
            raise UsageError(
                f"{count:,} open files are needed and {hard:,} are allowed (ulimit -Hn): --connections takes fewer"
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
