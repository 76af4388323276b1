"""Tracebacks for the author of a program, without the frames of chatmaster and of what calls the program.

A traceback without any frame of the program is left whole: it tells of a bug in chatmaster or in a library.
"""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).resolve().parents[1]
_OURS: Final = (f"{_ROOT / 'chatmaster'}/", f"{_ROOT / 'workers'}/")
_LIBRARIES: Final = tuple(
    f"{path}/" for path in {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")} if path
)
_CHAINED: Final = 20  # exceptions of one chain or group, at each level, that are looked at


def format_program_error(error: BaseException) -> str:
    """The traceback of an error and of its causes as text, which begins where the program does."""
    whole = traceback.TracebackException.from_exception(error)
    _trim(whole, _CHAINED)
    return "".join(whole.format())


def where_raised(error: BaseException) -> str:
    """`FILE:LINE` of the innermost frame of the program; "" where no frame is the program's."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_program(frame.filename)]
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""


def _trim(error: traceback.TracebackException, levels: int) -> None:
    first = next((index for index, frame in enumerate(error.stack) if _is_program(frame.filename)), None)
    if first is not None:
        error.stack[:] = [frame for frame in error.stack[first:] if not _is_ours(frame.filename)]
    elif error.exc_type is not None and issubclass(error.exc_type, SyntaxError):
        error.stack[:] = []  # the error itself names file and line
    if levels > 0:
        chained = [error.__cause__, error.__context__, *(error.exceptions or ())]
        for other in chained:
            if other is not None:
                _trim(other, levels - 1)


def _is_ours(file: str) -> bool:
    return file.startswith(("<frozen importlib", *_OURS))


def _is_program(file: str) -> bool:
    return not file.startswith(("<frozen ", *_OURS, *_LIBRARIES))
