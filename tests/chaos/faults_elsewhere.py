"""Faults beside the large crowd: the store that the master keeps itself, and clients whose clocks are wrong."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys

import redis

from tests.chaos.crowd import Crowd
from tests.chaos.faults import Turn, fault
from tests.chaos.site import Site
from tests.support.server import ROOT, Chatmaster

HOUR = 3600


@fault("embedded store", long=True)
async def embedded_store_killed(site: Site, turn: Turn) -> None:
    """A small server that keeps its own store, with a crowd of its own; what it promises is judged with the rest."""
    server = Chatmaster(workers=1, settings={"limits.rate": 0, "store.history_size": 1_000_000})
    try:
        await asyncio.to_thread(server.start)
        async with Crowd(server.url, witnesses=4, writers=2, seed=turn.chance.getrandbits(32), timeout=60) as crowd:
            await crowd.progress(20)
            for number in turn.chance.sample((signal.SIGKILL, signal.SIGTERM), 2):
                os.kill(server.store_pid, number)
                await crowd.progress(20)
            with redis.Redis.from_url(server.status()["store"]["url"], protocol=2) as store:
                site.elsewhere.add(crowd.judge(await crowd.settle(store)))
    finally:
        await asyncio.to_thread(server.close)


@fault("clocks")
async def clocks_an_hour_off(site: Site, turn: Turn) -> None:
    """One ahead, one behind; each jumps to the other side while it is away."""
    ran = await asyncio.gather(*(_off_clock(site, seconds) for seconds in (HOUR, -HOUR)))
    for done in ran:
        turn.expect(done.returncode == 0, f"a client whose clock is off: {done.stderr[-500:]}")


async def _off_clock(site: Site, seconds: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "tests.chaos.off_clock", site.server.url, str(seconds)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return await asyncio.to_thread(
        subprocess.run, command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=180
    )
