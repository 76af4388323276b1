"""The settings that the hosts of an instance run with, for `chatctl doctor --cluster`, which compares them.

Each worker answers for its host. Secrets are never sent: a digest with a salt of the asker's says whether they differ.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgspec
from msgspec import Struct

from workers.cluster.hosts import host_name
from workers.node.node import Node
from workers.verbs.fleet import Fleet

SECRETS: Final = frozenset({"auth.secret", "store.url"})
SALT_SIZE: Final = 16  # bytes


class SettingsPart(Struct, frozen=True):
    """What is asked of each worker."""

    salt: str


class HostSettings(Struct, frozen=True):
    """A host's settings by key; a secret is `#` and a digest."""

    host: str
    generation: int
    settings: dict[str, Any]


_decode: Final = msgspec.json.Decoder(SettingsPart).decode
_decode_answer: Final = msgspec.json.Decoder(HostSettings).decode


def part(node: Node, args: bytes) -> HostSettings:
    """The settings of this worker's host."""
    salt = _decode(args).salt.encode()[:SALT_SIZE]
    settings = node.launch.settings
    return HostSettings(host_name(settings.master.host), node.launch.generation, dict(_flat(settings, salt)))


async def of_all(fleet: Fleet, salt: str) -> list[dict[str, Any]]:
    """The settings of all hosts, of each as its latest generation has them. Raises VerbError, BusError."""
    found: dict[str, HostSettings] = {}
    for packed in await fleet.ask("settings", SettingsPart(salt)):
        answer = _decode_answer(packed)
        known = found.get(answer.host)
        if known is None or known.generation < answer.generation:
            found[answer.host] = answer
    return [msgspec.to_builtins(found[host]) for host in sorted(found)]


def _flat(settings: Struct, salt: bytes) -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for section in settings.__struct_fields__:
        table = getattr(settings, section)
        if not isinstance(table, Struct):
            flat.append((section, msgspec.to_builtins(table)))
            continue
        for name in table.__struct_fields__:
            key, value = f"{section}.{name}", getattr(table, name)
            flat.append((key, _digest(value, salt) if key in SECRETS else msgspec.to_builtins(value)))
    return flat


def _digest(value: str, salt: bytes) -> str:
    return "#" + hashlib.blake2b(value.encode(), salt=salt).hexdigest()
