"""`chatctl logs`: the end of the server's log file, and with -f what is added, over rotations."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from chatmaster.cli.instance import Instance
from chatmaster.errors import ChatmasterError

_BLOCK: Final = 65_536  # bytes that are read at a time
_POLL: Final = 0.2  # seconds between two looks for new lines


def find(instance: Instance) -> Path:
    """The log file of an instance. Raises ChatmasterError where there is none."""
    loaded = instance.load()
    path = loaded.log_file or loaded.state_dir / f"{loaded.settings.master.name}.log"
    if not path.is_file():
        raise ChatmasterError(
            f"there is no log file {path}: a server in the foreground logs to its terminal, or its supervisor keeps "
            "the log; `start -d` and the setting log.file write a file"
        )
    return path


def last_lines(path: Path, count: int) -> tuple[bytes, int]:
    """The last `count` lines of a file, and the position behind them. Raises OSError."""
    with path.open("rb") as file:
        end = begin = file.seek(0, os.SEEK_END)
        found = b""
        while begin > 0 and found.count(b"\n") <= count:
            size = min(_BLOCK, begin)
            begin -= size
            file.seek(begin)
            found = file.read(size) + found
    lines = found.splitlines(keepends=True)
    return b"".join(lines[-count:]) if count else b"", end


def follow(path: Path, position: int) -> Iterator[bytes]:
    """Yield what is written behind a position, also into a file that takes the place of this one. Raises OSError."""
    file = path.open("rb")
    file.seek(position)
    try:
        while True:
            while part := file.read(_BLOCK):
                yield part
            if _was_replaced(path, file):
                file.close()
                file = path.open("rb")
                continue
            if os.fstat(file.fileno()).st_size < file.tell():  # truncated
                file.seek(0)
                continue
            time.sleep(_POLL)
    finally:
        file.close()


def _was_replaced(path: Path, file: BinaryIO) -> bool:
    """Whether another file has the name. During a rotation there may be none for a moment."""
    try:
        return not os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
