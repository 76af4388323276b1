"""What all commands of the operator have in common: who asked, how they begin and end, what an upgrade keeps of them.

`OperatorCommand` is a change of the running server in several steps; `queue.py` runs one at a time.
`ProgramCommand` is a command that starts the program again and therefore checks it first: reload, restart, upgrade.
"""

from __future__ import annotations

import logging
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from chatmaster.config import diff
from chatmaster.config.groups import declarations
from chatmaster.config.loader import Loaded
from chatmaster.contract import Declares, ExitCode
from chatmaster.errors import ChatmasterError
from chatmaster.master import app_probe, boot
from chatmaster.master.boot import ServerResources
from chatmaster.master.commands.outcome import MoveCounts, asked_by, sentence
from chatmaster.master.control_server import ControlPeer
from chatmaster.master.exec_state import CommandSnapshot, ExecState, MasterProgram
from chatmaster.master.supervisor import Supervisor
from chatmaster.policy import events
from chatmaster.policy.policy import Policy, ServerPhase
from chatmaster.runtime import workdir
from chatmaster.runtime.child_watcher import ChildWatcher
from chatmaster.runtime.event_loop import EventLoop
from chatmaster.runtime.systemd import Notifier
from chatmaster.settings import Settings

log = logging.getLogger(__name__)


Ended = Callable[["OperatorCommand", int, str], None]


class Requester(Protocol):
    """The party that asked for a command and gets its progress and outcome."""

    def progress(self, text: str) -> None: ...
    def done(self, result: Mapping[str, Any] | None = None) -> None: ...
    def fail(self, exit_code: int, error: str) -> None: ...


@dataclass(frozen=True, slots=True)
class SignalRequester:
    """A signal that asked; the log says how the command went."""

    name: str

    def progress(self, text: str) -> None:
        log.info("%s: %s", self.name, text)

    def done(self, result: Mapping[str, Any] | None = None) -> None:
        """Nothing to answer."""

    def fail(self, exit_code: int, error: str) -> None:
        """Nothing to answer."""


class RunningMaster(Protocol):
    """What a command asks of the running master."""

    def decide(self, event: events.Event) -> None:
        """Give the policy an event and carry out its actions."""

    def summary(self) -> str:
        """Describe the server in one line, for people."""

    def use_settings(self, generation: int, settings: Settings) -> None:
        """Fork the workers of that generation with these settings."""

    def reconfigure(self, loaded: Loaded, settings: Settings) -> None:
        """Make these the settings of the master itself."""

    def snapshot(self, refused: str = "") -> ExecState:
        """Return all that the next image of the master needs; see `MasterSnapshot.refused`."""

    def execute(self, program: MasterProgram, refused: str = "") -> None:
        """Become that program. Returns only by raising OSError, with nothing changed."""


@dataclass(slots=True)
class CommandContext:
    """What all commands act upon, and what outlives a single one of them."""

    master: RunningMaster
    resources: ServerResources
    policy: Policy
    supervisor: Supervisor
    loop: EventLoop
    children: ChildWatcher
    notifier: Notifier
    entry: str  # of a worker
    generation: int  # the highest that was ever begun
    scaled: set[str] = field(default_factory=set)  # groups whose count was changed by hand
    operations: int = 0  # how many the policy was asked for

    def next_operation(self) -> int:
        """Return a number for the next operation of the policy."""
        self.operations += 1
        return self.operations


class OperatorCommand(ABC):
    """One command: created when asked, begun by the queue, ended once by `finish` or `fail`."""

    kind: ClassVar[str]  # as in CommandSnapshot
    past: ClassVar[str]  # for the log
    activity: ClassVar[str] = "ready"  # the state of the server meanwhile, in a word

    def __init__(self, context: CommandContext, requesters: Sequence[Requester]) -> None:
        self.requesters = list(requesters)
        self.result: dict[str, Any] = {}
        self._context = context
        self._began = 0.0  # monotonic; of an upgrade, in the image before this one
        self._moves = MoveCounts()  # when it began
        self._operation: int | None = None  # what the policy was asked for
        self._ended: Ended | None = None  # set while it runs

    @abstractmethod
    def start(self) -> None:
        """Take the first step. Raises ChatmasterError or OSError."""

    @abstractmethod
    def advance(self) -> None:
        """Take the next step: the policy has carried out what was asked."""

    def begin(self, ended: Ended) -> None:
        """Start; `ended` is called once, with the command, the exit code and, for a failure, the reason."""
        self._ended = ended
        self._began, self._moves = time.monotonic(), self._context.supervisor.moves()
        self.attempt(self.start)

    def end_operation(self, operation: int, code: ExitCode, reason: str) -> None:
        """Take note that the policy has ended an operation."""
        if operation != self._operation:
            return
        if code is ExitCode.DONE:
            self.advance()
        else:
            self.fail(code, reason)

    def finish(self, *, generation: int | None = None, version: str = "") -> None:
        """End successfully; `generation` and `version` are those that the command has brought."""
        text = sentence(
            self.past,
            self.who,
            workers=sum(self._context.policy.counts.values()),
            generation=generation,
            seconds=time.monotonic() - self._began,
            moves=self._context.supervisor.moves().since(self._moves),
            version=version,
        )
        log.info("%s", text)
        self._end(ExitCode.DONE, "")

    def fail(self, code: int, reason: str) -> None:
        """End without success."""
        log.error("%s failed, as %s asked: %s", self.kind, self.who, reason)
        self._end(code, reason)

    def abandon(self, reason: str) -> None:
        """End because the server stops."""
        self.fail(ExitCode.FAILED, reason)

    def attempt(self, step: Callable[[], None]) -> None:
        """Take a step; the command fails where the step raises ChatmasterError or OSError."""
        try:
            step()
        except (ChatmasterError, OSError) as error:
            self.fail(getattr(error, "exit_code", ExitCode.FAILED), str(error))

    @property
    def running(self) -> bool:
        """True from the beginning to the end."""
        return self._ended is not None

    @property
    def who(self) -> str:
        """Name those who asked, for the log."""
        return asked_by(one.name if isinstance(one, SignalRequester) else "chatctl" for one in self.requesters)

    def give_requesters_away(self) -> tuple[int, ...]:
        """Return descriptors of the control connections, for the next image to answer on."""
        given = (one.give_away() for one in self.requesters if isinstance(one, ControlPeer))
        return tuple(fd for fd in given if fd is not None)

    def snapshot(self) -> CommandSnapshot:
        """Return what the next image of the master needs to run this command."""
        peers = tuple(one.fileno() for one in self.requesters if isinstance(one, ControlPeer) and one.open)
        signals = sum(isinstance(one, SignalRequester) for one in self.requesters)
        return CommandSnapshot(self.kind, peers=peers, signals=signals, began=self._began)

    def release(self) -> None:
        """Let go of what only a running command needs, and tell the service manager."""
        self._context.notifier.status(self._context.master.summary())

    def ask_policy(self, event: Callable[[int], events.Event]) -> None:
        """Ask the policy for an operation; `event` makes the request from the operation's number."""
        self._operation = self._context.next_operation()
        self._context.master.decide(event(self._operation))

    def _end(self, code: int, reason: str) -> None:
        ended, self._ended = self._ended, None
        self.release()
        for requester in self.requesters:
            if code == ExitCode.DONE:
                requester.done(self.result)
            else:
                requester.fail(code, reason)
        if ended is not None:
            ended(self, code, reason)


class ProgramCommand(OperatorCommand):
    """A command that starts the program again: reads the configuration and asks the application in a probe first."""

    def __init__(self, context: CommandContext, requesters: Sequence[Requester]) -> None:
        super().__init__(context, requesters)
        self._directory: workdir.DirectoryChange | None = None

    @abstractmethod
    def accept(self, loaded: Loaded, declared: Declares) -> None:
        """Go on: configuration and application are good. Raises ChatmasterError."""

    def start(self) -> None:
        self.enter_directory()
        context = self._context
        loaded = context.resources.loaded.reload()
        settings, _ = diff.after_reload(context.resources.settings, boot.effective_settings(loaded))
        probe = app_probe.ProbeProcess(
            context.loop, settings, context.entry, lambda answer: self._application_answered(loaded, answer)
        )
        context.children.expect(probe.pid, lambda status: probe.exited(os.waitstatus_to_exitcode(status)))

    def enter_directory(self) -> None:
        """Go to where the path of the working directory leads now. Raises ApplicationError."""
        self._context.notifier.reloading(self.kind)
        self._directory = workdir.DirectoryChange()

    def fail(self, code: int, reason: str) -> None:
        if self._directory is not None:
            self._directory.undo()
        super().fail(code, reason)

    def release(self) -> None:
        if self._directory is not None:
            self._directory.keep()
            self._directory = None
        context = self._context
        if context.policy.phase is ServerPhase.RUNNING:
            # A service manager waits for the end of a reload that was announced, also if a restart has failed.
            context.notifier.ready(context.master.summary())

    def _application_answered(self, loaded: Loaded, answer: app_probe.ProbeAnswer) -> None:
        if not self.running:
            return  # the server stops meanwhile
        try:
            declared = app_probe.declared(answer)
            self.accept(loaded.declare(declarations(declared.workers), loaded.settings.server.app), declared)
        except ChatmasterError as error:
            self.fail(error.exit_code, str(error))
