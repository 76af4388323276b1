"""What was asked of the running master: a job, and who wants to know how it went."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from chatmaster.config import Loaded
from chatmaster.control_server import ControlServer, Peer
from chatmaster.groups import Group
from chatmaster.settings import Settings
from chatmaster.succession import KeptJob, Program

log = logging.getLogger(__name__)


class Asker(Protocol):
    """Somebody who wants to know how it went."""

    def progress(self, text: str) -> None: ...
    def done(self, result: Mapping[str, Any] | None = None) -> None: ...
    def fail(self, exit_code: int, error: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal asked: the log is told."""

    what: str

    def progress(self, text: str) -> None:
        log.info("%s: %s", self.what, text)

    def done(self, result: Mapping[str, Any] | None = None) -> None:
        log.info("%s: done", self.what)

    def fail(self, exit_code: int, error: str) -> None:
        log.error("%s failed: %s", self.what, error)


@dataclass(slots=True)
class Job:
    """Something to do, and who waits for it."""

    kind: str  # reload, scale, restart, upgrade
    askers: list[Asker]
    to: int | None = None
    by: int = 0
    worker: str = ""
    result: dict[str, Any] = field(default_factory=dict)
    plan: Plan | None = None
    program: Program | None = None  # to upgrade to; once we are that: to go back to
    upgraded: bool = False  # we are the new program

    def kept(self) -> KeptJob:
        """For the next image of this program."""
        peers = tuple(one.fileno() for one in self.askers if isinstance(one, Peer) and one.open)
        signals = sum(isinstance(one, Signal) for one in self.askers)
        return KeptJob(self.kind, self.to, self.by, self.worker, peers, signals, self.program)

    @classmethod
    def of(cls, kept: KeptJob, control: ControlServer) -> Job:
        """As the image before this one has left it."""
        askers: list[Asker] = [control.welcome(fd, asked=True) for fd in kept.peers]
        askers += [Signal(kept.kind)] * kept.signals
        return cls(kept.kind, askers, kept.to, kept.by, kept.worker, program=kept.program)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a reload brings, once configuration and application are known to be good."""

    loaded: Loaded
    settings: Settings
    groups: tuple[Group, ...]
