"""The contract of master and worker: what a worker is given, their messages, and the shared exit codes.

The master knows the workers as one string, `WORKERS_ENTRY`, and by this file; the workers know the master
by this file, `settings.py` and `stats.py`. Neither imports anything else of the other.

Every process that the master forks for the workers runs `WORKERS_ENTRY` with one `Task`:

* `Probe` — import the application, send one `Declares` (or `Failed`) over the channel, return;
* `Launch` — serve until told to drain.

The channel is one end of a `SOCK_SEQPACKET` pair: one message a packet, encoded with `encode`, at most
`MAX_PACKET` bytes; descriptors travel beside it (SCM_RIGHTS). Both ends are non-blocking, and neither
side may wait for the other.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from chatmaster import __version__
from chatmaster.settings import Settings
from chatmaster.stats import WorkerStats

VERSION = __version__
WORKERS_ENTRY = "workers.main:main"
# Environment variable in development mode: the file that a worker locks while its debugger holds the terminal.
DEBUGGER_LOCK = "_CHATMASTER_DEBUGGER_LOCK"

# Version of the messages here, of the counters in `stats.py`, and of the handover between workers. After an upgrade in
# place workers of two versions run side by side: where the number differs, the old ones drain instead of handing
# over, and their counters are not read. `Drain` and `Failed` must therefore stay readable: they may only
# get fields with a default.
CONTRACT_VERSION = 3
MAX_PACKET = 65_536


class ExitCode(IntEnum):
    """Exit codes of `chatctl`, of the master and of a worker."""

    DONE = 0
    FAILED = 1
    USAGE = 2  # wrong usage or configuration
    NOT_RUNNING = 3
    ALREADY_RUNNING = 4
    NOT_READY = 5  # the application could not be loaded, or a worker did not get ready
    STORE_UNREACHABLE = 6  # the store cannot be reached; at the first start only
    TIMED_OUT = 7  # chatctl itself ran out of time


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening socket that the master opened (or was given) and keeps open."""

    address: str  # as configured: ws://HOST:PORT, wss://HOST:PORT, unix:/PATH
    sock: socket.socket


@dataclass(frozen=True, slots=True)
class Probe:
    """Import the application and report what it declares."""

    settings: Settings
    channel: socket.socket


class WorkerLog(Protocol):
    """The log of a worker's process, which an application may not silence."""

    def keep(self) -> None:
        """Restore what the application has changed; called after its import and from time to time."""

    def reopen(self) -> None:
        """The log file was rotated. Raises OSError."""


@dataclass(frozen=True, slots=True)
class Launch:
    """Everything a worker is given."""

    settings: Settings
    channel: socket.socket
    worker: str  # the name of the program's Worker that this slot serves
    slot: int  # the place in the master's table; also the index of its counters
    index: int  # the place among the workers of that name, from 0 (Workerman's worker.id)
    generation: int  # grows with each reload
    incarnation: str  # random, unique for each process: the owner of its presence and counts
    store_url: str  # resolved: never "embedded"
    durability: str  # "disk", "second", "memory", "replica" where the master knows, else ""
    stats: WorkerStats
    listeners: tuple[Listener, ...] = field(default=())
    store_required: bool = True  # first start: get ready only with the store; later: serve degraded
    orphans: tuple[str, ...] = ()  # dead incarnations that may have left entries in the store
    log: WorkerLog | None = None  # set in the worker's process


Task = Probe | Launch


class Declared(Struct, frozen=True):
    """The master's description of one `Worker(...)` of the program."""

    name: str
    listen: tuple[str, ...] = ()
    count: int = 0  # 0: not given
    chat: bool = False  # served by the chat instead of callbacks


# ---- worker → master -------------------------------------------------------------------------------


class Declares(Struct, frozen=True, tag="declares"):
    """A probe's answer: the Workers of the program, in order of definition."""

    workers: tuple[Declared, ...]


class Failed(Struct, frozen=True, tag="failed"):
    """The process cannot do its task and ends with `exit_code`; `reason` is one sentence for the operator."""

    exit_code: int
    reason: str
    traceback: str = ""


class Ready(Struct, frozen=True, tag="ready"):
    """The worker accepts connections and its bus has answered."""

    contract: int = CONTRACT_VERSION


class Drained(Struct, frozen=True, tag="drained"):
    """The worker has no connections any more and is about to exit with 0."""


class Answer(Struct, frozen=True, tag="answer"):
    """Part of the answer to `Query` `id`; rows come in packets, `last` ends them.

    A row that no packet can hold comes in pieces: `piece` is a part of its msgpack, `more` says that others follow.
    """

    id: int
    rows: list[dict[str, Any]] = []
    last: bool = True
    error: str = ""
    exit_code: int = 0
    piece: bytes = b""
    more: bool = False
    facts: dict[str, Any] = {}  # about all rows together, with the last answer


class KillPeer(Struct, frozen=True, tag="kill_peer"):
    """The sibling `incarnation` holds connections of ours and does not answer: end it, then send `Reaped`."""

    incarnation: str


class HostOrder(Struct, frozen=True, tag="host_order"):
    """The whole host is drained, as `by` asked `since` (Unix time); "": it is not, or no longer.

    `stop`: the clients have left, and the server is to end.
    """

    by: str = ""
    since: float = 0.0
    stop: bool = False


class Replace(Struct, frozen=True, tag="replace"):
    """This worker should be replaced, new before old; `reason` is for the log."""

    reason: str


# ---- master → worker -------------------------------------------------------------------------------


class Drain(Struct, frozen=True, tag="drain"):
    """Stop accepting, close the clients spread over `seconds`, then exit with 0.

    `graceful` waits for the clients to leave by themselves instead. `final` says that the whole server
    goes away (close code 1001) and not only this worker (1012). `reload`: because of new code or settings. A later one
    replaces an earlier one, and ends a handover.
    """

    seconds: float
    graceful: bool = False
    final: bool = False
    reload: bool = False


class HandOver(Struct, frozen=True, tag="hand_over"):
    """Like `Drain`, but first give the connections to the sibling `peer` over the descriptor that comes along.

    The other end of that SOCK_SEQPACKET pair goes to the sibling with `TakeOver`. What could not be given away in
    `seconds` is drained. Should the sibling die meanwhile, another order names the next one.
    """

    peer: str  # incarnation
    seconds: float
    reload: bool = False


class TakeOver(Struct, frozen=True, tag="take_over"):
    """Take connections over from the sibling `peer`, over the descriptor that comes along."""

    peer: str  # incarnation


class Query(Struct, frozen=True, tag="query"):
    """Answer a query that only a worker can answer: `connections rooms who tail say kick ban ...`."""

    id: int
    what: str
    args: dict[str, Any] = {}


class CancelQuery(Struct, frozen=True, tag="cancel_query"):
    """Cancel a query whose answer is no longer wanted (a `tail` that ended)."""

    id: int


class Adopt(Struct, frozen=True, tag="adopt"):
    """Accept on this listener too: its slot was scaled away. The descriptor comes with the packet."""

    address: str


class Reaped(Struct, frozen=True, tag="reaped"):
    """A dead sibling was reaped: its entries in the store have no owner now."""

    incarnation: str


class ReopenLogs(Struct, frozen=True, tag="reopen_logs"):
    """Open the log file again: it was rotated."""


FromWorker = Declares | Failed | Ready | Drained | Answer | KillPeer | HostOrder | Replace
ToWorker = Drain | HandOver | TakeOver | Query | CancelQuery | Adopt | Reaped | ReopenLogs

encode = msgspec.msgpack.Encoder().encode
decode_row = msgspec.msgpack.Decoder(dict[str, Any]).decode
decode_from_worker = msgspec.msgpack.Decoder(FromWorker).decode
decode_to_worker = msgspec.msgpack.Decoder(ToWorker).decode
