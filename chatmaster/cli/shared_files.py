"""The files that come with chatmaster beside its code: the default configuration, examples, units, documents.

A checkout has these files in `etc/`; a wheel carries the same files, in the same folders, inside the package.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from chatmaster.errors import ChatmasterError

CONFIGURATION: Final = "chatmaster.toml"
_PACKAGE: Final = Path(__file__).parents[1]
_PLACES: Final = (_PACKAGE / "share", _PACKAGE.parent / "etc")  # of an installation, of a checkout
_EXAMPLES: Final = (
    "examples/**/*", "systemd/*", "supervisord.conf", "proxy/*", "prometheus/*", "grafana/*", "kubernetes/*",
    "doc/*.md",
)  # fmt: skip
_SETTING: Final = re.compile(r"^(?=[a-z])", re.MULTILINE)
_MARKS: Final = "\"'#;/*<>!- "  # what begins a comment, a docstring or a heading
_WIDTH: Final = 80  # characters of what the list says about a file


class Example(NamedTuple):
    """A file to copy, and the beginning of its first sentence."""

    file: str  # below the folder that the files are copied to
    about: str


def folder() -> Path:
    """The folder with the files. Raises ChatmasterError for an installation without them."""
    for place in _PLACES:
        if (place / CONFIGURATION).is_file():
            return place
    places = " nor ".join(str(place) for place in _PLACES)
    raise ChatmasterError(f"there is neither {places}: install chatmaster from its wheel, or run a checkout")


def default_configuration() -> str:
    """The text of a configuration file that names every key, each commented out at its default.

    A key that stands in a file overrides what the program declares, such as its address; so no key is set.
    """
    return _SETTING.sub("#", (folder() / CONFIGURATION).read_text("utf-8"))


def write_configuration(path: Path, *, force: bool) -> Path:
    """Write the default configuration to a file, or into a folder as `chatmaster.toml`; return the file.

    Raises ChatmasterError if the file exists and `force` is false, OSError if it cannot be written.
    """
    file = path / CONFIGURATION if path.is_dir() else path
    _refuse_to_replace([file], force=force)
    text = default_configuration()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, "utf-8")
    return file


def examples() -> list[Example]:
    """Every file that `copy_examples` copies: programs, units, proxies, documents. Raises ChatmasterError."""
    place = folder()
    return [Example(str(path.relative_to(place)), _about(path)) for path in _files(place)]


def copy_examples(directory: Path, *, force: bool) -> list[Path]:
    """Copy the examples into a folder and return the copies.

    Raises ChatmasterError before the first copy if one of them exists and `force` is false, OSError if one cannot be
    written.
    """
    place = folder()
    copies = {directory / path.relative_to(place): path for path in _files(place)}
    _refuse_to_replace(list(copies), force=force)
    for copy, path in copies.items():
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    return list(copies)


def render(rows: list[Example]) -> str:
    """The list of the examples for people."""
    width = max(len(row.file) for row in rows)
    return "\n".join(f"{row.file:{width}}  {row.about}" for row in rows)


def _files(place: Path) -> Iterator[Path]:
    for pattern in _EXAMPLES:
        yield from sorted(path for path in place.glob(pattern) if path.is_file() and path.suffix != ".pyc")


def _about(path: Path) -> str:
    text = path.read_text("utf-8", errors="replace")
    if path.suffix == ".json":
        first = str(json.loads(text).get("description", ""))
    else:
        lines = (line.strip(_MARKS) for line in text.removeprefix("<?php").splitlines())
        first = next((line for line in lines if line), "")
    return textwrap.shorten(first.split(". ")[0].rstrip("."), _WIDTH, placeholder=" …")


def _refuse_to_replace(files: list[Path], *, force: bool) -> None:
    existing = [] if force else [str(file) for file in files if file.exists() or file.is_symlink()]
    if existing:
        more = f" and {len(existing) - 1} more" if len(existing) > 1 else ""
        verb = "exist" if more else "exists"
        raise ChatmasterError(f"{existing[0]}{more} {verb} already, and nothing was written; --force replaces files")
