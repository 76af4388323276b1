"""Which settings a reload can change, and which stay until a restart. Pure."""

from __future__ import annotations

import msgspec

from chatmaster.settings import Settings

# What the running master is built upon: its directory and name, who it is, its sockets, its store.
NEED_RESTART = (
    ("master", "name"),
    ("master", "state_dir"),
    ("master", "user"),
    ("master", "group"),
    ("server", "listen"),
    ("store", "url"),
)


def reloaded(old: Settings, new: Settings) -> tuple[Settings, tuple[str, ...]]:
    """The settings after a reload, and the keys whose new value needs a restart."""
    stay: list[str] = []
    for section, key in NEED_RESTART:
        before = getattr(getattr(old, section), key)
        part = getattr(new, section)
        if getattr(part, key) != before:
            stay.append(f"{section}.{key}")
            part = msgspec.structs.replace(part, **{key: before})
            new = msgspec.structs.replace(new, **{section: part})
    return new, tuple(stay)
