"""`chatctl doctor`: looks for problems of a deployment and says what to do about them.

A running server reports about itself, since its limits, its store and its disk count, not those of the user's shell.
Each finding names what was examined. `doctor` changes nothing.
"""

from __future__ import annotations

import dataclasses
import os
import resource
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import click

from chatmaster.cli import control_client, interpreters
from chatmaster.cli.instance import ANSWER_TIMEOUT, command
from chatmaster.cli.tables import duration, size
from chatmaster.config.formatting import without_password
from chatmaster.config.loader import Loaded
from chatmaster.errors import ChatmasterError, NotRunning, RefusedByMaster, StoreUnreachable, TimedOut
from chatmaster.master.faults import is_low
from chatmaster.plural import counted
from chatmaster.runtime import cores
from chatmaster.store.layout import SHARDS

_FILES_WANTED = 10_000  # connections that a server should hold without special configuration
_FILES_RESERVED = 64  # descriptors of a worker that are not connections
_SECRET_BYTES = 32  # RFC 7518, 3.2: a key for HS256 has at least as many bits as its hash
_DISK_WANTED = 1_000_000_000  # bytes

_CLOCK_TOLERANCE = 1.0  # seconds between our clock and the store's
_LAG_TOLERATED = 1 << 20  # bytes that a replica may be behind
_MEMORY_TOLERATED = 0.75  # of the store's limit
_STORE_TIMEOUT = 3.0  # seconds
_OLDEST_STORE = (6, 2)

_MARKS = {"good": ("✓", "green"), "warning": ("!", "yellow"), "wrong": ("✗", "red")}


Level = Literal["good", "warning", "wrong"]

SHELL: Final = "this shell"
SERVER: Final = "the running server"
MACHINE: Final = "this machine"
STORE: Final = "the store"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check; a finding with advice is a warning or wrong."""

    level: Level
    what: str
    found: str
    advice: str = ""
    where: str = SHELL

    @property
    def is_wrong(self) -> bool:
        """True for a problem that needs action now."""
        return self.level == "wrong"

    def row(self) -> dict[str, Any]:
        """The finding as a row for --json."""
        return {name: getattr(self, name) for name in ("level", "what", "where", "found", "advice")}


def examine(loaded: Loaded) -> list[Finding]:
    """All findings: about the running server, or about a start from here if no server runs."""
    try:
        told = control_client.call(loaded.control_socket, "doctor", timeout=ANSWER_TIMEOUT)
    except NotRunning:
        return _of_a_start(loaded)
    except (RefusedByMaster, TimedOut) as error:
        silent = Finding("wrong", "server", str(error), "the following findings are those of this shell", SERVER)
        return [silent, *_of_a_start(loaded)]
    return [*_unused_overrides(loaded.sources.overrides), *_of_the_server(told)]


def _unused_overrides(overrides: Sequence[str]) -> Iterator[Finding]:
    """A warning for --set beside a running server, which has its own settings."""
    keys = [text.partition("=")[0].strip() for text in overrides]
    unused = [key for key in keys if key not in ("master.name", "master.state_dir")]
    if unused:
        found = (
            f"{', '.join(dict.fromkeys(unused))} not applied: doctor examines the running server with its own settings"
        )
        advice = "to examine a start with these settings, stop the server or name another instance (--name)"
        yield Finding("warning", "--set", found, advice)


def render(findings: Sequence[Finding]) -> str:
    """One line for each finding, with the advice below."""
    width = max(len(finding.what) for finding in findings)
    place = max(len(finding.where) for finding in findings)
    lines = []
    for finding in findings:
        mark, colour = _MARKS[finding.level]
        where = click.style(finding.where.ljust(place), dim=True)
        lines.append(f"{click.style(mark, fg=colour)} {finding.what.ljust(width)}  {where}  {finding.found}")
        if finding.advice:
            lines.append(f"  {' ' * (width + place + 2)}  {click.style(finding.advice, fg=colour)}")
    return "\n".join(lines)


# ---- a running server ----------------------------------------------------------------------------------


def _of_the_server(told: Mapping[str, Any]) -> list[Finding]:
    """The findings about a running server, from its own report (`master/checkup.py`)."""
    found = [Finding("good", "server", f"{told['name']}, pid {told['pid']}, {counted(told['workers'], 'worker')}")]
    found += [Finding("wrong", "fault", f"{row['what']}{_lasting(row)}", row["why"]) for row in told.get("faults", ())]
    found += _files(told["files"], told["connections_wanted"], used=told["files_used"])
    found.append(_workers(told))
    found += _python(interpreters.executable_of(told["pid"]))
    found.append(
        Finding("good", "memory", f"{size(told['workers_memory'])} in workers, {size(told['memory'])} in the master")
    )
    found += _state(Path(told["state_dir"]))
    found += _disk(told["disk_free"], told["disk_size"] or 0, told["embedded"])
    if dropped := told["log_lines_dropped"]:
        advice = f"the log {told['log_file'] or 'on standard error'} could not be written"
        found.append(Finding("warning", "log", f"{counted(dropped, 'line')} dropped since the start", advice))
    found += _secret(told["secret_bytes"])
    if told["config_file"] and told["holds_secret"]:
        found += _readable_by_others(Path(told["config_file"]))
    server = [replace(finding, where=SERVER) for finding in found]
    return [*server, *_kernel(told["backlog"]), *_store_of_the_server(told)]


def _lasting(row: Mapping[str, Any]) -> str:
    return f" for {duration(row['seconds'])}" if row["seconds"] is not None else ""


def _workers(told: Mapping[str, Any]) -> Finding:
    able = cores.Cores(**told["cores"])
    found = f"{counted(told['workers'], 'worker')}, {counted(able.count, 'core')} to use ({able})"
    if able.are_crowded_by(told["workers"]):
        return Finding(
            "warning",
            "cores",
            found,
            f"more than two workers a core take turns: use `{command()} scale` or server.workers",
        )
    return Finding("good", "cores", found)


# ---- a start from here -----------------------------------------------------------------------------------


def _of_a_start(loaded: Loaded) -> list[Finding]:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    auth = loaded.settings.auth
    checks: Sequence[Callable[[], Iterator[Finding]]] = (
        # A worker raises its soft limit to the hard limit, so the hard limit counts.
        lambda: _files(hard, loaded.settings.limits.connections),
        lambda: iter([Finding("good", "cores", f"{cores.available().count} to use ({cores.available()})")]),
        lambda: _python(interpreters.executable_of(os.getpid())),
        lambda: _kernel(loaded.settings.server.backlog),
        lambda: _state(loaded.state_dir),
        lambda: _disk(*_room(loaded.state_dir), embedded=loaded.settings.store.url == "embedded"),
        lambda: _store_of_a_start(loaded),
        lambda: _secret(len(auth.secret.encode()) if auth.secret else None),
    )
    found = [finding for check in checks for finding in check()]
    if loaded.file is not None and (loaded.settings.secrets or "@" in loaded.settings.store.url):
        found += _readable_by_others(loaded.file)
    return found


def _room(directory: Path) -> tuple[int | None, int]:
    """Free bytes and size of the disk that holds, or will hold, the directory."""
    for place in (directory, *directory.parents):
        try:
            usage = shutil.disk_usage(place)
        except OSError:
            continue
        return usage.free, usage.total
    return None, 0


# ---- single checks -------------------------------------------------------------------------------------


def _files(limit: int | None, connections: int, *, used: int = 0) -> Iterator[Finding]:
    """Each connection needs one descriptor."""
    if limit is None:
        return
    wanted = max(_FILES_WANTED, connections)
    if limit == resource.RLIM_INFINITY:
        yield Finding("good", "file limit", "unlimited")
        return
    found = f"{limit:,} open files for each process" + (f", at most {used:,} of them used" if used else "")
    if used and used >= limit - _FILES_RESERVED:
        advice = f"clients are refused: set LimitNOFILE={wanted * 2} in the unit, or ulimit -Hn, and restart"
        yield Finding("wrong", "file limit", found, advice)
    elif limit >= wanted:
        yield Finding("good", "file limit", found)
    else:
        advice = f"a worker holds fewer clients than that: set LimitNOFILE={wanted * 2} in the unit, or ulimit -Hn"
        yield Finding("warning", "file limit", found, advice)


def _python(path: str) -> Iterator[Finding]:
    """Half of what a worker does is the interpreter's work, and how that was built decides how long it takes."""
    running = interpreters.measure(path, bare=True)
    if running is None:
        return
    found = f"Python {running.version}, {running.micros} µs for a fixed piece of work"
    pair = interpreters.faster_than(path)
    if pair is None:
        yield Finding("good", "python", found)
        return
    slower, faster = pair
    found = f"Python {slower.version}, {slower.micros} µs for a fixed piece of work"
    less = 1 - faster.micros / slower.micros
    advice = (
        f"{faster.path} ({faster.version}) needs {less:.0%} less CPU for the same: PYTHON={faster.path} {command()} "
        "makes an environment of it"
    )
    yield Finding("warning", "python", found, advice)


def _kernel(backlog: int) -> Iterator[Finding]:
    somaxconn = _read_number("/proc/sys/net/core/somaxconn")
    if somaxconn is not None and somaxconn < backlog:
        advice = f"a burst of connects loses some of them: sysctl -w net.core.somaxconn={backlog}"
        found = f"net.core.somaxconn is {somaxconn}, server.backlog {backlog}"
        yield Finding("warning", "backlog", found, advice, MACHINE)
    else:
        yield Finding("good", "backlog", f"{backlog}", where=MACHINE)
    migrate = _read_number("/proc/sys/net/ipv4/tcp_migrate_req")
    if migrate == 1:
        yield Finding("good", "tcp_migrate_req", "1", where=MACHINE)
    elif migrate == 0:
        # The master keeps every listener open, so this only matters when the master itself ends.
        advice = "when the master ends, waiting connects are reset: sysctl -w net.ipv4.tcp_migrate_req=1"
        yield Finding("warning", "tcp_migrate_req", "0", advice, MACHINE)


def _state(directory: Path) -> Iterator[Finding]:
    try:
        found = directory.stat()
    except FileNotFoundError:
        yield Finding("good", "state directory", f"{directory} will be created")
        return
    except OSError as error:
        yield Finding(
            "wrong", "state directory", f"{directory}: {error.strerror}", "name another directory with --state-dir"
        )
        return
    if not stat.S_ISDIR(found.st_mode):
        yield Finding(
            "wrong", "state directory", f"{directory} is not a directory", "name another directory with --state-dir"
        )
    elif found.st_mode & 0o077:
        mode = stat.S_IMODE(found.st_mode)
        yield Finding(
            "wrong", "state directory", f"{directory} is open to other users ({mode:04o})", f"chmod 700 {directory}"
        )
    elif not os.access(directory, os.W_OK | os.X_OK):
        yield Finding(
            "wrong",
            "state directory",
            f"this user cannot write to {directory}",
            "run chatctl as the owner of the directory",
        )
    else:
        yield Finding("good", "state directory", str(directory))


def _disk(free: int | None, size: int, embedded: bool) -> Iterator[Finding]:
    if free is None:
        return
    found = f"{free // 1_000_000:,} MB free for the state directory"
    if free >= _DISK_WANTED:
        yield Finding("good", "disk", found)
    elif not embedded or not is_low(free, size):
        yield Finding("warning", "disk", found, "a full disk stops the embedded store")
    else:
        yield Finding("wrong", "disk", found, "a full disk stops the embedded store: free some space")


def _secret(length: int | None) -> Iterator[Finding]:
    if length is not None and length < _SECRET_BYTES:
        advice = f"RFC 7518 requires {_SECRET_BYTES} bytes for HS256; a short secret can be guessed"
        yield Finding("warning", "auth.secret", f"{length} bytes", advice)


def _readable_by_others(file: Path) -> Iterator[Finding]:
    try:
        mode = file.stat().st_mode
    except OSError:
        return  # only the server may read the file
    if mode & stat.S_IROTH:
        yield Finding(
            "warning", "permissions", f"every user can read {file}", f"the file holds a secret: chmod o-r {file}"
        )


def _read_number(path: str) -> int | None:
    """The number in a file under /proc; None if there is none."""
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        return None


# ---- the store --------------------------------------------------------------------------------------


def _store_of_the_server(told: Mapping[str, Any]) -> Iterator[Finding]:
    """The store, as the running server sees it."""
    store = told["store"]
    kind = "embedded" if told["embedded"] else without_password(store["url"])
    if (error := told.get("store_error")) is not None:
        reason = store["reason"] or error
        yield Finding(
            "wrong", "store", f"{kind}: {reason}", "no message is stored or delivered until the store answers", STORE
        )
        return
    facts = told["store_facts"]
    yield from _judge_store(facts, f"{facts['program']}, {kind}, answers the running server")
    if told["embedded"]:
        yield from _overcommit()


def _store_of_a_start(loaded: Loaded) -> Iterator[Finding]:
    """The store that a start would use, as this shell sees it."""
    if loaded.settings.store.url == "embedded":
        yield from _embedded_store(loaded)
    else:
        yield from _configured_store(loaded.settings.store.url, loaded.settings.master.name)


def _embedded_store(loaded: Loaded) -> Iterator[Finding]:
    from chatmaster.store import binary

    try:
        program = binary.find_program()
        binary.check_marker(loaded.store_dir, program)
    except ChatmasterError as error:
        yield Finding("wrong", "store", "embedded", str(error))
        return
    yield Finding("good", "store", f"embedded: {program} ({program.path}), not running")
    if advice := binary.why_not_the_wheels(program):
        yield Finding("warning", "store program", str(program.path), advice)
    yield Finding("good", "durability", "disk: the store syncs every write before it answers")
    yield from _overcommit()


def _overcommit() -> Iterator[Finding]:
    if _read_number("/proc/sys/vm/overcommit_memory") == 0:
        advice = "rewriting the store's file may fail when memory is short: sysctl -w vm.overcommit_memory=1"
        yield Finding("warning", "overcommit", "vm.overcommit_memory is 0", advice, MACHINE)


def _configured_store(url: str, name: str) -> Iterator[Finding]:
    from chatmaster.store import remote
    from chatmaster.store import url as store_url

    began = time.monotonic()
    try:
        facts = remote.inspect(url, _STORE_TIMEOUT, name)
    except StoreUnreachable as error:
        yield Finding("wrong", "store", str(error), "a start will end with exit code 6")
        return
    took = (time.monotonic() - began) * 1000
    found = f"{facts.program} at {store_url.parse(url).shown}, found in {took:.0f} ms from this shell"
    yield from _judge_store(dataclasses.asdict(facts), found)


def _judge_store(facts: Mapping[str, Any], found: str) -> Iterator[Finding]:
    version = tuple(int(part) for part in facts["program"].split()[-1].split(".")[:2] if part.isdigit())
    level: Level = "good" if version >= _OLDEST_STORE else "wrong"
    yield Finding(
        level,
        "store",
        found,
        "" if level == "good" else "the oldest supported store is Redis 6.2, or any Valkey",
        STORE,
    )
    yield from _shards(facts)
    yield _durability(facts["durability"], facts["replicas"])
    yield from _replicas(facts["replicas"], facts["replica_lag"], facts.get("replicas_to_write", -1))
    yield from _memory(facts["used_memory"], facts["max_memory"])
    if facts["maxmemory_policy"] not in ("", "noeviction"):
        advice = "the store evicts messages when memory is short: CONFIG SET maxmemory-policy noeviction"
        yield Finding("wrong", "eviction", facts["maxmemory_policy"], advice, STORE)
    if facts["pubsub_buffer"]:
        yield _pubsub_buffer(facts["pubsub_buffer"])
    offset = facts["clock_offset"]
    if abs(offset) > _CLOCK_TOLERANCE:
        yield Finding(
            "warning", "clock", f"the clock of the store differs by {offset:+.1f} s", "run NTP on both machines", STORE
        )
    else:
        yield Finding("good", "clock", f"the clock of the store differs by {offset * 1000:+.0f} ms", where=STORE)


def _shards(facts: Mapping[str, Any]) -> Iterator[Finding]:
    """Of a cluster: whether every shard is served, and what happens where one is not."""
    if facts.get("masters", 1) == 1 and not facts.get("shards_away"):
        return
    masters, away = facts["masters"], facts["shards_away"]
    if away:
        advice = "rooms and users of these shards get `unavailable`: see CLUSTER NODES for the node that is away"
        yield Finding("wrong", "shards", f"{away} of {SHARDS} are served by no node", advice, STORE)
    else:
        yield Finding("good", "shards", f"{SHARDS} on {masters} masters", where=STORE)
    if facts["whole_or_nothing"]:
        advice = "with one shard away all rooms are: CONFIG SET cluster-require-full-coverage no, on every node"
        yield Finding("warning", "coverage", "cluster-require-full-coverage is yes", advice, STORE)


def _durability(durability: str, replicas: int) -> Finding:
    match durability:
        case "disk":
            return Finding("good", "durability", "disk: the store syncs every write before it answers", where=STORE)
        case "second":
            advice = "a crash of the store's machine may lose acknowledged messages: CONFIG SET appendfsync always"
            return Finding("warning", "durability", "synced once a second", advice, STORE)
        case "replica":
            advice = (
                "messages that no replica has yet are lost with the store, and `reset` says so to everybody concerned"
            )
            found = f"memory of {replicas + 1} servers"
            return Finding("warning", "durability", found, advice, STORE)
        case "memory":
            advice = "a restart of the store loses the history: CONFIG SET appendonly yes"
            return Finding("warning", "durability", "memory only", advice, STORE)
        case _:
            return Finding(
                "warning",
                "durability",
                "unknown: the store does not allow CONFIG",
                "ask the operator of the store",
                STORE,
            )


def _replicas(count: int, lag: int, to_write: int) -> Iterator[Finding]:
    if not count:
        return
    if not to_write:
        found = "min-replicas-to-write is 0: a master that was replaced and does not know it goes on acknowledging"
        advice = "what it takes then is lost: CONFIG SET min-replicas-to-write 1, on every server (and CONFIG REWRITE)"
        yield Finding("warning", "replicas to write", found, advice, STORE)
    found = f"{counted(count, 'replica')}, at most {size(lag)} behind"
    if lag > _LAG_TOLERATED:
        advice = "what a replica lacks is lost in a failover: look at its load and at the network between the two"
        yield Finding("warning", "replicas", found, advice, STORE)
    else:
        yield Finding("good", "replicas", found, where=STORE)


def _memory(used: int, most: int) -> Iterator[Finding]:
    """A store without a limit takes what the machine has, and is killed then; one with a limit refuses writes."""
    if not most:
        advice = "what clients write may take all memory of its machine: CONFIG SET maxmemory, below what that has"
        yield Finding("warning", "store memory", f"{size(used)}, no limit", advice, STORE)
    elif used >= _MEMORY_TOLERATED * most:
        advice = "when it is full, what clients write is refused: raise maxmemory, or lower store.history_ttl"
        yield Finding("warning", "store memory", f"{size(used)} of {size(most)}", advice, STORE)
    else:
        yield Finding("good", "store memory", f"{size(used)} of {size(most)}", where=STORE)


def _pubsub_buffer(limits: str) -> Finding:
    hard, soft, seconds = (int(part) for part in limits.split()[:3])
    found = f"{hard >> 20} MiB, or {soft >> 20} MiB for {seconds} s"
    if soft and soft < 32 << 20:
        advice = (
            'the store disconnects a busy worker early: CONFIG SET client-output-buffer-limit "pubsub 256mb 64mb 60"'
        )
        return Finding("warning", "subscriber buffer", found, advice, STORE)
    return Finding("good", "subscriber buffer", found, where=STORE)
