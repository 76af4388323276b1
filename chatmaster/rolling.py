"""What a reload, a replacement for age or size, and a scaling remember while they go on. Pure data.

The policy has one of them at a time; what is asked meanwhile waits.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from chatmaster.decisions import Timing


@dataclass(slots=True)
class Rolling:
    """New before old, one slot after another.

    The next slot's turn comes when the new process is ready; the old ones leave meanwhile, together, so that a
    client that is sent away does not come back to another old one.
    """

    generation: int
    slots: deque[int]
    operation: int | None = None  # None: nobody waits, it is a replacement for age or size
    why: str = "reload"
    timing: Timing | None = None
    awaited: set[int] = field(default_factory=set)  # processes that have to get ready: one at most


@dataclass(slots=True)
class Scaling:
    """More or fewer slots for one Worker of the program."""

    operation: int
    group: str
    count: int
    awaited: set[int] = field(default_factory=set)
    added: set[int] = field(default_factory=set)  # slots
    removed: set[int] = field(default_factory=set)  # slots


Operation = Rolling | Scaling
