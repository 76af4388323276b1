"""The delivery of items to the members of a large room, slice by slice: members already written to, and those left.

The members that get the items are fixed when a fanout begins. Items that arrive meanwhile are absorbed: members not yet
written to get them in the same write, and members already written to get them after the others, so that each round
over the members includes all items since the last round. That ends when a member wants to join or leave: the fanout is
closed, and later items make the next batch. So a member that becomes LIVE meanwhile does not get the fanout's items,
and must have them already. A member that leaves meanwhile is written to before its turn.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from workers.rooms.log_item import Item
from workers.rooms.types import RoomMember, SoleMember, Transport
from workers.transport.socket_transport import write_to_all

Members = dict[RoomMember, Transport] | SoleMember
Written = Callable[[list[Item], int, int], None]  # items, number of members, bytes for each member


class _Nobody:
    """Stands for the transport of a member that has left."""

    def write(self, data: bytes) -> None:
        """The member was written to before it left."""

    def get_write_buffer_size(self) -> int:
        return 0


_NOBODY = _Nobody()


class Segment:
    """Members who get the same items next; or a single `member`, whose frames may differ."""

    __slots__ = ("_data", "_ranks", "_squeeze", "at", "items", "member", "targets")

    def __init__(
        self, targets: list[Transport], items: list[Item], *, squeeze: bool = False, member: RoomMember | None = None
    ) -> None:
        self.targets = targets
        self.items = items
        self.member = member
        self.at = 0  # the targets before it have the items
        self._squeeze = squeeze
        self._data: bytes | None = None
        self._ranks: dict[Transport, int] | None = None  # made when a member leaves

    @property
    def data(self) -> bytes:
        """The items as bytes."""
        if self._data is None:
            self._data = joined(self.items, squeeze=self._squeeze) if self.member is None else self._own()
        return self._data

    def _own(self) -> bytes:
        member = self.member
        assert member is not None
        return b"".join([item.frame_for(member.user, member.id, deflate=member.deflate) for item in self.items])

    @property
    def over(self) -> bool:
        return self.at >= len(self.targets)

    def write(self, most: int) -> int:
        """Write to the next members, at most `most`; return their number."""
        start, self.at = self.at, min(self.at + most, len(self.targets))
        if self.data:
            write_to_all(self.targets[start : self.at], self.data)
        return self.at - start

    def hold(self, items: list[Item], targets: list[Transport]) -> None:
        """Replace the items and the targets, and start again at the first target."""
        self.items, self.targets, self.at, self._data, self._ranks = items, targets, 0, None, None

    def like(self, items: list[Item], targets: list[Transport]) -> Segment:
        """A segment of the same class with other items and targets."""
        return Segment(targets, items, squeeze=self._squeeze, member=self.member)

    def joins(self, other: Segment) -> bool:
        """Whether both segments are of one class."""
        return self.member is None and other.member is None and self._squeeze is other._squeeze

    def finish(self, transport: Transport) -> bool:
        """Write to a transport before its turn; False: the transport is no target, or has been written to."""
        if self._ranks is None:
            self._ranks = {one: at for at, one in enumerate(self.targets)}
        rank = self._ranks.pop(transport, -1)  # the member may come back, and leave again
        if rank < self.at:
            return False
        self.targets[rank] = _NOBODY
        write_to_all((transport,), self.data)
        return True


class Fanout:
    """The delivery of items to a large room, or of items whose frames are not the same for all members.

    Each step writes to `at_once` members at most, and yields their number.
    """

    __slots__ = ("_at_once", "_done", "_pending", "_written", "open")

    def __init__(
        self,
        items: list[Item],
        classes: Iterable[tuple[Members, bool]],
        apart: dict[RoomMember, Transport],
        *,
        at_once: int,
        written: Written,
    ) -> None:
        self.open = True  # whether the fanout may absorb more items
        self._at_once = at_once
        self._written = written
        self._done: list[Segment] = []  # members that have all items
        self._pending = deque(
            Segment(_without(members, apart), items, squeeze=squeeze) for members, squeeze in classes if members
        )
        self._pending.extend(Segment([transport], items, member=member) for member, transport in apart.items())

    def __iter__(self) -> Fanout:
        return self

    def __next__(self) -> int:
        while self._pending:
            segment = self._pending[0]
            count = segment.write(self._at_once)
            if segment.over:
                self._pending.popleft()
                self._land(segment)
            if count:
                return count
        raise StopIteration

    def _land(self, segment: Segment) -> None:
        if segment.targets:
            self._done.append(segment)
            if segment.data:
                self._written(segment.items, len(segment.targets), len(segment.data))

    def absorb(self, items: list[Item], apart: dict[RoomMember, Transport]) -> None:
        """Add more items; `apart` holds the members whose frames of these items differ."""
        if self._pending and self._pending[0].at:
            head = self._pending[0]
            had, rest = head.targets[: head.at], head.targets[head.at :]
            self._land(head.like(head.items, had))
            head.hold(head.items, rest)
        for member, transport in apart.items():
            self._set_apart(member, transport)
        for segment in self._pending:
            segment.hold([*segment.items, *items], segment.targets)
        done, self._done = self._done, []
        for segment in done:
            segment.hold(items, segment.targets)
        self._pending.extend(_merged(done))

    def _set_apart(self, member: RoomMember, transport: Transport) -> None:
        segments = [*self._pending, *self._done]
        if any(segment.member is member for segment in segments):
            return
        for segment in segments:
            if segment.member is None and transport in segment.targets:
                segment.hold(segment.items, [one for one in segment.targets if one is not transport])
                own = Segment([transport], segment.items, member=member)
                self._pending.append(own) if segment in self._pending else self._done.append(own)
                return

    def finish(self, member: RoomMember) -> None:
        """Write all items now to a member that wants to leave."""
        self.open = False
        transport: Transport = member.ws.transport
        for segment in self._pending:
            if segment.member in (None, member) and segment.finish(transport):
                return


def _merged(segments: list[Segment]) -> list[Segment]:
    """Join the segments of a class, which have the same items."""
    merged: list[Segment] = []
    for segment in segments:
        same = next((one for one in merged if one.joins(segment)), None)
        if same is None:
            merged.append(segment)
        else:
            same.targets += segment.targets
    return merged


def _without(members: Members, apart: dict[RoomMember, Transport]) -> list[Transport]:
    """The transports of the members not in `apart`, the newest first.

    Removing a few members and restoring them beats testing a thousand.
    """
    taken = [member for member in apart if members.pop(member, None) is not None]
    rest = list(members.values())
    rest.reverse()
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
