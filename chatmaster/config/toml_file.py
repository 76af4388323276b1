"""Finds and reads the configuration file, and knows on which line each key of it stands.

`tomllib` gives values without lines, so a second, lenient pass over a text that is known to be good TOML notes
where each key begins. What it does not see (keys of inline tables) is looked up by the nearest key around it.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chatmaster.errors import ConfigError, Fault

SYSTEM_FILE = Path("/etc/chatmaster/chatmaster.toml")
LOCAL_NAME = "chatmaster.toml"

_BLANK = re.compile(r"\s*")
_KEY_PART = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')"""
_KEY = rf"{_KEY_PART}(?:\s*\.\s*{_KEY_PART})*"
_HEADER = re.compile(rf"(\[\[?)\s*({_KEY})\s*\]")
_ASSIGNMENT = re.compile(rf"({_KEY})\s*=")
# What may hide brackets and line ends inside a value, longest first.
_TOKEN = re.compile(
    r'"""(?:[^\\]|\\.)*?"""+'
    r"|'''.*?'''+"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'"
    r"|#[^\n]*"
    r"|[\[\]{}\n]"
    r"|[^\[\]{}\n\"'#]+",
    re.DOTALL,
)


@dataclass(frozen=True)
class ConfigFile:
    """A file that was read: its values, and the line of each key."""

    path: Path
    values: Mapping[str, Any]
    lines: Mapping[str, int] = field(default_factory=dict)

    def origin(self, key: str) -> str:
        """FILE:LINE of a key path such as ``rooms[0].match``, or of the nearest key around it."""
        while key and key not in self.lines:
            key = key[: max(key.rfind("."), key.rfind("["), 0)]
        return f"{self.path}:{self.lines.get(key, 1)}"


def find(explicit: str | None, environ: Mapping[str, str], directory: Path) -> Path | None:
    """The file to read: --config, $CHATMASTER_CONFIG, ./chatmaster.toml, the one in /etc; None: the defaults."""
    named = explicit or environ.get("CHATMASTER_CONFIG")
    if named:
        return directory / named
    for candidate in (directory / LOCAL_NAME, SYSTEM_FILE):
        if os.path.isfile(candidate):  # also where we may not look into the directory
            return candidate
    return None


def read(path: Path) -> ConfigFile:
    """Read a file. Raises ConfigError for one that cannot be read or is no TOML."""
    try:
        text = path.read_text(encoding="utf-8")
        values = tomllib.loads(text)
    except OSError as error:
        raise ConfigError([Fault("", str(path), "", f"cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError:
        raise ConfigError([Fault("", str(path), "", "is not UTF-8, so it is no TOML")]) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([_syntax_fault(path, str(error))]) from None
    return ConfigFile(path, values, find_lines(text))


def _syntax_fault(path: Path, message: str) -> Fault:
    place = re.search(r" \(at line (\d+), column \d+\)$", message)
    if place is None:
        return Fault("", str(path), "", f"is no TOML: {message}")
    return Fault("", f"{path}:{place[1]}", "", f"is no TOML: {message[: place.start()]}")


def find_lines(text: str) -> dict[str, int]:
    """The line of each key path of a good TOML text; the first one, where a table is opened twice."""
    lines: dict[str, int] = {}
    arrays: dict[str, int] = {}
    prefix = ""
    position = 0
    while (position := _BLANK.match(text, position).end()) < len(text):  # type: ignore[union-attr]  # always matches
        number = text.count("\n", 0, position) + 1
        if header := _HEADER.match(text, position):
            prefix = _dotted(header[2])
            lines.setdefault(prefix, number)
            if header[1] == "[[":
                arrays[prefix] = arrays.get(prefix, -1) + 1
                prefix = f"{prefix}[{arrays[prefix]}]"
                lines[prefix] = number
            position = header.end()
        elif assignment := _ASSIGNMENT.match(text, position):
            key = _dotted(assignment[1])
            lines.setdefault(f"{prefix}.{key}" if prefix else key, number)
            position = assignment.end()
        position = _end_of_value(text, position)
    return lines


def _dotted(key: str) -> str:
    return ".".join(part.strip("\"'") for part in re.findall(_KEY_PART, key))


def _end_of_value(text: str, position: int) -> int:
    """The position after the line end that ends a value; brackets and strings may span lines."""
    depth = 0
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None:  # cannot happen in good TOML; never loop for ever
            return position + 1
        position = token.end()
        if token[0] in ("[", "{"):
            depth += 1
        elif token[0] in ("]", "}"):
            depth -= 1
        elif token[0] == "\n" and depth <= 0:
            return position
    return position
