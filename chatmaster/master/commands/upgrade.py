"""`chatctl upgrade`: the master becomes a new program in place, then brings new workers.

Three parts: a child tries the new program (`upgrade_check.py`); the master executes it, with all sockets, workers and
the store (`exec_state.py`); in the new image the command goes on like a reload. Where the new workers do not start,
the master executes the old program again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Final

import msgspec

from chatmaster import __version__
from chatmaster.contract import ExitCode
from chatmaster.errors import ApplicationError, ChatmasterError
from chatmaster.master import upgrade_check
from chatmaster.master.commands.command import CommandContext, Ended, Requester
from chatmaster.master.commands.reload import RollingCommand
from chatmaster.master.exec_state import CommandSnapshot, MasterProgram

log = logging.getLogger(__name__)

_LEAVING: Final = 60.0  # seconds for workers that are on their way out before the exec
_LOOK_AGAIN: Final = 0.05  # seconds


class Upgrade(RollingCommand):
    """The command `upgrade`, and SIGUSR2."""

    kind = "upgrade"
    past = "upgraded"
    activity = "upgrading"
    signal = "SIGUSR2"

    def __init__(
        self, context: CommandContext, requesters: Sequence[Requester], *, program: MasterProgram | None
    ) -> None:
        super().__init__(context, requesters)
        self._program = program  # to upgrade to; in the new image, the one to go back to
        self._upgraded = False  # this image is the new program

    # ---- in the old image --------------------------------------------------------------------------

    def start(self) -> None:
        """See in a child that the new program can take over."""
        context, program = self._context, self._program
        assert program is not None
        self.enter_directory()
        patience = context.resources.settings.master.ready_timeout + upgrade_check.PATIENCE
        done = lambda report, error: self._tried(program, report, error)  # noqa: E731
        try:
            trial = upgrade_check.TrialStart(context.loop, program, context.master.snapshot(), patience, done)
        except OSError as error:
            raise ApplicationError(f"{program.argv[0]} cannot be executed: {error.strerror}") from None
        context.children.expect(trial.pid, trial.exited)

    def _tried(
        self, program: MasterProgram, report: upgrade_check.TrialReport | None, error: ChatmasterError | None
    ) -> None:
        if not self.running:
            return  # the server stops meanwhile
        if error is not None:
            self.fail(error.exit_code, str(error))
            return
        if report is not None:
            log.info("upgrade: chatmaster %s can take over; executing it", report.version)
        self._execute(program, time.monotonic() + _LEAVING)

    def _execute(self, program: MasterProgram, deadline: float, refused: str = "") -> None:
        """Execute the program once no worker is on its way out; a handover is in neither snapshot."""
        context = self._context
        if not self.running:
            return
        if context.policy.settled:
            try:
                context.master.execute(program, refused)
            except OSError as error:
                self.fail(ExitCode.NOT_READY, f"{program.argv[0]} cannot be executed: {error.strerror}")
        elif time.monotonic() < deadline:
            context.loop.call_later(_LOOK_AGAIN, lambda: self._execute(program, deadline, refused))
        else:
            self.fail(ExitCode.FAILED, refused or "old workers have not ended yet: try again later")

    # ---- in the new image --------------------------------------------------------------------------

    def resume(self, ended: Ended, *, began: float, back: MasterProgram, refused: str) -> None:
        """Bring new workers; or end, where this is the old program again because the new one was `refused`."""
        self._ended, self._began = ended, began
        if refused:
            self._program = None
            self.fail(ExitCode.NOT_READY, f"the new program was abandoned: {refused}")
            return
        self._upgraded, self._program, self._moves = True, back, self._context.supervisor.moves()
        self.result["version"] = __version__
        log.info("upgrade: the master is chatmaster %s now; new workers follow", __version__)
        self._context.loop.call_later(0.0, self._bring_workers)

    def _bring_workers(self) -> None:
        if self.running:
            self.attempt(super().start)

    def fail(self, code: int, reason: str) -> None:
        if not (self._upgraded and self._program is not None):
            super().fail(code, reason)
            return
        program, self._program = self._program, None
        log.error("upgrade: %s; going back to the old program", reason)
        self._execute(program, time.monotonic() + _LEAVING, refused=reason)

    def abandon(self, reason: str) -> None:
        self._program = None  # there is nothing to go back to any more
        super().abandon(reason)

    def snapshot(self) -> CommandSnapshot:
        return msgspec.structs.replace(super().snapshot(), program=self._program)
