"""An upgrade in place, seen from the running master: gathers what the next image must know, and puts it back there.

`exec_state.py` has the form of it and the exec itself, `upgrade_check.py` the trial before.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from chatmaster.config import diff
from chatmaster.master import exec_state
from chatmaster.master.exec_state import ExecState, MasterProgram, MasterSnapshot
from chatmaster.policy import events

if TYPE_CHECKING:
    from chatmaster.master.arbiter import Arbiter


def gather(arbiter: Arbiter, refused: str = "") -> ExecState:
    """Everything that goes on. `refused`: why we, the new program, give it back."""
    site, operations = arbiter.site, arbiter.operations
    running = MasterSnapshot(
        view=arbiter.policy.view,
        groups=site.groups,
        workers=arbiter.supervisor.kept(),
        tables=arbiter.supervisor.rows.tables,
        store=arbiter.keeper.snapshot() if arbiter.keeper is not None else None,
        settings=diff.restart_settings(site.settings),
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
    return ExecState(os.getpid(), site.pid_file.fileno(), tuple(site.listeners.kept()), running=running)


def execute(arbiter: Arbiter, program: MasterProgram, refused: str = "") -> None:
    """Become that program. Raises OSError where it cannot be executed; then we go on as before."""
    arbiter.questions.refuse_all("the master is being upgraded: ask again")
    exec_state.execute(gather(arbiter, refused), program)


def put_back(arbiter: Arbiter, running: MasterSnapshot) -> None:
    """In the new image: go on with all of it."""
    arbiter.supervisor.take_over(running.workers, running.tables)
    if arbiter.keeper is not None and running.store is not None:
        arbiter.keeper.restore(running.store)
    for fd in running.visitors:
        arbiter.control.welcome(fd, asked=False)
    for number in arbiter.policy.processes.keys() - arbiter.supervisor.handles.keys():
        # The image before us could not fork it, and had no time to say so.
        arbiter.reactor.call_later(0.0, partial(arbiter.decide, events.CouldNotFork(number, "the fork failed")))
    # It may be that some have ended while nobody listened for the signal.
    arbiter.reactor.call_later(0.0, arbiter.reaper.look)
    arbiter.operations.resume(running)
