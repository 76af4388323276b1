"""What `chatctl doctor` finds about the store: that of the running server, or that of a start from here."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping
from typing import Any

from chatmaster.cli.doctor_finding import Finding, Level, read_number
from chatmaster.config.formatting import without_password
from chatmaster.config.loader import Loaded
from chatmaster.errors import ChatmasterError, StoreUnreachable

_CLOCK_TOLERANCE = 1.0  # seconds between our clock and the store's
_STORE_TIMEOUT = 3.0  # seconds
_OLDEST_STORE = (6, 2)

STORE = "the store"


def of_the_server(told: Mapping[str, Any]) -> Iterator[Finding]:
    """The store as the running server reaches it."""
    store = told["store"]
    kind = "embedded" if told["embedded"] else without_password(store["url"])
    if (error := told.get("store_error")) is not None:
        reason = store["reason"] or error
        yield Finding("wrong", "store", f"{kind}: {reason}", "nothing is kept or delivered until it answers", STORE)
        return
    facts = told["store_facts"]
    yield from _judged(facts, f"{facts['program']}, {kind}, answers the running server")
    if told["embedded"]:
        yield from _overcommit()


def of_a_start(loaded: Loaded) -> Iterator[Finding]:
    """The store that would be used, as this shell sees it."""
    if loaded.settings.store.url == "embedded":
        yield from _embedded(loaded)
    else:
        yield from _configured(loaded.settings.store.url, loaded.settings.master.name)


def _embedded(loaded: Loaded) -> Iterator[Finding]:
    from chatmaster.store import binary

    try:
        program = binary.find_program()
        binary.check_marker(loaded.store_dir, program)
    except ChatmasterError as error:
        yield Finding("wrong", "store", "embedded", str(error))
        return
    yield Finding("good", "store", f"embedded: {program} ({program.path}), which does not run now")
    if advice := binary.why_not_the_wheels(program):
        yield Finding("warning", "store program", str(program.path), advice)
    yield Finding("good", "durability", "disk: every write is synced before it is answered")
    yield from _overcommit()


def _overcommit() -> Iterator[Finding]:
    if read_number("/proc/sys/vm/overcommit_memory") == 0:
        advice = "rewriting its file may fail when memory is short: sysctl -w vm.overcommit_memory=1"
        yield Finding("warning", "overcommit", "vm.overcommit_memory is 0", advice, "this machine")


def _configured(url: str, name: str) -> Iterator[Finding]:
    from chatmaster.store import remote
    from chatmaster.store import url as store_url

    began = time.monotonic()
    try:
        facts = remote.look(url, _STORE_TIMEOUT, name)
    except StoreUnreachable as error:
        yield Finding("wrong", "store", str(error), "the first start will end with exit code 6")
        return
    took = (time.monotonic() - began) * 1000
    found = f"{facts.program} at {store_url.parse(url).shown}, found in {took:.0f} ms from this shell"
    yield from _judged(dataclasses.asdict(facts), found)


def _judged(facts: Mapping[str, Any], found: str) -> Iterator[Finding]:
    version = tuple(int(part) for part in facts["program"].split()[-1].split(".")[:2] if part.isdigit())
    level: Level = "good" if version >= _OLDEST_STORE else "wrong"
    yield Finding(
        level, "store", found, "" if level == "good" else "Redis 6.2 or Valkey is the oldest that works", STORE
    )
    yield _durability(facts["durability"], facts["replicas"])
    if facts["maxmemory_policy"] not in ("", "noeviction"):
        advice = "it throws messages away when memory is short: CONFIG SET maxmemory-policy noeviction"
        yield Finding("wrong", "eviction", facts["maxmemory_policy"], advice, STORE)
    if facts["pubsub_buffer"]:
        yield _pubsub_buffer(facts["pubsub_buffer"])
    offset = facts["clock_offset"]
    if abs(offset) > _CLOCK_TOLERANCE:
        yield Finding("warning", "clock", f"the store's is {offset:+.1f} s from ours", "run NTP on both", STORE)
    else:
        yield Finding("good", "clock", f"the store's is {offset * 1000:+.0f} ms from ours", where=STORE)


def _durability(durability: str, replicas: int) -> Finding:
    match durability:
        case "disk":
            return Finding("good", "durability", "disk: every write is synced before it is answered", where=STORE)
        case "second":
            advice = "a crash of the store's machine may lose acknowledged messages: CONFIG SET appendfsync always"
            return Finding("warning", "durability", "synced once a second", advice, STORE)
        case "replica":
            advice = "what the replicas have not got yet is lost with the store: min-replicas-to-write 1 bounds it"
            found = f"memory of {replicas + 1} servers"
            return Finding("warning", "durability", found, advice, STORE)
        case "memory":
            advice = "a restart of the store loses the history: CONFIG SET appendonly yes"
            return Finding("warning", "durability", "memory only", advice, STORE)
        case _:
            return Finding("warning", "durability", "unknown: the store does not tell", "ask whoever runs it", STORE)


def _pubsub_buffer(limits: str) -> Finding:
    hard, soft, seconds = (int(part) for part in limits.split()[:3])
    found = f"{hard >> 20} MiB, or {soft >> 20} MiB for {seconds} s"
    if soft and soft < 32 << 20:
        advice = 'a busy worker is cut off early: CONFIG SET client-output-buffer-limit "pubsub 256mb 64mb 60"'
        return Finding("warning", "subscriber buffer", found, advice, STORE)
    return Finding("good", "subscriber buffer", found, where=STORE)
