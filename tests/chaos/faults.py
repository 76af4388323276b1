"""The list of faults: each a coroutine that does something to a site and, before it returns, undoes it.

A fault belongs to a group, and one of a group is under way at a time: a store that is frozen is not killed as well.
Faults of different groups overlap, except where a fault has its turn alone: then it also has to show that it had the
effect it is there for, and that it had no other.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Final

from msgspec import Struct

from tests.chaos.site import Site


class Skipped(Exception):
    """This machine cannot do it; says why."""


class Turn(Struct, frozen=True):
    """One time that a fault happens. `chance` is its own, so that a replay draws the same numbers."""

    chance: random.Random
    alone: bool

    def expect(self, condition: object, sentence: str) -> None:
        """Where nothing else is going on, this has to be so."""
        assert condition or not self.alone, sentence


Act = Callable[[Site, Turn], Awaitable[None]]


class Fault(Struct, frozen=True):
    """One kind."""

    name: str
    group: str
    act: Act
    long: bool  # takes more than a few seconds


FAULTS: Final[dict[str, Fault]] = {}


def fault(group: str, *, long: bool = False) -> Callable[[Act], Act]:
    """Put a coroutine on the list."""

    def register(act: Act) -> Act:
        name = f"{group}: {act.__name__.replace('_', ' ')}"
        FAULTS[name] = Fault(name, group, act, long)
        return act

    return register
