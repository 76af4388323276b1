"""A child that ends with its parent (prctl(2), PR_SET_PDEATHSIG)."""

from __future__ import annotations

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1
# Looked up before any fork: loading a library in a child of a large process is slow, and may fail.
_prctl = ctypes.CDLL(None, use_errno=True).prctl


def die_with_parent(number: signal.Signals, parent: int) -> None:
    """Call it in the child, after privileges are dropped: setuid clears it.

    `parent` is the pid that forked us: if it is gone already, no signal would ever come, so end now.
    """
    if _prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        os._exit(0)
