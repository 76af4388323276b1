"""Faults of workers and of the master."""

from __future__ import annotations

import asyncio
import signal
import time

from tests.chaos.faults import Skipped, Turn, fault
from tests.chaos.site import Site
from tests.support import processes
from tests.support.server import DidNotStart
from tests.support.wait import until_async

BROKEN_CODE = "\nraise ImportError('broken on purpose')\n"
BROKEN_CONFIG = "[limits]\nspeed = 'fast'\n"


def send(pid: int, number: signal.Signals) -> bool:
    return bool(pid) and processes.send(pid, number)


async def is_gone(pid: int, seconds: float = 60.0) -> None:
    await until_async(lambda: not processes.alive(pid), seconds, f"worker {pid} is gone")


# ---- workers -------------------------------------------------------------------------------------------


@fault("worker")
async def killed(site: Site, turn: Turn) -> None:
    turn.expect(send(site.a_worker(turn.chance), signal.SIGKILL), "there was no worker to kill")


@fault("worker")
async def all_killed(site: Site, turn: Turn) -> None:
    pids = site.workers()
    for pid in pids:
        send(pid, signal.SIGKILL)
    turn.expect(pids, "there were no workers to kill")


@fault("worker")
async def stopped_and_continued(site: Site, turn: Turn) -> None:
    """It is excused, and lives on."""
    pid = site.a_worker(turn.chance)
    send(pid, signal.SIGSTOP)
    await site.for_a_while(turn.chance.uniform(0.5, 6))
    stopped = processes.state(pid) == "T"
    send(pid, signal.SIGCONT)
    turn.expect(stopped, f"worker {pid} was stopped, and was not when it was continued")


@fault("worker", long=True)
async def loop_blocked(site: Site, turn: Turn) -> None:
    pid, before = site.a_worker(turn.chance), await site.metric("workers_hung")
    if send(pid, signal.SIGUSR2):
        await is_gone(pid)
        if turn.alone:
            await until_async(lambda: site.more_than("workers_hung", before), 10, "it is counted as hung")


@fault("worker")
async def callbacks_fail(site: Site, turn: Turn) -> None:
    """Each refuses what it was asked about, so that nothing is said any more; nobody is cut for it."""
    assert site.crowd is not None
    switch, began = site.folder / "raise", time.monotonic()
    switch.touch()
    try:
        await site.for_a_while(1)
        before = site.crowd.acked
        await site.for_a_while(2)
        turn.expect(site.crowd.acked == before, "something was said although on_say fails")
        turn.expect(not site.cuts(began), f"failing callbacks cut {site.cuts(began)}")
    finally:
        switch.unlink()


async def _cannot_start(site: Site, turn: Turn, switch: str) -> None:
    """A worker is killed, and no other comes up for a while."""
    file, before = site.folder / switch, await site.restarts()
    file.touch()
    try:
        send(site.a_worker(turn.chance), signal.SIGKILL)
        await site.for_a_while(3)
        turn.expect(await site.restarts() > before + 1, "its successors came up all the same")
    finally:
        file.unlink()


@fault("worker", long=True)
async def cannot_import(site: Site, turn: Turn) -> None:
    await _cannot_start(site, turn, "exit")


@fault("worker", long=True)
async def exits_when_it_starts(site: Site, turn: Turn) -> None:
    await _cannot_start(site, turn, "exit-late")


@fault("worker", long=True)
async def too_large(site: Site, turn: Turn) -> None:
    """Every worker is over its memory limit, and replaced again and again, by hand-over."""
    async with site.files:
        began, before = time.monotonic(), site.workers()
        try:
            site.server.config_path.write_text("[server]\nmax_memory = 1\n")
            await site.ctl("reload")
            await site.for_a_while(5)
        finally:
            site.server.config_path.write_text("")
        await site.ctl("reload")
        turn.expect(not set(before) & set(site.workers()), "workers that were too large are still there")
        turn.expect(not site.cuts(began), f"the replacement of workers cut {site.cuts(began)}")


# ---- the master ----------------------------------------------------------------------------------------


@fault("master")
async def master_killed(site: Site, turn: Turn) -> None:
    """Everything below it ends by itself; a supervisor starts it again."""
    below = site.workers()
    await asyncio.to_thread(site.server.kill)
    await until_async(lambda: not any(processes.alive(pid) for pid in below), what="the workers of a dead master end")
    await site.start_again()


@fault("master")
async def master_stopped(site: Site, turn: Turn) -> None:
    send(site.server.pid, signal.SIGSTOP)
    send(site.a_worker(turn.chance), signal.SIGKILL)
    await site.for_a_while(turn.chance.uniform(1, 6))
    stopped = processes.state(site.server.pid) == "T"
    send(site.server.pid, signal.SIGCONT)
    turn.expect(stopped, "the master was stopped, and was not when it was continued")


@fault("master")
async def storm_of_hups(site: Site, turn: Turn) -> None:
    began, before = time.monotonic(), await site.metric("worker_generation")
    for _ in range(20):
        send(site.server.pid, signal.SIGHUP)
        await asyncio.sleep(0)
    if turn.alone:
        await until_async(lambda: site.more_than("worker_generation", before), 60, "a new generation is there")
        await site.calm()
    turn.expect(not site.cuts(began), f"reloads by signal cut {site.cuts(began)}")


@fault("master")
async def reload_onto_broken_code(site: Site, turn: Turn) -> None:
    async with site.files:
        began, whole = time.monotonic(), site.program.read_text()
        site.program.write_text(whole + BROKEN_CODE)
        try:
            code = await site.ctl("reload")
        finally:
            site.program.write_text(whole)
    assert code != 0, "a reload onto code that does not import succeeded"
    turn.expect(not site.cuts(began), f"a reload onto broken code cut {site.cuts(began)}")


@fault("master")
async def reload_onto_broken_config(site: Site, turn: Turn) -> None:
    async with site.files:
        began = time.monotonic()
        site.server.config_path.write_text(BROKEN_CONFIG)
        try:
            code = await site.ctl("reload")
        finally:
            site.server.config_path.write_text("")
    assert code != 0, "a reload onto a wrong configuration succeeded"
    turn.expect(not site.cuts(began), f"a reload onto a wrong configuration cut {site.cuts(began)}")


# ---- the disk --------------------------------------------------------------------------------------------


@fault("master")
async def disk_full(site: Site, turn: Turn) -> None:
    """Neither the log nor the state can be written, and a worker dies; nobody else minds."""
    if not site.disk:
        raise Skipped("no small file system can be mounted here")
    pid = site.a_worker(turn.chance)
    site.fill_disk()
    try:
        send(pid, signal.SIGKILL)
        await is_gone(pid)
        if turn.alone:
            await site.well()
        code = await site.ctl("reload")
        turn.expect(code == 0, f"a reload with a full disk: exit code {code}")
    finally:
        site.free_disk()


@fault("master", long=True)
async def disk_full_at_start(site: Site, turn: Turn) -> None:
    """The master dies, and what comes after it cannot write its pid file: it says so, or starts without one."""
    if not site.disk:
        raise Skipped("no small file system can be mounted here")
    await asyncio.to_thread(site.server.kill)
    site.fill_disk()
    try:
        await asyncio.to_thread(site.server.start, 30.0)
    except DidNotStart as refusal:
        turn.expect(refusal.exit_code, f"a start with a full disk neither works nor ends: {refusal.reason}")
        turn.expect("bug in the master" not in refusal.reason, refusal.reason)
    finally:
        site.free_disk()
        if not site.server.running:
            await site.start_again()
