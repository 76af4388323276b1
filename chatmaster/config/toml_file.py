"""Finds and reads the configuration file, and finds the line of each key.

`tomllib` returns values without lines, so a second, lenient pass over the valid text finds the line of each key. A key
inside an inline table gets the line of the nearest enclosing key.
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
# Tokens that may contain brackets and line ends, longest first.
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
    """The content of a file: its values, and the line of each key."""

    path: Path
    values: Mapping[str, Any]
    lines: Mapping[str, int] = field(default_factory=dict)

    def origin(self, key: str) -> str:
        """FILE:LINE of a key path such as ``rooms[0].match``, or of the nearest enclosing key."""
        while key and key not in self.lines:
            key = key[: max(key.rfind("."), key.rfind("["), 0)]
        return f"{self.path}:{self.lines.get(key, 1)}"


def find(explicit: str | None, environ: Mapping[str, str], directory: Path) -> Path | None:
    """The file to read: --config, $CHATMASTER_CONFIG, ./chatmaster.toml, the one in /etc; None: the defaults."""
    named = explicit or environ.get("CHATMASTER_CONFIG")
    if named:
        return directory / named
    for candidate in (directory / LOCAL_NAME, SYSTEM_FILE):
        if os.path.isfile(candidate):  # False, not an error, for a directory without permission
            return candidate
    return None


def read(path: Path) -> ConfigFile:
    """Read a file. Raises ConfigError for a file that cannot be read or is not TOML."""
    try:
        text = path.read_text(encoding="utf-8")
        values = tomllib.loads(text)
    except OSError as error:
        raise ConfigError([Fault("", str(path), "", f"cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError:
        raise ConfigError([Fault("", str(path), "", "is not UTF-8, so it is not TOML")]) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([_syntax_fault(path, str(error))]) from None
    return ConfigFile(path, values, find_lines(text))


def _syntax_fault(path: Path, message: str) -> Fault:
    place = re.search(r" \(at line (\d+), column \d+\)$", message)
    if place is None:
        return Fault("", str(path), "", f"is not TOML: {message}")
    return Fault("", f"{path}:{place[1]}", "", f"is not TOML: {message[: place.start()]}")


def find_lines(text: str) -> dict[str, int]:
    """The line of each key path of a valid TOML text; the first line of a table that is opened twice."""
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
        if token is None:  # impossible in valid TOML; prevents an endless loop
            return position + 1
        position = token.end()
        if token[0] in ("[", "{"):
            depth += 1
        elif token[0] in ("]", "}"):
            depth -= 1
        elif token[0] == "\n" and depth <= 0:
            return position
    return position
