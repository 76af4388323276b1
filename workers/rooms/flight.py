"""Owns a batch on its way to the members of a large room: who has it, who has still to get it, slice by slice.

Whom it goes to is decided when it begins. So whoever becomes LIVE meanwhile does not get it, and has to have what is in
it already. Whoever leaves meanwhile is given it before its turn.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from workers.rooms.alone import Alone
from workers.rooms.item import Item
from workers.rooms.member import Member, Transport

logger = logging.getLogger(__name__)

Members = dict[Member, Transport] | Alone
Written = Callable[[list[Item], int, int], None]  # what, to how many members, bytes for each


class _Nobody:
    """In the place of somebody who has left."""

    def write(self, data: bytes) -> None:
        """It has got it."""

    def get_write_buffer_size(self) -> int:
        return 0


_NOBODY = _Nobody()


class FlightClass:
    """The members that get the same bytes."""

    __slots__ = ("at", "count", "data", "ranks", "targets")

    def __init__(self, targets: list[Transport], count: int, data: bytes) -> None:
        self.targets = targets
        self.count = count  # with those who get something of their own
        self.data = data
        self.at = 0  # those before it have it
        self.ranks: dict[Transport, int] | None = None  # made when somebody leaves

    @property
    def under_way(self) -> bool:
        return self.at < max(len(self.targets), 1)

    def finish(self, transport: Transport) -> None:
        """Write to it before its turn, unless it has been, or is none of these."""
        if self.ranks is None:
            self.ranks = {one: at for at, one in enumerate(self.targets)}
        rank = self.ranks.pop(transport, -1)  # it may come back, and leave again
        if rank >= self.at:
            self.targets[rank] = _NOBODY
            write((transport,), self.data)


class Flight:
    """A batch for a large room, or one that is not the same for all.

    Each step writes it to `at_once` members at most, and gives their number.
    """

    __slots__ = ("_apart", "_at_once", "_classes", "_items", "_written")

    def __init__(
        self,
        items: list[Item],
        classes: Iterable[tuple[Members, bool]],
        apart: dict[Member, Transport],
        *,
        at_once: int,
        written: Written,
    ) -> None:
        self._at_once = at_once
        self._items = items
        self._apart = list(apart.items())
        self._written = written
        self._classes = [
            FlightClass(_without(members, apart), len(members), data)
            for members, squeeze in classes
            if members and (data := joined(items, squeeze=squeeze))
        ]

    def __iter__(self) -> Flight:
        return self

    def __next__(self) -> int:
        for one in self._classes:
            if one.under_way:
                start, one.at = one.at, one.at + self._at_once
                write(one.targets[start : one.at], one.data)
                if not one.under_way:
                    self._written(self._items, one.count, len(one.data))  # the lag is that of the last one
                return self._at_once
        if not self._apart:
            raise StopIteration
        member, transport = self._apart.pop()
        own = (item.frame_for(member.user, member.id, deflate=member.deflate) for item in self._items)
        write((transport,), b"".join(own))
        return 1

    def finish(self, member: Member) -> bool:
        """Give it to a member at once who wants to leave; False: it gets something of its own, and has to wait."""
        transport: Transport = member.ws.transport
        if any(one is member for one, _ in self._apart):
            return False
        for one in self._classes:
            if one.under_way:
                one.finish(transport)
        return True


def _without(members: Members, apart: dict[Member, Transport]) -> list[Transport]:
    """The transports of the others; taking a few out and putting them back beats asking each of a thousand."""
    taken = [member for member in apart if members.pop(member, None) is not None]
    rest = list(members.values())
    for member in taken:
        members[member] = apart[member]
    return rest


def joined(items: list[Item], *, squeeze: bool) -> bytes:
    """A batch as bytes."""
    if len(items) == 1:
        return items[0].compressed() if squeeze else items[0].frame
    if squeeze:
        return b"".join([item.compressed() for item in items])
    return b"".join([item.frame for item in items])


def write(transports: Iterable[Transport], data: bytes) -> None:
    """Write to each of them."""
    for transport in transports:
        try:
            transport.write(data)
        except RuntimeError:
            logger.debug("a member's transport was closed between two slices")
