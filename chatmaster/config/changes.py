"""Which settings a reload can change, and which stay until a restart. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from chatmaster.config.groups import Group
from chatmaster.settings import Settings

# What the running master is built upon: its directory and name, who it is, its sockets, its store.
NEED_RESTART = (
    ("master", "name"),
    ("master", "state_dir"),
    ("master", "user"),
    ("master", "group"),
    ("server", "listen"),
    ("server", "unix_mode"),
    ("store", "url"),
)


def reloaded(old: Settings, new: Settings) -> tuple[Settings, tuple[str, ...]]:
    """The settings after a reload, and the keys whose new value needs a restart."""
    return keep(new, kept(old))


def moved(old: Sequence[Group], new: Sequence[Group]) -> tuple[str, ...]:
    """Of a program of several Workers, whose address would need a restart; `server.listen` is that of a lone one."""
    before = {group.name: group for group in old if not group.inherited}
    return tuple(
        f"the address of the Worker {group.name}"
        for group in new
        if len(new) > 1 and group.name in before and group.listen != before[group.name].listen
    )


def kept(settings: Settings) -> dict[str, Any]:
    """What needs a restart to change, by key path."""
    return {f"{section}.{key}": getattr(getattr(settings, section), key) for section, key in NEED_RESTART}


def keep(new: Settings, before: Mapping[str, Any]) -> tuple[Settings, tuple[str, ...]]:
    """The new settings but for what `kept` gave, and the keys that would differ."""
    stay: list[str] = []
    for path, value in before.items():
        section, _, key = path.partition(".")
        part, value = getattr(new, section), tuple(value) if isinstance(value, list) else value
        if getattr(part, key) != value:
            stay.append(path)
            part = msgspec.structs.replace(part, **{key: value})
            new = msgspec.structs.replace(new, **{section: part})
    return new, tuple(stay)
