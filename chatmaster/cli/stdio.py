"""What chatctl makes of the surroundings that it was started in: descriptors, locale, arguments, a full disk.

Whatever they are, chatctl ends with a sentence and never with a traceback of its own.
"""

from __future__ import annotations

import codecs
import errno
import os
import sys
from collections.abc import Sequence
from typing import Final, TextIO

from chatmaster.errors import UsageError

# What stands for our own signs where the terminal's character set does not have them.
_PLAIN: Final = {"✓": "+", "✗": "x", "–": "-", "…": "...", "·": ".", "×": "x", "▲": "^", "▼": "v"}
_OF_WRITING: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG})
_HANDLER: Final = "chatctl"


def prepare() -> None:
    """Make the standard streams fit for use: all three open, and no character that cannot be written."""
    open_standard_descriptors()
    codecs.register_error(_HANDLER, _in_plain_characters)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors=_HANDLER)


def open_standard_descriptors() -> None:
    """Open /dev/null where standard input, output or error was closed.

    Else the next pipe or socket gets that number, and what is printed goes into it.
    """
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, so it is this one
            os.set_inheritable(null, True)
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


def check_arguments(arguments: Sequence[str]) -> None:
    """Raises UsageError for one that is no text in the character set of the locale."""
    for text in arguments:
        try:
            text.encode()
        except UnicodeEncodeError:
            shown = text.encode("utf-8", "backslashreplace").decode()
            raise UsageError(
                f"the argument {shown} is no text in the character set of this locale ({sys.getfilesystemencoding()})"
            ) from None


def print_error(text: str) -> None:
    """A sentence on standard error, where that can be written."""
    try:
        sys.stderr.write(f"chatctl: {text}\n")
        sys.stderr.flush()
    except OSError:
        detach(sys.stderr)  # a full disk, a terminal that went away


def detach(stream: TextIO) -> None:
    """What is left in the stream is lost: Python does not try again, nor complain, when it ends."""
    try:
        fd = stream.fileno()
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, fd)
        os.close(null)
        stream.flush()
    except (OSError, ValueError):
        pass


def describe(error: OSError) -> str:
    """An error of the system in words: what failed, with the file where there is one."""
    reason = error.strerror or str(error) or type(error).__name__
    if isinstance(error.filename, (str, bytes)):
        return f"{os.fsdecode(error.filename)}: {reason}"
    return f"the output cannot be written: {reason}" if error.errno in _OF_WRITING else reason


def _in_plain_characters(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_PLAIN.get(one) or one.encode("ascii", "backslashreplace").decode() for one in text), error.end
