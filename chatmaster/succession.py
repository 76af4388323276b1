"""What one image of the master leaves to the next when it executes itself: sockets, the lock, who waits for an answer.

The descriptors stay open over the exec; an environment variable says which is which. It names our pid, so that a
variable that was inherited by accident means nothing.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import MutableMapping
from typing import NoReturn

import msgspec

from chatmaster.listeners import Kept

VARIABLE = "_CHATMASTER_SUCCESSION"

# Their default action would end or stop the process in the moment between exec and the new image's own handlers.
_HARMLESS = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU)


class Succession(msgspec.Struct, frozen=True):
    """Everything that stays open."""

    pid: int
    pid_file: int
    listeners: tuple[Kept, ...] = ()
    askers: tuple[int, ...] = ()  # connections of the control socket that wait until the new image is ready


def take(environ: MutableMapping[str, str]) -> Succession | None:
    """What the image before this one left; None: this is a start of its own."""
    text = environ.pop(VARIABLE, None)
    if text is None:
        return None
    try:
        found = msgspec.json.decode(text, type=Succession)
    except msgspec.MsgspecError:
        return None
    if found.pid != os.getpid():
        return None
    for fd in found.askers:
        os.set_inheritable(fd, False)
    return found


def execute(left: Succession) -> NoReturn:
    """Become the program again, with the same arguments. Raises OSError where it is not there any more."""
    sys.stdout.flush()
    sys.stderr.flush()
    for number in _HARMLESS:
        signal.signal(number, signal.SIG_IGN)
    environ = {**os.environ, VARIABLE: msgspec.json.encode(left).decode()}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environ)
