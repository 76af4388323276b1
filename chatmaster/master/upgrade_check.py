"""Tries a new program in a child before the master executes it: the program must start and decode the state.

The child runs the command line that would be executed, `start` with all its options; a variable in its environment
makes it a trial. The child reads the configuration, imports everything, restores the policy from the real state, checks
the store's data, asks the application in a probe, writes its report into a memfd and exits. A program that does not
know the variable tries to start, and exits because the pid file is locked.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from chatmaster import __version__
from chatmaster.config import diff, groups
from chatmaster.config.loader import Loaded
from chatmaster.contract import CONTRACT_VERSION, WORKERS_ENTRY, ExitCode
from chatmaster.errors import ApplicationError, ChatmasterError, UsageError
from chatmaster.master import app_probe, boot, exec_state
from chatmaster.master.exec_state import ExecState, MasterProgram
from chatmaster.policy import events
from chatmaster.policy.policy import Policy
from chatmaster.runtime import fork
from chatmaster.runtime.event_loop import EventLoop
from chatmaster.store import binary

VARIABLE: Final = "_CHATMASTER_REHEARSAL"
PATIENCE: Final = 120.0  # seconds beyond master.ready_timeout: the first start of a checkout creates its environment
_SHOWN: Final = 2000  # characters of the output of a program that fails


class TrialReport(msgspec.Struct, frozen=True):
    """The report of a program that can take over."""

    version: str
    contract: int


class TrialStart:
    """One trial, from the start of the child to its end."""

    def __init__(
        self, loop: EventLoop, program: MasterProgram, left: ExecState, patience: float, done: Callable[..., None]
    ) -> None:
        """`done(report, error)` is called once, after the child was waited for; one of the two is None.

        Raises OSError if the program cannot be executed. Whoever waits for children calls `exited`.
        """
        self._done = done
        self._overdue = False
        self._patience = patience
        self._left = exec_state.write_all("left", exec_state.encode(left))
        self._report = exec_state.write_all("report", b"")
        self._output = exec_state.write_all("output", b"")
        try:
            self.pid = self._spawn(program)
        except OSError:
            self._close()
            raise
        self._timer = loop.call_later(patience, self._too_slow)

    def exited(self, status: int) -> None:
        """Take note that the child was waited for; `status` is that of waitpid."""
        self._timer.cancel()
        written = exec_state.read_all(self._report)
        output = exec_state.read_all(self._output).decode(errors="replace").strip()[-_SHOWN:]
        self._close()
        try:
            report = msgspec.json.decode(written, type=TrialReport)
        except msgspec.MsgspecError:
            self._done(None, self._failure(os.waitstatus_to_exitcode(status), output))
        else:
            self._done(report, None)

    def _spawn(self, program: MasterProgram) -> int:
        environ = exec_state.program_environment(program) | {VARIABLE: f"{self._left}:{self._report}"}
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, self._output, 1),
            (os.POSIX_SPAWN_DUP2, self._output, 2),
            # Duplicated onto itself: this clears close-on-exec in the child only.
            (os.POSIX_SPAWN_DUP2, self._left, self._left),
            (os.POSIX_SPAWN_DUP2, self._report, self._report),
        ]
        return os.posix_spawn(program.argv[0], program.argv, environ, file_actions=actions, setpgroup=0)

    def _close(self) -> None:
        for fd in (self._left, self._report, self._output):
            os.close(fd)

    def _too_slow(self) -> None:
        self._overdue = True
        os.killpg(self.pid, signal.SIGKILL)

    def _failure(self, code: int, output: str) -> ChatmasterError:
        if self._overdue:
            return ApplicationError(f"the new program was not ready to take over within {self._patience:g} s")
        if code in (ExitCode.DONE, ExitCode.ALREADY_RUNNING):
            output = f"it does not know how to take over (exit code {code})\n{output}"
        text = f"the new program cannot take over: {output or f'it ended with {code}'}".rstrip()
        if code == ExitCode.USAGE:
            return UsageError(text)
        return ApplicationError(text)


def run_trial(loaded: Loaded) -> int:
    """In the child: check that this program can take over, and report so. Raises ChatmasterError if it cannot.

    The caller has imported the whole master (`arbiter.py`) before.
    """
    left, report = (int(fd) for fd in os.environ.pop(VARIABLE).split(":"))
    running = exec_state.decode(exec_state.read_all(left)).running
    if running is None:
        raise ChatmasterError("the running master has left no state")
    fork.preload(WORKERS_ENTRY)
    settings, _ = diff.keep_running(boot.effective_settings(loaded), running.settings)
    Policy.restore(running.view, events.Timing.of(settings))
    if settings.store.url == "embedded":
        binary.check_marker(loaded.store_dir, binary.find_program())
    declared = app_probe.run(settings).workers
    loaded = loaded.declare(groups.declarations(declared), settings.server.app)
    groups.check_names(groups.groups(declared, loaded.settings, loaded.origins), running.groups)
    os.pwrite(report, msgspec.json.encode(TrialReport(__version__, CONTRACT_VERSION)), 0)
    sys.stdout.flush()
    return ExitCode.DONE


def requested_program(command: list[str], root: str, arguments: list[str]) -> MasterProgram:
    """Return the program that an `upgrade` asks for: `command` with the arguments of this master.

    Its packages are imported from the directory `root`; "": from where the command finds them. The directory of this
    program is removed from PYTHONPATH; other entries stay.
    """
    ours = os.path.realpath(Path(__file__).parents[2])
    path = [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]
    path = [place for place in path if os.path.realpath(place) != ours]
    return MasterProgram((*command, *arguments), os.pathsep.join([root, *path] if root else path))
