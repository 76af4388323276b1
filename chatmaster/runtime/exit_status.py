"""The end of a child process in words, and how long to wait before its replacement. A pure leaf.

Worker processes and the embedded store are replaced by the same rule: at once, unless a child dies quickly several
times in a row.
"""

from __future__ import annotations

import signal
from typing import Final

QUICK_DEATH: Final = 5.0  # seconds after it was ready: a child that dies earlier counts towards a back-off
FREE_DEATHS: Final = 2  # quick deaths in a row that are replaced at once
FIRST_DELAY: Final = 1.0  # seconds; doubles with each further quick death
LONGEST_DELAY: Final = 30.0  # seconds


def backoff(quick_deaths: int) -> float:
    """Return the seconds to wait after so many quick deaths in a row: 0, 0, then 1, 2, 4 … 30."""
    if quick_deaths <= FREE_DEATHS:
        return 0.0
    return float(min(FIRST_DELAY * 2 ** min(quick_deaths - FREE_DEATHS - 1, 10), LONGEST_DELAY))


def describe(code: int) -> str:
    """Describe an exit code, or minus the number of the signal that killed the process, for people."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
