"""Asks the application what it declares, in a short-lived child that imports it and reports.

The master itself never imports the application: a broken one must not hurt it, and a reload must see new code. The
start, `reload` and `chatctl check` all ask this way.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Callable

from chatmaster import contract
from chatmaster.contract import ExitCode
from chatmaster.errors import ApplicationError
from chatmaster.master.worker_channel import Channel
from chatmaster.runtime import fork
from chatmaster.runtime.event_loop import EventLoop
from chatmaster.runtime.exit_status import describe
from chatmaster.settings import Settings

log = logging.getLogger(__name__)

ProbeAnswer = contract.Declares | contract.Answer | contract.Failed


class ProbeProcess:
    """One probe child, from its fork to its end."""

    def __init__(
        self, loop: EventLoop, settings: Settings, entry: str, done: Callable[[ProbeAnswer], None], *, what: str = ""
    ) -> None:
        """`done` is called once, after the child was waited for. Raises OSError if the fork fails.

        `entry` is what the child runs, and answers with the message that its task is for. It gets
        `master.ready_timeout` seconds. Whoever waits for children calls `exited`.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self.pid = fork.fork(
                contract.Probe(settings, theirs),
                entry=entry,
                title=fork.probe_title(settings.master.name),
                process="probe",
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        self._settings = settings
        self._what = what or f"importing {settings.server.app}"
        self._answer: ProbeAnswer | None = None
        self._overdue = False
        self._done = done
        self._channel = Channel(loop, ours, self._received)
        self._timer = loop.call_later(settings.master.ready_timeout, self._too_slow)

    def exited(self, code: int) -> None:
        """Take note that the child has ended and was waited for."""
        fork.end_group(self.pid)
        self._timer.cancel()
        self._channel.read_rest()
        self._channel.close()
        self._done(self._answer or self._unanswered(code))

    def _received(self, message: contract.FromWorker) -> None:
        if isinstance(message, ProbeAnswer) and self._answer is None:
            self._answer = message

    def _too_slow(self) -> None:
        self._overdue = True
        os.kill(self.pid, signal.SIGKILL)

    def _unanswered(self, code: int) -> contract.Failed:
        limit = self._settings.master.ready_timeout
        if self._overdue:
            return contract.Failed(ExitCode.NOT_READY, f"{self._what} did not end within {limit:g} s")
        return contract.Failed(ExitCode.NOT_READY, f"{self._what} ended the process ({describe(code)})")


def declared(answer: ProbeAnswer) -> contract.Declares:
    """Return the declaration. Raises ApplicationError with the reason and the traceback if there is none."""
    if isinstance(answer, contract.Declares):
        return answer
    reason, trace = (answer.reason, answer.traceback) if isinstance(answer, contract.Failed) else ("no declaration", "")
    raise ApplicationError(f"{reason}\n{trace.rstrip()}" if trace else reason)


def run(settings: Settings, entry: str = contract.WORKERS_ENTRY) -> contract.Declares:
    """Run a probe and wait for it, for a caller without a loop. Raises ApplicationError."""
    answers: list[ProbeAnswer] = []
    loop = EventLoop()
    try:
        asking = ProbeProcess(loop, settings, entry, answers.append)
        loop.on_signal(signal.SIGCHLD, lambda: _wait(asking))
        _wait(asking)
        loop.run_until(lambda: bool(answers))
    finally:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        loop.close()
    return declared(answers[0])


def _wait(asking: ProbeProcess) -> None:
    pid, status = os.waitpid(asking.pid, os.WNOHANG)
    if pid:
        asking.exited(os.waitstatus_to_exitcode(status))
