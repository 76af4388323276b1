"""The page of all settings, from `etc/chatmaster.toml` and the types in `chatmaster/settings.py`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.support.sources import ROOT

FILE = ROOT / "etc/chatmaster.toml"
_SECTION = re.compile(r"^\[(\w+)\]$")
_KEY = re.compile(r"^(\w+) = (.*)$")
_INTRO = """# Settings

Every key with its default. A key also comes from the environment (`CHATMASTER_SERVER_WORKERS=4`), from
`--set server.workers=4` and from the program; `chatctl config` shows every setting with its origin, and
`chatctl config --write` writes a file with all of them. Durations are in seconds, sizes in bytes. This page is made
from `etc/chatmaster.toml`.
"""


@dataclass
class Group:
    """Keys that one comment explains."""

    about: list[str] = field(default_factory=list)
    keys: list[tuple[str, str]] = field(default_factory=list)


def render() -> str:
    """The page."""
    parts = [_INTRO]
    for section, groups in sections().items():
        parts.append(f"## [{section}]\n")
        for group in groups:
            if group.keys:
                parts.append("\n".join(f"### `{section}.{key}`" for key, _ in group.keys[:1]))
                parts.append("\n".join(f"- `{section}.{key} = {value}`" for key, value in group.keys))
            parts.append(" ".join(group.about) + "\n")
    parts.append(_rooms())
    return "\n\n".join(parts)


def sections() -> dict[str, list[Group]]:
    """The groups of keys of each section."""
    found: dict[str, list[Group]] = {}
    section = ""
    for kind, one, other in _lines():
        if kind == "section":
            section = one
            found[section] = [Group()]
        elif section and kind == "comment":
            if found[section][-1].keys:
                found[section].append(Group())
            found[section][-1].about.append(one)
        elif kind == "key":
            found[section][-1].keys.append((one, other))
    return {name: [group for group in groups if group.keys] for name, groups in found.items()}


def known() -> set[str]:
    """Every key of the page, as `section.key`."""
    return {f"{section}.{key}" for section, groups in sections().items() for group in groups for key, _ in group.keys}


def keys_of_file() -> set[str]:
    """Every key of the file, as its TOML says."""
    values = tomllib.loads(FILE.read_text())
    return {f"{section}.{key}" for section, keys in values.items() for key in keys}


def _lines() -> Iterator[tuple[str, str, str]]:
    for line in FILE.read_text().splitlines():
        if found := _SECTION.match(line):
            yield "section", found[1], ""
        elif found := _KEY.match(line):
            yield "key", found[1], found[2]
        elif line.startswith("# "):
            yield "comment", line[2:], ""


def _rooms() -> str:
    text = FILE.read_text()
    start = text.index("# Options for rooms")
    block = [line.removeprefix("#").removeprefix(" ") for line in text[start:].split("\n\n")[0].splitlines()]
    cut = block.index("")
    about, example = " ".join(block[:cut]), "\n".join(block[cut + 1 :])
    return (
        f"## [[rooms]]\n\n{about} The rules are in [login.md](../login.md#rules-of-rooms).\n\n```toml\n{example}\n```\n"
    )
