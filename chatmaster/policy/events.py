"""The input and output of the policy: events in the past tense, actions in the imperative.

Events and actions name a process by the policy's own serial number, not by its pid, because pids are reused.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field

from chatmaster.contract import CONTRACT_VERSION, ExitCode, Failed
from chatmaster.settings import Settings

# Identifies an accept queue: the name of the program's Worker, and the index of the slot among its slots.
ListenerKey = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Timing:
    """The deadlines (seconds) and limits (bytes) that the policy applies."""

    ready_timeout: float = 30.0
    drain_timeout: float = 10.0
    stop_timeout: float = 15.0
    hang_timeout: float = 15.0
    max_lifetime: float = 0.0  # 0: no limit
    max_memory: int = 0  # 0: no limit

    @classmethod
    def of(cls, settings: Settings) -> Timing:
        """Return the timing that the settings configure."""
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
    """The server starts, with `counts` workers of each name, in the program's order.

    `orphans` are accept queues left open by a restart; a queue without its own slot needs another slot to serve it.
    """

    counts: Mapping[str, int]
    orphans: tuple[ListenerKey, ...] = ()


@dataclass(frozen=True, slots=True)
class BecameReady:
    """The worker accepts connections, and the store has answered it."""

    process: int
    contract: int = CONTRACT_VERSION


@dataclass(frozen=True, slots=True)
class ReportedFailure:
    """The worker cannot do its task and is about to exit, for the reason it reported."""

    process: int
    failure: Failed


@dataclass(frozen=True, slots=True)
class Exited:
    """The process ended and was waited for. `code` is its exit code, or minus the signal that killed it."""

    process: int
    code: int


@dataclass(frozen=True, slots=True)
class CouldNotFork:
    """The operating system refused to create the process."""

    process: int
    reason: str


@dataclass(frozen=True, slots=True)
class WasStopped:
    """The process was stopped by SIGSTOP or a similar signal; it still exists."""

    process: int


@dataclass(frozen=True, slots=True)
class WasContinued:
    """The process was continued by SIGCONT."""

    process: int


@dataclass(frozen=True, slots=True)
class ReplacementRequested:
    """The worker itself asked for a replacement, which starts before the worker leaves."""

    process: int
    reason: str


@dataclass(frozen=True, slots=True)
class FellSilent:
    """The worker stopped answering another worker that hands it connections; it must be killed for certain."""

    process: int


@dataclass(frozen=True, slots=True)
class TimePassed:
    """Time has passed. `beats` has each worker's last heartbeat (monotonic), `memory` its resident size in bytes."""

    beats: Mapping[int, float] = field(default_factory=dict)
    memory: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReloadRequested:
    """A reload was requested: replace the process of every slot by one of `generation`, new before old."""

    operation: int
    generation: int
    timing: Timing


@dataclass(frozen=True, slots=True)
class ScaleRequested:
    """A new count of workers of that name was requested."""

    operation: int
    group: str
    count: int


@dataclass(frozen=True, slots=True)
class StopRequested:
    """A stop was requested: every worker ends within `seconds`, or, with None, when its clients have left."""

    seconds: float | None
    restart: bool = False  # the clients may come back at once


@dataclass(frozen=True, slots=True)
class HurryRequested:
    """An immediate end of every worker was requested."""


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
    """Fork a worker process for a slot."""

    process: int
    slot: int
    group: str
    index: int
    generation: int
    listeners: tuple[ListenerKey, ...]
    store_required: bool = False


@dataclass(frozen=True, slots=True)
class DrainWorker:
    """Tell a worker to close its connections over `seconds` and to exit."""

    process: int
    seconds: float
    graceful: bool = False
    final: bool = False
    reload: bool = False


@dataclass(frozen=True, slots=True)
class HandOverSlot:
    """Tell a worker to hand its connections over to `heir` within `seconds`, then to drain and exit."""

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
    """Pass an accept queue that no process serves to a worker."""

    process: int
    listener: ListenerKey


@dataclass(frozen=True, slots=True)
class AnnounceDeath:
    """Tell the other workers that this process has ended and was waited for."""

    process: int


@dataclass(frozen=True, slots=True)
class AnnounceReady:
    """Announce that every worker is ready for the first time."""


@dataclass(frozen=True, slots=True)
class FailStart:
    """Report that the start has failed; the workers are being ended."""

    exit_code: ExitCode
    reason: str


@dataclass(frozen=True, slots=True)
class EndOperation:
    """Report that a reload or a scaling is over."""

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
    """End the master: no worker is left, and none will start."""


Action = (
    Spawn | DrainWorker | HandOverSlot | Kill | AdoptListener | AnnounceDeath | AnnounceReady
    | FailStart | EndOperation | LogLine | EndMaster
)  # fmt: skip
