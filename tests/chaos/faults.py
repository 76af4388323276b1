"""The list of faults: each a coroutine that does something to a site and, before it returns, undoes it.

A fault belongs to a group, and one of a group is under way at a time: a store that is frozen is not killed as well.
Faults of different groups overlap.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from msgspec import Struct

from tests.chaos.site import Site

Act = Callable[[Site], Awaitable[None]]


class Fault(Struct, frozen=True):
    """One kind."""

    name: str
    group: str
    act: Act
    long: bool  # takes more than a few seconds: not in the short run


FAULTS: Final[dict[str, Fault]] = {}


def fault(group: str, *, long: bool = False) -> Callable[[Act], Act]:
    """Put a coroutine on the list."""

    def register(act: Act) -> Act:
        name = f"{group}: {act.__name__.replace('_', ' ')}"
        FAULTS[name] = Fault(name, group, act, long)
        return act

    return register
