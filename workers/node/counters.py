"""What a worker counts while it works: plain attributes, copied into the shared row by the heartbeat.

An attribute costs a third of a store into shared memory, and the row is read once a second at most.
"""

from __future__ import annotations

from chatmaster.stats import Field, WorkerStats

_FIELDS: dict[str, Field] = {
    "callback_errors": Field.CALLBACK_ERRORS,
    "rate_limited": Field.RATE_LIMITED,
    "blocked": Field.BLOCKED,
    "handed_over": Field.HANDED_OVER,
    "hand_over_failed": Field.HAND_OVER_FAILED,
    "hand_overs_aborted": Field.HAND_OVERS_ABORTED,
    "replaced_deaf": Field.REPLACED_DEAF,
}


class Counters:
    """The counters of the parts that the composition root itself owns."""

    __slots__ = tuple(_FIELDS)

    def __init__(self) -> None:
        self.handed_over = 0
        self.hand_over_failed = 0
        self.hand_overs_aborted = 0
        self.replaced_deaf = 0
        self.callback_errors = 0
        self.rate_limited = 0
        self.blocked = 0

    def copy_to(self, row: WorkerStats) -> None:
        for name, field in _FIELDS.items():
            row[field] = getattr(self, name)
