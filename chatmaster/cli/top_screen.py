"""The terminal of `chatctl top` and `demo`: draws frames on the alternate screen, reads keys and restores the terminal.

`top.py` and `demo_picture.py` build the frames as pure functions. The rest, the alternate screen and single keys, needs
no library.
"""

from __future__ import annotations

import os
import select
import shutil
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from chatmaster.cli.status import WATCH_INTERVAL
from chatmaster.cli.top import Top
from chatmaster.errors import ChatmasterError

_ENTER: Final = "\x1b[?1049h\x1b[?25l"  # alternate screen, no cursor
_LEAVE: Final = "\x1b[?25h\x1b[?1049l"
_KEYS: Final = {b"\x1b[C": "next", b"\x1b[D": "previous", b"r": "reverse", b"q": "quit", b"s": "next", b"\x03": "quit"}
_LOOK: Final = 0.1  # seconds between two checks of the terminal size


def show(ask: Callable[[], Mapping[str, Any]], top: Top) -> None:
    """Draw until `q` or Ctrl-C. A master that does not answer is reported on the screen, since it may be restarting."""
    with screen():
        drawn: tuple[object, ...] = ()
        notice, due = "", 0.0
        while True:
            if time.monotonic() >= due:
                due = time.monotonic() + WATCH_INTERVAL
                try:
                    top.update(ask(), time.monotonic(), time.time())
                    notice = ""
                except ChatmasterError as error:
                    notice = f"{time.strftime('%H:%M:%S')} {error}"
            size = shutil.get_terminal_size()
            state = (size, notice, top.sort, top.reverse, due)
            if state != drawn:
                drawn = state
                draw(top.frame(size.columns, size.lines, notice=notice))
            for key in keys(min(_LOOK, max(0.0, due - time.monotonic()))):
                if key == "quit":
                    return
                _apply(top, key)


def _apply(top: Top, key: str) -> None:
    if key == "reverse":
        top.reverse = not top.reverse
    else:
        top.next_sort(1 if key == "next" else -1)


def draw(lines: list[str]) -> None:
    """Overwrite line by line and clear the rest, so that nothing flickers."""
    sys.stdout.write("\x1b[H" + "\r\n".join(f"{line}\x1b[K" for line in lines) + "\x1b[J")
    sys.stdout.flush()


def keys(timeout: float) -> Iterator[str]:
    """Yield the keys typed within `timeout` seconds."""
    readable, _, _ = select.select([sys.stdin], [], [], timeout)
    if not readable:
        return
    typed = os.read(sys.stdin.fileno(), 64)
    if not typed:
        yield "quit"  # the terminal was closed
    while typed:
        found = next((key for key in _KEYS if typed.startswith(key)), None)
        if found is not None:
            yield _KEYS[found]
        typed = typed[len(found or b"x") :]


@contextmanager
def screen() -> Iterator[None]:
    """The alternate screen and single keys; the terminal is restored at the end."""
    before = termios.tcgetattr(sys.stdin.fileno())
    try:
        tty.setcbreak(sys.stdin.fileno())
        sys.stdout.write(_ENTER)
        yield
    finally:
        termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, before)
        sys.stdout.write(_LEAVE)
        sys.stdout.flush()
