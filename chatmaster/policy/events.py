"""What the policy is told and what it orders: events in the past tense, actions in the imperative.

Processes are named by the policy's own running number, not by pid: a pid can come again.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field

from chatmaster.contract import CONTRACT_VERSION, ExitCode, Failed
from chatmaster.settings import Settings

# Whose accept queue: the name of the program's Worker, and the place among its slots.
ListenerKey = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Timing:
    """The deadlines and bounds that the policy goes by, in seconds and bytes."""

    ready_timeout: float = 30.0
    drain_timeout: float = 10.0
    stop_timeout: float = 15.0
    hang_timeout: float = 15.0
    max_lifetime: float = 0.0  # 0: no limit
    max_memory: int = 0  # 0: no limit

    @classmethod
    def of(cls, settings: Settings) -> Timing:
        """As configured."""
        master, server = settings.master, settings.server
        return cls(
            ready_timeout=master.ready_timeout,
            drain_timeout=master.drain_timeout,
            stop_timeout=master.stop_timeout,
            hang_timeout=master.hang_timeout,
            max_lifetime=server.max_lifetime,
            max_memory=server.max_memory,
        )


# ---- events ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StartRequested:
    """Begin: so many workers of each name, in the program's order.

    `orphans` are accept queues that are open already, from before a restart; those beyond the slots need an heir.
    """

    counts: Mapping[str, int]
    orphans: tuple[ListenerKey, ...] = ()


@dataclass(frozen=True, slots=True)
class BecameReady:
    """The worker accepts connections and its bus has answered."""

    process: int
    contract: int = CONTRACT_VERSION


@dataclass(frozen=True, slots=True)
class ReportedFailure:
    """The worker cannot do its task and is about to exit."""

    process: int
    failure: Failed


@dataclass(frozen=True, slots=True)
class Exited:
    """The process was waited for. `code` is its exit code, or minus the signal that killed it."""

    process: int
    code: int


@dataclass(frozen=True, slots=True)
class CouldNotFork:
    """There is no such process: the system refused."""

    process: int
    reason: str


@dataclass(frozen=True, slots=True)
class WasStopped:
    """By SIGSTOP or its like; it is still there."""

    process: int


@dataclass(frozen=True, slots=True)
class WasContinued:
    """By SIGCONT."""

    process: int


@dataclass(frozen=True, slots=True)
class ReplacementRequested:
    """The worker itself asks to be replaced, new before old."""

    process: int
    reason: str


@dataclass(frozen=True, slots=True)
class FellSilent:
    """A sibling that gives its connections to this worker gets no answer: it has to be gone for certain."""

    process: int


@dataclass(frozen=True, slots=True)
class TimePassed:
    """Look at the clock. `beats` has each worker's last sign of life, `memory` its size in bytes."""

    beats: Mapping[int, float] = field(default_factory=dict)
    memory: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReloadRequested:
    """Bring every slot to `generation`, new before old."""

    operation: int
    generation: int
    timing: Timing


@dataclass(frozen=True, slots=True)
class ScaleRequested:
    """Have so many workers of that name."""

    operation: int
    group: str
    count: int


@dataclass(frozen=True, slots=True)
class StopRequested:
    """End every worker within `seconds`; None: when its clients have left by themselves."""

    seconds: float | None
    restart: bool = False  # the clients may come back at once


@dataclass(frozen=True, slots=True)
class HurryRequested:
    """End every worker now."""


Event = (
    StartRequested
    | BecameReady
    | ReportedFailure
    | Exited
    | CouldNotFork
    | WasStopped
    | WasContinued
    | ReplacementRequested
    | FellSilent
    | TimePassed
    | ReloadRequested
    | ScaleRequested
    | StopRequested
    | HurryRequested
)


# ---- actions ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Spawn:
    """Fork a worker for a slot."""

    process: int
    slot: int
    group: str
    index: int
    generation: int
    listeners: tuple[ListenerKey, ...]
    store_required: bool = False


@dataclass(frozen=True, slots=True)
class DrainWorker:
    """Tell a worker to send its clients away over `seconds` and to exit."""

    process: int
    seconds: float
    graceful: bool = False
    final: bool = False
    reload: bool = False


@dataclass(frozen=True, slots=True)
class HandOverSlot:
    """Tell a worker to give its connections to `heir`, within `seconds`, before it drains and exits."""

    process: int
    heir: int
    seconds: float
    reload: bool = False


@dataclass(frozen=True, slots=True)
class Kill:
    """Send a signal to a worker."""

    process: int
    number: signal.Signals


@dataclass(frozen=True, slots=True)
class AdoptListener:
    """Hand an orphaned listener to a worker."""

    process: int
    listener: ListenerKey


@dataclass(frozen=True, slots=True)
class AnnounceDeath:
    """Tell the siblings that this one is dead and waited for."""

    process: int


@dataclass(frozen=True, slots=True)
class AnnounceReady:
    """Every worker is ready for the first time."""


@dataclass(frozen=True, slots=True)
class FailStart:
    """The start has failed; the workers are being ended."""

    exit_code: ExitCode
    reason: str


@dataclass(frozen=True, slots=True)
class EndOperation:
    """A reload or scaling is over."""

    operation: int
    exit_code: ExitCode = ExitCode.DONE
    reason: str = ""


@dataclass(frozen=True, slots=True)
class LogLine:
    """Write a line to the log."""

    level: int
    text: str


@dataclass(frozen=True, slots=True)
class EndMaster:
    """No worker is left, and none will come."""


Action = (
    Spawn | DrainWorker | HandOverSlot | Kill | AdoptListener | AnnounceDeath | AnnounceReady
    | FailStart | EndOperation | LogLine | EndMaster
)  # fmt: skip
