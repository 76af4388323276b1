"""The master's view of its workers: slots, the processes in them, and what is known of each. Pure data.

A slot is a place for a worker. It has at most one process that counts (`current`), one that is to take its place
(`successor`) and any number that are on their way out (`leaving`).
"""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from enum import StrEnum

from chatmaster.contract import CONTRACT_VERSION, Failed
from chatmaster.policy.events import ListenerKey
from chatmaster.runtime.exit_status import QUICK_DEATH, backoff, describe


class State(StrEnum):
    """How a worker is doing."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPED = "stopped"  # by SIGSTOP
    HUNG = "hung"


@dataclass(slots=True)
class Process:
    """One worker process."""

    number: int
    slot: int
    generation: int
    spawned: float
    deadline: float | None  # until it has to be ready, or gone; None: whenever
    alive: float  # when its loop last gave a sign of life, or was excused
    phase: State = State.STARTING  # STARTING, READY or DRAINING
    ready: float | None = None
    stopped: bool = False
    aborted: bool = False  # it was told to dump its stack and die
    killed: bool = False
    ending: str = ""  # why the master ends it; "": it does not
    failure: Failed | None = None
    lifetime: float | None = None  # seconds until it is replaced for its age
    contract: int = CONTRACT_VERSION  # which version of it the worker speaks
    heir: int | None = None  # the process that it gives its connections to
    heirless: bool = False  # its heir has died: it waits for the next one

    @property
    def name(self) -> str:
        """For people."""
        return f"worker {self.slot} (generation {self.generation})"

    @property
    def state(self) -> State:
        """As shown to people."""
        if self.aborted:
            return State.HUNG
        return State.STOPPED if self.stopped else self.phase

    @property
    def serves(self) -> bool:
        """Whether it accepts connections, as far as one can tell."""
        return self.phase is State.READY and not self.stopped and not self.aborted

    def died_quickly(self, now: float) -> bool:
        """Whether this death counts towards a back-off."""
        return self.ready is None or now - self.ready < QUICK_DEATH

    def exit_text(self, code: int) -> str:
        """The last exit in words."""
        if self.aborted and self.failure is None:
            return f"hung: {describe(code)}"
        if self.failure is not None:
            return f"{describe(code)}: {self.failure.reason}"
        return f"{self.ending}: {describe(code)}" if self.ending else describe(code)

    def describe_end(self, code: int, *, refused: bool) -> str:
        """What the log says of its end. `refused`: it was to take another one's place, which that one keeps."""
        if self.ending and code == 0:
            return f"{self.name} has ended, as it should: {self.ending}"
        text = f"{self.name} {'ended' if self.ending else 'died'}: {self.exit_text(code)}"
        if code == -signal.SIGKILL and not self.killed and not self.aborted:
            text += " (by somebody, or by the kernel because memory ran out)"
        return f"{text}{'; the old one stays' if refused and not self.ending else ''}{trace(self.failure)}"


@dataclass(slots=True)
class Slot:
    """A place for a worker."""

    number: int
    group: str
    index: int
    generation: int
    current: Process | None = None
    successor: Process | None = None
    leaving: list[Process] = field(default_factory=list)
    adopted: list[ListenerKey] = field(default_factory=list)
    removed: bool = False  # scaled away; gone as soon as its processes are
    restarts: int = 0  # unplanned ones
    quick_deaths: int = 0  # in a row
    respawn: float | None = None  # when the next process is due
    patience: float = 0.0  # no replacement for age or size before this time
    last_exit: str = ""
    exited: float | None = None  # when that was

    @property
    def key(self) -> ListenerKey:
        """Its own accept queues."""
        return (self.group, self.index)

    @property
    def listeners(self) -> tuple[ListenerKey, ...]:
        """All accept queues that its process serves."""
        return (self.key, *self.adopted)

    @property
    def processes(self) -> list[Process]:
        """Every process that is here in whatever capacity."""
        return [p for p in (self.current, self.successor, *self.leaving) if p is not None]

    def remove(self, process: Process) -> None:
        """It is dead."""
        if self.current is process:
            self.current = None
        elif self.successor is process:
            self.successor = None
        elif process in self.leaving:
            self.leaving.remove(process)

    def count_death(self, process: Process, now: float) -> float:
        """An unplanned death; returns how long to wait for the next process, in seconds."""
        self.restarts += 1
        self.quick_deaths = self.quick_deaths + 1 if process.died_quickly(now) else 0
        return backoff(self.quick_deaths)


@dataclass(frozen=True, slots=True)
class Crash:
    """A worker's end that nobody had ordered."""

    slot: int
    generation: int
    how: str
    at: float


@dataclass(frozen=True, slots=True)
class PolicySnapshot:
    """All that the policy knows while nothing is going on: what one image of the master leaves to the next."""

    generation: int
    counts: dict[str, int]
    slots: list[Slot]
    last_number: int
    hangs: int = 0
    silences: int = 0
    restarts: int = 0
    crash: Crash | None = None


def trace(failure: Failed | None) -> str:
    """On lines of its own; "": there is none."""
    return f"\n{failure.traceback.rstrip()}" if failure is not None and failure.traceback else ""
