"""Standard streams, locale and arguments of chatctl, which ends with a sentence and never with a traceback.

Closed descriptors, a character set without our symbols, arguments that are not text, and a full disk are handled.
"""

from __future__ import annotations

import codecs
import errno
import os
import sys
from collections.abc import Sequence
from typing import Final, TextIO

from chatmaster.errors import UsageError

# Replacements for our symbols in a character set that lacks them.
_PLAIN: Final = {"✓": "+", "✗": "x", "–": "-", "…": "...", "·": ".", "×": "x", "▲": "^", "▼": "v"}
_OF_WRITING: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG})
_HANDLER: Final = "chatctl"


def prepare() -> None:
    """Open all three standard streams, and make them replace characters that they cannot encode."""
    open_standard_descriptors()
    codecs.register_error(_HANDLER, _in_plain_characters)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors=_HANDLER)


def open_standard_descriptors() -> None:
    """Open /dev/null for each of standard input, output and error that is closed.

    Otherwise the next pipe or socket gets that number and receives what is printed.
    """
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)  # open returns the lowest free number, which is `fd`
            os.set_inheritable(null, True)
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


def check_arguments(arguments: Sequence[str]) -> None:
    """Raise UsageError for an argument that is not text in the character set of the locale."""
    for text in arguments:
        try:
            text.encode()
        except UnicodeEncodeError:
            shown = text.encode("utf-8", "backslashreplace").decode()
            raise UsageError(
                f"the argument {shown} is not text in the character set of this locale ({sys.getfilesystemencoding()})"
            ) from None


def print_error(text: str) -> None:
    """Print a sentence on standard error, if that can be written."""
    try:
        sys.stderr.write(f"chatctl: {text}\n")
        sys.stderr.flush()
    except OSError:
        detach(sys.stderr)  # a full disk, a closed terminal


def detach(stream: TextIO) -> None:
    """Drop the rest of a stream, so that Python does not retry or complain at its end."""
    try:
        fd = stream.fileno()
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, fd)
        os.close(null)
        stream.flush()
    except (OSError, ValueError):
        pass


def describe(error: OSError) -> str:
    """A system error as a sentence: the file, if there is one, and the reason."""
    reason = error.strerror or str(error) or type(error).__name__
    if isinstance(error.filename, (str, bytes)):
        return f"{os.fsdecode(error.filename)}: {reason}"
    return f"the output cannot be written: {reason}" if error.errno in _OF_WRITING else reason


def _in_plain_characters(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_PLAIN.get(one) or one.encode("ascii", "backslashreplace").decode() for one in text), error.end
