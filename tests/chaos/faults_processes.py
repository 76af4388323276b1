"""Faults of workers and of the master, and what operators do meanwhile."""

from __future__ import annotations

import asyncio
import signal

from tests.chaos.faults import fault
from tests.chaos.site import Site, within
from tests.support import processes
from tests.support.wait import until_async

BROKEN_CODE = "\nraise ImportError('broken on purpose')\n"
BROKEN_CONFIG = "[limits]\nspeed = 'fast'\n"


def send(pid: int, number: signal.Signals) -> bool:
    return bool(pid) and processes.send(pid, number)


# ---- workers -------------------------------------------------------------------------------------------


@fault("worker")
async def killed(site: Site) -> None:
    send(site.a_worker(), signal.SIGKILL)


@fault("worker")
async def all_killed(site: Site) -> None:
    for pid in site.workers():
        send(pid, signal.SIGKILL)


@fault("worker")
async def stopped_and_continued(site: Site) -> None:
    pid = site.a_worker()
    send(pid, signal.SIGSTOP)
    await site.for_a_while(site.chance.uniform(0.5, 6))
    send(pid, signal.SIGCONT)


@fault("worker", long=True)
async def loop_blocked(site: Site) -> None:
    pid = site.a_worker()
    if send(pid, signal.SIGUSR2):
        await until_async(lambda: not processes.alive(pid), 60.0, f"worker {pid}, whose loop is blocked, is replaced")


@fault("worker")
async def callbacks_fail(site: Site) -> None:
    switch = site.folder / "raise"
    switch.touch()
    await site.for_a_while(2)
    switch.unlink()


@fault("worker", long=True)
async def cannot_start(site: Site) -> None:
    switch = site.folder / "exit"
    switch.touch()
    send(site.a_worker(), signal.SIGKILL)
    await site.for_a_while(3)
    switch.unlink()


@fault("worker", long=True)
async def too_large(site: Site) -> None:
    """Every worker is over its memory limit, and replaced again and again."""
    before = site.server.config_path.read_text()
    site.server.config_path.write_text("[server]\nmax_memory = 1\n")
    await site.ctl("reload")
    await site.for_a_while(5)
    site.server.config_path.write_text(before)
    await site.ctl("reload")


# ---- the master ----------------------------------------------------------------------------------------


@fault("master")
async def master_killed(site: Site) -> None:
    """Everything below it ends by itself; a supervisor starts it again."""
    below = site.workers()
    await asyncio.to_thread(site.server.kill)
    await until_async(lambda: not any(processes.alive(pid) for pid in below), what="the workers of a dead master end")
    await site.start_again()


@fault("master")
async def master_stopped(site: Site) -> None:
    send(site.server.pid, signal.SIGSTOP)
    send(site.a_worker(), signal.SIGKILL)
    await site.for_a_while(site.chance.uniform(1, 6))
    send(site.server.pid, signal.SIGCONT)


@fault("master")
async def storm_of_hups(site: Site) -> None:
    for _ in range(20):
        send(site.server.pid, signal.SIGHUP)
        await asyncio.sleep(0)


@fault("master")
async def reload_onto_broken_code(site: Site) -> None:
    whole = site.program.read_text()
    site.program.write_text(whole + BROKEN_CODE)
    code = await site.ctl("reload")
    site.program.write_text(whole)
    assert code != 0, "a reload onto code that does not import succeeded"


@fault("master")
async def reload_onto_broken_config(site: Site) -> None:
    whole = site.server.config_path.read_text()
    site.server.config_path.write_text(BROKEN_CONFIG)
    code = await site.ctl("reload")
    site.server.config_path.write_text(whole)
    assert code != 0, "a reload onto a wrong configuration succeeded"


@fault("master")
async def disk_full(site: Site) -> None:
    if not site.disk:
        site.say("    (the disk cannot be filled here: no file system can be mounted)")
        return
    site.fill_disk()
    send(site.a_worker(), signal.SIGKILL)
    await site.ctl("reload")
    site.free_disk()


# ---- operators -----------------------------------------------------------------------------------------


@fault("operator")
async def reload(site: Site) -> None:
    await within(60, site.ctl("reload"))


@fault("operator")
async def scale_up_and_down(site: Site) -> None:
    await within(60, site.ctl("scale", "+1"))
    await within(60, site.ctl("scale", "-1"))
