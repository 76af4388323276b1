"""What a running master says of its settings, and where a start from here would have others. Pure.

Neither side says what is secret. Whether it is the same on both is told by a digest, with a salt that the asker makes
up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from chatmaster.config.formatting import HIDDEN, visible
from chatmaster.config.loader import KEYS, SECRET_KEYS, Loaded
from chatmaster.settings import Settings

SALT_SIZE: Final = 16  # bytes


def told(settings: Settings, salt: str, *, scaled: int | None) -> dict[str, Any]:
    """What the master answers; `scaled` is the number of workers that somebody asked for since."""
    shown = {key: visible(settings, key) for key in KEYS}
    if scaled is not None:
        shown["server.workers"] = scaled
    return {
        "settings": shown,
        "digests": {key: _digest(settings, key, salt) for key in SECRET_KEYS},
    }


def differing(loaded: Loaded, answer: Mapping[str, Any], salt: str) -> dict[str, Any]:
    """The settings that run with another value than a start from here would use, by key, with that value."""
    found = {
        key: value
        for key, value in answer["settings"].items()
        # As JSON: on the way a tuple has become a list. What we do not know is of a master of another version.
        if key in KEYS and msgspec.json.encode(value) != msgspec.json.encode(visible(loaded.settings, key))
    }
    for key, digest in answer.get("digests", {}).items():
        if key not in found and key in SECRET_KEYS and digest != _digest(loaded.settings, key, salt):
            found[key] = HIDDEN if key == "auth.secret" else f"{answer['settings'][key]} with another password"
    for key in ("master.name", "master.state_dir"):
        found.pop(key, None)  # by these the master was found, however they are written
    log = loaded.log_file or loaded.state_dir / f"{loaded.settings.master.name}.log"  # as `start -d` has it
    if found.get("log.file") == str(log):
        del found["log.file"]
    return found


def _digest(settings: Settings, key: str, salt: str) -> str:
    section, _, name = key.partition(".")
    value = str(getattr(getattr(settings, section), name))
    return hashlib.blake2b(value.encode(), salt=salt.encode()[:SALT_SIZE]).hexdigest()
