"""What was asked of the running master: a job, and who wants to know how it went."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from chatmaster.config.groups import Group
from chatmaster.config.loader import Loaded
from chatmaster.master.commands.outcome import MoveCounts, asked_by
from chatmaster.master.control_server import ControlPeer, ControlServer
from chatmaster.master.exec_state import CommandSnapshot, MasterProgram
from chatmaster.settings import Settings

log = logging.getLogger(__name__)


class Requester(Protocol):
    """Somebody who wants to know how it went."""

    def progress(self, text: str) -> None: ...
    def done(self, result: Mapping[str, Any] | None = None) -> None: ...
    def fail(self, exit_code: int, error: str) -> None: ...


@dataclass(frozen=True, slots=True)
class SignalRequester:
    """A signal asked; how it went is in the log anyway."""

    name: str

    def progress(self, text: str) -> None:
        log.info("%s: %s", self.name, text)

    def done(self, result: Mapping[str, Any] | None = None) -> None:
        """See `Operations`."""

    def fail(self, exit_code: int, error: str) -> None:
        """See `Operations`."""


def signal_for(kind: str, by: int = 0) -> SignalRequester:
    """The one that asks for this."""
    scaling = "SIGTTIN" if by > 0 else "SIGTTOU"
    return SignalRequester({"reload": "SIGHUP", "upgrade": "SIGUSR2"}.get(kind, scaling))


@dataclass(slots=True)
class Job:
    """Something to do, and who waits for it."""

    kind: str  # reload, scale, restart, upgrade
    askers: list[Requester]
    to: int | None = None
    by: int = 0
    worker: str = ""
    result: dict[str, Any] = field(default_factory=dict)
    plan: Plan | None = None
    program: MasterProgram | None = None  # to upgrade to; once we are that: to go back to
    upgraded: bool = False  # we are the new program
    began: float = 0.0  # monotonic; of an upgrade in the image before this one
    moves: MoveCounts = field(default_factory=MoveCounts)  # when it began

    @property
    def who(self) -> str:
        """Who asked."""
        return asked_by(one.name if isinstance(one, SignalRequester) else "chatctl" for one in self.askers)

    def kept(self) -> CommandSnapshot:
        """For the next image of this program."""
        peers = tuple(one.fileno() for one in self.askers if isinstance(one, ControlPeer) and one.open)
        signals = sum(isinstance(one, SignalRequester) for one in self.askers)
        return CommandSnapshot(self.kind, self.to, self.by, self.worker, peers, signals, self.program, self.began)

    @classmethod
    def of(cls, kept: CommandSnapshot, control: ControlServer) -> Job:
        """As the image before this one has left it."""
        now = time.monotonic()
        askers: list[Requester] = [control.welcome(fd, asked=True) for fd in kept.peers]
        askers += [signal_for(kept.kind, kept.by)] * kept.signals
        return cls(kept.kind, askers, kept.to, kept.by, kept.worker, program=kept.program, began=kept.began or now)


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that was asked and failed, so that the server runs on as it was."""

    kind: str
    reason: str
    at: float  # monotonic


@dataclass(frozen=True, slots=True)
class Plan:
    """What a reload brings, once configuration and application are known to be good."""

    loaded: Loaded
    settings: Settings
    groups: tuple[Group, ...]
