"""What the master knows of its workers: slots and the processes in them. Pure data.

A slot is a place for a worker. It has at most one process that serves (`current`), one that will replace it
(`successor`) and any number of processes that are ending (`leaving`).
"""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from enum import StrEnum

from chatmaster.contract import CONTRACT_VERSION, Failed
from chatmaster.policy.events import ListenerKey
from chatmaster.runtime.exit_status import QUICK_DEATH, backoff, describe


class State(StrEnum):
    """The state of a worker process."""

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
    deadline: float | None  # to be ready or to have ended; None: no limit
    alive: float  # the last heartbeat, or the last time that a missing one was excused
    phase: State = State.STARTING  # STARTING, READY or DRAINING
    ready: float | None = None
    stopped: bool = False
    aborted: bool = False  # SIGABRT was sent: the process writes its stack and dies
    killed: bool = False
    ending: str = ""  # why the master ends the process; "": it does not
    failure: Failed | None = None
    lifetime: float | None = None  # seconds until it is replaced for its age
    contract: int = CONTRACT_VERSION  # the version of the contract that the worker speaks
    heir: int | None = None  # the process that takes over its connections
    heirless: bool = False  # its heir has died, and no other one is named yet

    @property
    def name(self) -> str:
        """The name for log lines and errors."""
        return f"worker {self.slot} (generation {self.generation})"

    @property
    def state(self) -> State:
        """The state for people: `phase`, unless the process is stopped or hung."""
        if self.aborted:
            return State.HUNG
        return State.STOPPED if self.stopped else self.phase

    @property
    def serves(self) -> bool:
        """True if the process accepts connections, as far as the master knows."""
        return self.phase is State.READY and not self.stopped and not self.aborted

    def died_quickly(self, now: float) -> bool:
        """True if a death now counts towards a back-off."""
        return self.ready is None or now - self.ready < QUICK_DEATH

    def exit_text(self, code: int) -> str:
        """Describe the end of the process, with its cause."""
        if self.aborted and self.failure is None:
            return f"hung: {describe(code)}"
        if self.failure is not None:
            return f"{describe(code)}: {self.failure.reason}"
        return f"{self.ending}: {describe(code)}" if self.ending else describe(code)

    def describe_end(self, code: int, *, refused: bool) -> str:
        """Return the log line about its end. `refused`: the process it should have replaced stays."""
        if self.ending and code == 0:
            return f"{self.name} has ended as ordered: {self.ending}"
        text = f"{self.name} {'ended' if self.ending else 'died'}: {self.exit_text(code)}"
        if code == -signal.SIGKILL and not self.killed and not self.aborted:
            text += " (by a user, or by the kernel when memory ran out)"
        return f"{text}{'; the old process stays' if refused and not self.ending else ''}{trace(self.failure)}"


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
    removed: bool = False  # by a scaling; the slot is forgotten with its last process
    restarts: int = 0  # unplanned
    quick_deaths: int = 0  # in a row
    respawn: float | None = None  # when the next process starts
    patience: float = 0.0  # no replacement for age or size before this time
    last_exit: str = ""
    exited: float | None = None  # when `last_exit` was

    @property
    def key(self) -> ListenerKey:
        """The key of the slot's own accept queues."""
        return (self.group, self.index)

    @property
    def listeners(self) -> tuple[ListenerKey, ...]:
        """The keys of all accept queues that the slot's process serves."""
        return (self.key, *self.adopted)

    @property
    def processes(self) -> list[Process]:
        """All processes of the slot: current, successor and leaving."""
        return [p for p in (self.current, self.successor, *self.leaving) if p is not None]

    def remove(self, process: Process) -> None:
        """Remove a process that has ended."""
        if self.current is process:
            self.current = None
        elif self.successor is process:
            self.successor = None
        elif process in self.leaving:
            self.leaving.remove(process)

    def count_death(self, process: Process, now: float) -> float:
        """Count an unplanned death; return the seconds to wait before the next process."""
        self.restarts += 1
        self.quick_deaths = self.quick_deaths + 1 if process.died_quickly(now) else 0
        return backoff(self.quick_deaths)


@dataclass(frozen=True, slots=True)
class Crash:
    """The end of a worker that the master had not ordered."""

    slot: int
    generation: int
    how: str
    at: float


@dataclass(frozen=True, slots=True)
class PolicySnapshot:
    """All that the policy knows while it is settled: what one image of the master leaves to the next."""

    generation: int
    counts: dict[str, int]
    slots: list[Slot]
    last_number: int
    hangs: int = 0
    silences: int = 0
    restarts: int = 0
    crash: Crash | None = None


def trace(failure: Failed | None) -> str:
    """Return the traceback of a failure, preceded by a line break; "" if there is none."""
    return f"\n{failure.traceback.rstrip()}" if failure is not None and failure.traceback else ""
