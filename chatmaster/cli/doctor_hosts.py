"""`chatctl doctor --cluster`: what differs between the hosts that share a store, and should not."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from chatmaster.cli import cluster
from chatmaster.cli.doctor import Finding, Level
from chatmaster.cli.instance import Instance
from chatmaster.config.formatting import shown
from chatmaster.errors import ChatmasterError
from chatmaster.plural import counted

CLUSTER: Final = "all hosts"
_CLOCK_TOLERANCE: Final = 1.0  # seconds between a host's clock and the store's
_STORE_SLOW: Final = 0.05  # seconds for a round trip through the store
# What belongs to a host and not to the instance.
_OWN: Final = frozenset(
    {
        *("master.host", "master.state_dir", "master.user", "master.group", "server.listen", "server.workers"),
        *("server.unix_mode", "server.tls_cert", "server.tls_key", "log.file", "log.format", "log.level"),
    }
)

Row = Mapping[str, Any]


def examine(instance: Instance) -> list[Finding]:
    """All findings about the hosts, as one that runs here sees them."""
    try:
        hosts = instance.query("hosts", {})
        settings = instance.query("host_settings", {"salt": os.urandom(8).hex()})
    except ChatmasterError as error:
        return [Finding("wrong", "hosts", str(error), "ask on a host whose server runs", CLUSTER)]
    there = [row for row in hosts if row["state"] not in ("lost", "away")]
    checks: Sequence[Iterator[Finding]] = (
        _hosts(hosts, there), _versions(there), _clocks(there), _store(there), _settings(settings),
    )  # fmt: skip
    return [finding for check in checks for finding in check]


def _hosts(hosts: Sequence[Row], there: Sequence[Row]) -> Iterator[Finding]:
    for fault in cluster.faults([dict(row) for row in hosts]):
        yield Finding("wrong", "host", fault["what"], fault["why"], CLUSTER)
    names = ", ".join(row["host"] for row in there)
    alone = "" if len(there) > 1 else "one host alone: when it ends, nobody serves"
    yield Finding(
        "good" if not alone else "warning", "hosts", f"{counted(len(there), 'host')}: {names}", alone, CLUSTER
    )
    load, capacity = (sum(row[key] for row in there) for key in ("connections", "capacity"))
    spare = capacity - max((row["capacity"] for row in there), default=0)
    found = f"{load:,} connections, open files for {capacity:,}"
    if len(there) > 1 and load > spare:
        advice = "more than the others can take over when the largest host is lost: raise LimitNOFILE, or add a host"
        yield Finding("warning", "capacity", found, advice, CLUSTER)
    else:
        yield Finding("good", "capacity", found, where=CLUSTER)


def _versions(there: Sequence[Row]) -> Iterator[Finding]:
    by_version = _grouped({row["host"]: row["version"] for row in there})
    if len(by_version) > 1:
        found = "; ".join(f"{version} on {', '.join(names)}" for version, names in sorted(by_version.items()))
        yield Finding("warning", "versions", found, "upgrade the others, too", CLUSTER)
    else:
        yield Finding("good", "versions", ", ".join(by_version), where=CLUSTER)


def _clocks(there: Sequence[Row]) -> Iterator[Finding]:
    wrong = [row for row in there if abs(row["clock"]) > _CLOCK_TOLERANCE]
    for row in wrong:
        found = f"{row['host']} is {row['clock']:+.1f} s away from the store"
        yield Finding("warning", "clocks", found, "run NTP on all machines", CLUSTER)
    if not wrong:
        most = max((abs(row["clock"]) for row in there), default=0.0)
        yield Finding("good", "clocks", f"at most {most * 1000:.0f} ms away from the store", where=CLUSTER)


def _store(there: Sequence[Row]) -> Iterator[Finding]:
    for row in there:
        slow = row["store_seconds"] > _STORE_SLOW
        level: Level = "warning" if slow else "good"
        advice = (
            "each message waits for it: look at the network between the two, and at the store's load" if slow else ""
        )
        found = f"{row['host']}: round trip {row['store_seconds'] * 1000:.1f} ms"
        yield Finding(level, "store", found, advice, CLUSTER)


def _settings(answers: Sequence[Row]) -> Iterator[Finding]:
    keys = dict.fromkeys(key for row in answers for key in row["settings"])
    differing = 0
    for key in keys:
        values = _grouped({row["host"]: _value(row["settings"], key) for row in answers})
        if len(values) < 2 or key in _OWN:
            continue
        differing += 1
        found = "; ".join(f"{_words(value)} on {', '.join(names)}" for value, names in values.items())
        yield Finding("wrong", key, found, "set the same everywhere, and reload", CLUSTER)
    if not differing:
        yield Finding("good", "settings", f"the same on {counted(len(answers), 'host')}", where=CLUSTER)


def _value(settings: Mapping[str, Any], key: str) -> str:
    """A value as JSON, which can be compared and kept in a set; "" for a key that this version does not have."""
    return msgspec.json.encode(settings[key]).decode() if key in settings else ""


def _words(value: str) -> str:
    if not value:
        return "unknown"
    if value.startswith('"#'):
        return "one secret"
    return shown(msgspec.json.decode(value))


def _grouped(values: Mapping[str, str]) -> dict[str, list[str]]:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for host, value in values.items():
        found[value].append(host)
    return found
