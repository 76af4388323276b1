"""Two configurations compared: what a reload changes, what needs a restart, what a start from here would change. Pure.

A master and chatctl compare settings without showing secrets: each side hashes them with a salt that chatctl chooses.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from chatmaster.config.formatting import HIDDEN, visible
from chatmaster.config.groups import Group
from chatmaster.config.loader import KEYS, SECRET_KEYS, Loaded
from chatmaster.settings import Settings

SALT_SIZE: Final = 16  # bytes

# The running master depends on these: its name, directory and user, its sockets, its store.
NEED_RESTART = (
    ("master", "name"),
    ("master", "host"),
    ("master", "state_dir"),
    ("master", "user"),
    ("master", "group"),
    ("server", "listen"),
    ("server", "unix_mode"),
    ("api", "listen"),
    ("store", "url"),
    ("store", "max_memory"),
)


# ---- a reload --------------------------------------------------------------------------------


def after_reload(old: Settings, new: Settings) -> tuple[Settings, tuple[str, ...]]:
    """The settings after a reload, and the keys whose new value needs a restart."""
    return keep_running(new, restart_settings(old))


def moved_addresses(old: Sequence[Group], new: Sequence[Group]) -> tuple[str, ...]:
    """The Workers of a program whose new address needs a restart; `server.listen` covers a program of one Worker."""
    before = {group.name: group for group in old if not group.inherited}
    return tuple(
        f"the address of the Worker {group.name}"
        for group in new
        if len(new) > 1 and group.name in before and group.listen != before[group.name].listen
    )


def restart_settings(settings: Settings) -> dict[str, Any]:
    """The settings that only a restart changes, by key path."""
    return {f"{section}.{key}": getattr(getattr(settings, section), key) for section, key in NEED_RESTART}


def keep_running(new: Settings, before: Mapping[str, Any]) -> tuple[Settings, tuple[str, ...]]:
    """The new settings with the running values of `before` (see `restart_settings`), and the keys that differ."""
    stay: list[str] = []
    for path, value in before.items():
        section, _, key = path.partition(".")
        part, value = getattr(new, section), tuple(value) if isinstance(value, list) else value
        if getattr(part, key) != value:
            stay.append(path)
            part = msgspec.structs.replace(part, **{key: value})
            new = msgspec.structs.replace(new, **{section: part})
    return new, tuple(stay)


# ---- chatctl and a running master ------------------------------------------------------------


def running_settings(settings: Settings, salt: str, *, scaled: int | None) -> dict[str, Any]:
    """The answer of the master: its settings and digests. `scaled` is the number of workers after `chatctl scale`."""
    shown = {key: visible(settings, key) for key in KEYS}
    if scaled is not None:
        shown["server.workers"] = scaled
    return {
        "settings": shown,
        "digests": {key: _digest(settings, key, salt) for key in SECRET_KEYS},
    }


def differing(loaded: Loaded, answer: Mapping[str, Any], salt: str) -> dict[str, Any]:
    """The running values that differ from those of a start from here, by key."""
    found = {
        key: value
        for key, value in answer["settings"].items()
        # Compared as JSON, which turns a tuple into a list. A master of another version may have unknown keys.
        if key in KEYS and msgspec.json.encode(value) != msgspec.json.encode(visible(loaded.settings, key))
    }
    for key, digest in answer.get("digests", {}).items():
        if key not in found and key in SECRET_KEYS and digest != _digest(loaded.settings, key, salt):
            found[key] = HIDDEN if key != "store.url" else f"{answer['settings'][key]} with another password"
    for key in ("master.name", "master.state_dir"):
        found.pop(key, None)  # they located the master, so they are equal however they are written
    log = loaded.log_file or loaded.state_dir / f"{loaded.settings.master.name}.log"  # the default of `start -d`
    if found.get("log.file") == str(log):
        del found["log.file"]
    return found


def _digest(settings: Settings, key: str, salt: str) -> str:
    section, _, name = key.partition(".")
    value = str(getattr(getattr(settings, section), name))
    return hashlib.blake2b(value.encode(), salt=salt.encode()[:SALT_SIZE]).hexdigest()
