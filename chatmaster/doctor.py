"""`chatctl doctor`: looks for what makes a deployment hurt, and says what to do about it.

Every check looks at one thing and yields findings; none of them changes anything.
"""

from __future__ import annotations

import os
import resource
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click

from chatmaster.config import Loaded
from chatmaster.errors import ChatmasterError, StoreUnreachable

Level = Literal["good", "warning", "wrong"]

_FILES_WANTED = 10_000  # connections that a server should be able to hold without being set up for it
_CLOCK_TOLERANCE = 1.0  # seconds between our clock and the store's
_STORE_TIMEOUT = 3.0  # seconds
_SECRET_BYTES = 32  # RFC 7518, 3.2: a key for HS256 has at least as many bits as its hash
_OLDEST_STORE = (6, 2)
_DISK_WANTED = 1_000_000_000  # bytes

_MARKS = {"good": ("✓", "green"), "warning": ("!", "yellow"), "wrong": ("✗", "red")}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    level: Level
    what: str
    found: str
    advice: str = ""

    @property
    def is_wrong(self) -> bool:
        """Whether it will hurt, and not only might."""
        return self.level == "wrong"

    def row(self) -> dict[str, Any]:
        """For --json."""
        return {"level": self.level, "what": self.what, "found": self.found, "advice": self.advice}


def examine(loaded: Loaded) -> list[Finding]:
    """Everything there is to say, in the order of the checks."""
    checks: Sequence[Callable[[Loaded], Iterator[Finding]]] = (_files, _kernel, _state, _store, _secret)
    return [finding for check in checks for finding in check(loaded)]


def render(findings: Sequence[Finding]) -> str:
    """One line a finding, its advice below."""
    width = max(len(finding.what) for finding in findings)
    lines = []
    for finding in findings:
        mark, colour = _MARKS[finding.level]
        lines.append(f"{click.style(mark, fg=colour)} {finding.what.ljust(width)}  {finding.found}")
        if finding.advice:
            lines.append(f"  {' ' * width}  {click.style(finding.advice, fg=colour)}")
    return "\n".join(lines)


def _files(loaded: Loaded) -> Iterator[Finding]:
    """A worker may raise its soft limit to the hard one, so that one counts. One descriptor a connection."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = float("inf") if hard == resource.RLIM_INFINITY else hard
    wanted = max(_FILES_WANTED, loaded.settings.limits.connections)
    found = f"{hard} open files for each process" if limit != float("inf") else "unlimited"
    if limit >= wanted:
        yield Finding("good", "file limit", found)
    else:
        advice = f"a worker holds fewer clients than that: LimitNOFILE={wanted * 2} in the unit, or ulimit -Hn"
        yield Finding("warning", "file limit", found, advice)


def _kernel(loaded: Loaded) -> Iterator[Finding]:
    backlog = loaded.settings.server.backlog
    somaxconn = _read_number("/proc/sys/net/core/somaxconn")
    if somaxconn is not None and somaxconn < backlog:
        advice = f"connects are dropped in a rush: sysctl -w net.core.somaxconn={backlog}"
        yield Finding("warning", "backlog", f"net.core.somaxconn is {somaxconn}, server.backlog {backlog}", advice)
    else:
        yield Finding("good", "backlog", f"{backlog}")
    migrate = _read_number("/proc/sys/net/ipv4/tcp_migrate_req")
    if migrate == 1:
        yield Finding("good", "tcp_migrate_req", "1")
    elif migrate == 0:
        # The master keeps every listener open, so this only matters when the master itself goes away.
        advice = "only when the master itself ends, waiting connects are reset: sysctl -w net.ipv4.tcp_migrate_req=1"
        yield Finding("good", "tcp_migrate_req", "0", advice)


def _state(loaded: Loaded) -> Iterator[Finding]:
    directory = loaded.state_dir
    try:
        found = directory.stat()
    except OSError:
        yield Finding("good", "state directory", f"{directory} will be made")
        return
    if found.st_mode & 0o077:
        mode = stat.S_IMODE(found.st_mode)
        yield Finding("wrong", "state directory", f"{directory} is open to others ({mode:04o})", "chmod 700 it")
    elif not os.access(directory, os.W_OK | os.X_OK):
        yield Finding("wrong", "state directory", f"{directory} cannot be written by this user", "run as its owner")
    else:
        yield Finding("good", "state directory", str(directory))
    free = shutil.disk_usage(directory).free
    if free < _DISK_WANTED:
        yield Finding("warning", "disk", f"{free // 1_000_000} MB free", "a full disk ends the embedded store")


def _store(loaded: Loaded) -> Iterator[Finding]:
    if loaded.settings.store.url == "embedded":
        yield from _embedded_store(loaded)
    else:
        yield from _configured_store(loaded.settings.store.url)


def _embedded_store(loaded: Loaded) -> Iterator[Finding]:
    from chatmaster import store_program

    try:
        program = store_program.find_program()
        store_program.check_marker(loaded.store_dir, program)
    except ChatmasterError as error:
        yield Finding("wrong", "store", "embedded", str(error))
        return
    yield Finding("good", "store", f"embedded: {program} ({program.path})")
    yield Finding("good", "durability", "disk: every write is synced before it is answered")
    if _read_number("/proc/sys/vm/overcommit_memory") == 0:
        advice = "rewriting its file may fail when memory is short: sysctl -w vm.overcommit_memory=1"
        yield Finding("good", "overcommit", "vm.overcommit_memory is 0", advice)


def _configured_store(url: str) -> Iterator[Finding]:
    from chatmaster import store_remote, store_url

    began = time.monotonic()
    try:
        facts = store_remote.look(url, _STORE_TIMEOUT)
    except StoreUnreachable as error:
        yield Finding("wrong", "store", str(error), "the first start will end with exit code 6")
        return
    took = (time.monotonic() - began) * 1000
    version = tuple(int(part) for part in facts.program.split()[-1].split(".")[:2] if part.isdigit())
    level: Level = "good" if version >= _OLDEST_STORE else "wrong"
    yield Finding(level, "store", f"{facts.program} at {store_url.parse(url).shown}, found in {took:.0f} ms")
    yield _durability(facts.durability, facts.replicas)
    if facts.maxmemory_policy not in ("", "noeviction"):
        advice = "it throws messages away when memory is short: CONFIG SET maxmemory-policy noeviction"
        yield Finding("wrong", "eviction", facts.maxmemory_policy, advice)
    if facts.pubsub_buffer:
        yield _pubsub_buffer(facts.pubsub_buffer)
    if abs(facts.clock_offset) > _CLOCK_TOLERANCE:
        yield Finding("warning", "clock", f"the store's is {facts.clock_offset:+.1f} s from ours", "run NTP on both")
    else:
        yield Finding("good", "clock", f"the store's is {facts.clock_offset * 1000:+.0f} ms from ours")


def _durability(durability: str, replicas: int) -> Finding:
    match durability:
        case "disk":
            return Finding("good", "durability", "disk: every write is synced before it is answered")
        case "second":
            advice = "a crash of the store's machine may lose acknowledged messages: CONFIG SET appendfsync always"
            return Finding("warning", "durability", "synced once a second", advice)
        case "replica":
            advice = "what they have not got yet is lost with the store: CONFIG SET appendonly yes on all of them"
            return Finding("warning", "durability", f"memory only, of {replicas + 1} servers", advice)
        case "memory":
            advice = "a restart of the store loses the history: CONFIG SET appendonly yes"
            return Finding("warning", "durability", "memory only", advice)
        case _:
            return Finding("warning", "durability", "unknown: the store does not tell", "ask whoever runs it")


def _pubsub_buffer(limits: str) -> Finding:
    hard, soft, seconds = (int(part) for part in limits.split()[:3])
    found = f"{hard >> 20} MiB, or {soft >> 20} MiB for {seconds} s"
    if soft and soft < 32 << 20:
        advice = 'a busy worker is cut off early: CONFIG SET client-output-buffer-limit "pubsub 256mb 64mb 60"'
        return Finding("warning", "subscriber buffer", found, advice)
    return Finding("good", "subscriber buffer", found)


def _secret(loaded: Loaded) -> Iterator[Finding]:
    auth = loaded.settings.auth
    if auth.secret and len(auth.secret.encode()) < _SECRET_BYTES:
        advice = f"RFC 7518 wants {_SECRET_BYTES} for HS256; a short one can be guessed"
        yield Finding("warning", "auth.secret", f"{len(auth.secret.encode())} bytes", advice)
    if loaded.file is not None and (auth.secret or "@" in loaded.settings.store.url):
        yield from _readable_by_others(loaded.file)


def _readable_by_others(file: Path) -> Iterator[Finding]:
    if file.stat().st_mode & stat.S_IROTH:
        yield Finding("warning", "permissions", f"everybody can read {file}", "it holds a secret: chmod o-r it")


def _read_number(path: str) -> int | None:
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        return None
