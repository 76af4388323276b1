"""Whether and when to come back after a connection ended: pure but for the random numbers it is given.

The close code decides whether (the table of the protocol). When: after what the server asked for in `bye`, which is
already spread over its clients; else exponential with full jitter, so that the clients of a server that died do not
come back in one moment (AWS Architecture Blog, "Exponential Backoff and Jitter").
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from msgspec import Struct

from workers.close_codes import CloseCode

LOST: Final = CloseCode.ABNORMAL  # RFC 6455, 7.1.5: the connection ended without a close frame, or could not be made
# Also where the server refuses before it can send a close code.
POLICY: Final = CloseCode.POLICY_VIOLATION
UNAUTHORIZED: Final = CloseCode.UNAUTHORIZED

FOR_GOOD: Final = frozenset(
    {
        CloseCode.NORMAL,
        CloseCode.PROTOCOL_ERROR,  # this and the next three: our own mistake
        CloseCode.UNSUPPORTED_DATA,
        CloseCode.INVALID_DATA,
        CloseCode.TOO_BIG,
        CloseCode.POLICY_VIOLATION,
        CloseCode.REMOVED,
    }
)
LATER: Final = frozenset({CloseCode.TOO_MANY, CloseCode.FLOOD})

BASE: Final = 0.5  # seconds: the first return is within that
CAP: Final = 30.0
LATER_AT_LEAST: Final = 5.0


class End(Struct, frozen=True):
    """How a connection ended."""

    code: int
    reason: str = ""
    retry_after: float = 0.0  # seconds, from `bye`
    answered: bool = False  # it had got as far as `welcome`


class ReconnectPolicy:
    """Counts the failures in a row."""

    def __init__(self, random: Callable[[], float], *, renewable: bool) -> None:
        """`random` gives numbers from 0 to 1; `renewable`: another token can be had after 4001."""
        self._random = random
        self._renewable = renewable
        self._failures = 0
        self._refusals = 0  # of a token, in a row

    def after(self, end: End) -> float | None:
        """Seconds to wait before the next try; None: there is none."""
        self._failures = 1 if end.answered else self._failures + 1
        if end.code in FOR_GOOD or not self._is_admissible(end):
            return None
        if end.retry_after > 0:
            return end.retry_after
        delay = self._random() * min(CAP, BASE * 2.0 ** min(self._failures - 1, 16))
        return delay + LATER_AT_LEAST if end.code in LATER else delay

    def _is_admissible(self, end: End) -> bool:
        """False once a token was refused and there is no other, or the fresh one was no better."""
        if end.answered:
            self._refusals = 0
        if end.code != UNAUTHORIZED:
            return True
        self._refusals += 1
        return self._renewable and (end.answered or self._refusals == 1)
