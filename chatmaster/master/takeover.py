"""An upgrade in place, seen from the running master: gathers what the next image must know, and puts it back there.

`succession.py` has the form of it and the exec itself, `rehearsal.py` the trial before.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from chatmaster.config import changes
from chatmaster.master import exec_state
from chatmaster.master.exec_state import Program, Running, Succession
from chatmaster.policy import events as d

if TYPE_CHECKING:
    from chatmaster.master.arbiter import Arbiter


def gather(arbiter: Arbiter, refused: str = "") -> Succession:
    """Everything that goes on. `refused`: why we, the new program, give it back."""
    site, operations = arbiter.site, arbiter.operations
    running = Running(
        view=arbiter.policy.view,
        groups=site.groups,
        workers=arbiter.foreman.kept(),
        tables=arbiter.foreman.rows.tables,
        store=arbiter.keeper.kept() if arbiter.keeper is not None else None,
        settings=changes.kept(site.settings),
        durability=site.durability,
        started=arbiter.started,
        generation=operations.highest,
        scaled=tuple(operations.scaled),
        control=arbiter.control.fileno(),
        visitors=arbiter.control.visitors(),
        jobs=operations.kept(),
        since=arbiter.since,
        back=exec_state.own_program(),
        refused=refused,
    )
    return Succession(os.getpid(), site.pid_file.fileno(), tuple(site.listeners.kept()), running=running)


def execute(arbiter: Arbiter, program: Program, refused: str = "") -> None:
    """Become that program. Raises OSError where it cannot be executed; then we go on as before."""
    arbiter.questions.refuse_all("the master is being upgraded: ask again")
    exec_state.execute(gather(arbiter, refused), program)


def put_back(arbiter: Arbiter, running: Running) -> None:
    """In the new image: go on with all of it."""
    arbiter.foreman.take_over(running.workers, running.tables)
    if arbiter.keeper is not None and running.store is not None:
        arbiter.keeper.take_over(running.store)
    for fd in running.visitors:
        arbiter.control.welcome(fd, asked=False)
    for number in arbiter.policy.processes.keys() - arbiter.foreman.handles.keys():
        # The image before us could not fork it, and had no time to say so.
        arbiter.reactor.call_later(0.0, partial(arbiter.decide, d.CouldNotFork(number, "the fork failed")))
    # It may be that some have ended while nobody listened for the signal.
    arbiter.reactor.call_later(0.0, arbiter.reaper.look)
    arbiter.operations.resume(running)
