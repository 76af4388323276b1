"""Joins: every room of a join is made current, then one turn announces and admits the member.

Nearly every room of a join is entered without a `since`, and needs nothing but to be current.
A `since` is answered from the ring if the ring covers it. Otherwise, or if the `since` lies beyond the entries that
this worker has seen (the client may have seen more at another worker), a page requested after the join judges it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from workers.bus.port import BusError, LogState, Position
from workers.rooms.follower import FollowPhase
from workers.rooms.log_item import Stretch
from workers.rooms.ports import MemberHost
from workers.rooms.recovery import HistoryReset, judge
from workers.rooms.room import Room
from workers.rooms.types import Gap, Joined, Reset, RoomMember

logger = logging.getLogger(__name__)

_LIVE: Final = FollowPhase.LIVE


class JoinPart:
    """A room of a join that the member has been in before: it wants what came after `since`."""

    __slots__ = ("cursor", "join", "judged_in", "line", "missing", "room", "since", "waiting")

    def __init__(self, join: PendingJoin, room: Room, since: Position) -> None:
        self.join = join
        self.room = room
        self.since = since
        self.cursor: Position | None = None  # the position to read on from, once that is known
        self.missing: Gap | Reset | None = None
        self.line = -1
        self.judged_in = ""  # the epoch that the log was in then
        self.waiting = False

    @property
    def already(self) -> bool:
        """Whether the member is in the room, perhaps since after the join began."""
        return self.join.member in self.room

    @property
    def judged(self) -> bool:
        """Whether the log of the present epoch has judged `since`: in another, lost entries may have been replaced."""
        return self.cursor is not None and self.judged_in == self.room.follower.epoch

    @property
    def offset(self) -> int:
        """Where the page has to begin."""
        return self.since.offset

    def ready(self) -> bool:
        """Whether the room can be announced now; if not, the reads that it needs are under way."""
        if not self.room.current:
            return False  # the join waits for that
        if self.already:
            return True
        if self.judged:
            return self._caught_up()
        if self._judge_by_ring():
            return True
        if not self.waiting:
            self.join.host.read(self)
        return False

    def _judge_by_ring(self) -> bool:
        if not judged_by_ring(self.room, self.since):
            return False
        self.cursor, self.missing, self.line = self.since, None, self.room.line
        self.judged_in = self.room.follower.epoch
        return True

    def receive_page(self, state: LogState, page: Stretch) -> None:
        """Judge the `since` by the present state of the log."""
        self.waiting = False
        if self.join.over:
            return
        verdict = judge(self.since, state)
        self.missing, self.judged_in = None, state.epoch
        if isinstance(verdict, HistoryReset):
            self.missing = Reset(state.epoch, verdict.after)
        elif verdict.gap is not None:
            self.missing = Gap(state.epoch, *verdict.gap)
        same = self.missing is None
        self.cursor = self.since if same else Position(state.epoch, verdict.after)
        self.line = self.room.line if state.epoch == self.room.follower.epoch else -1
        self.join.advance()

    def _caught_up(self) -> bool:
        """Whether this worker has seen as much as the client; if not, it looks at the log."""
        assert self.cursor is not None
        follower = self.room.follower
        if self.line != self.room.line or self.cursor.offset <= follower.offset:
            return True
        self.room.wait_until_current(self.join)
        self.join.host.look_for(self.room, self.cursor.offset)
        return False

    @property
    def ahead(self) -> bool:
        """Whether the member has seen what still waits in the room's batch."""
        room = self.room
        return self.cursor is not None and self.line == room.line and self.cursor.offset > room.goal

    @property
    def at_goal(self) -> bool:
        """Whether the member has seen exactly what the LIVE members have been sent: nothing is to be read."""
        room, cursor = self.room, self.cursor
        same = cursor is not None and self.missing is None and self.line == room.goal_line == room.line
        return same and cursor is not None and cursor.offset == room.goal and not room.busy

    def admit(self) -> bool:
        """Make the member one of the room where it has to read on there; False: it may be LIVE at once."""
        if self.cursor is None or self.at_goal:
            return False
        self.join.host.admit_lagging(self.join.member, self.room, self.cursor, line=self.line, missing=self.missing)
        return True

    def joined(self) -> Joined:
        """The announcement of the room to the member."""
        recovered = None if self.already else self.missing is None
        return Joined(self.room.name, *self.room.place, recovered, self.missing)


_NO_PARTS: Final[Mapping[Room, JoinPart]] = MappingProxyType({})  # of nearly every join


class PendingJoin:
    """One call of `Hub.join`. `parts` has those of its `rooms` that the member has been in before."""

    __slots__ = (
        "_announce", "_announcing", "_dropped", "_failed", "deadline", "host", "member", "over", "parts", "rooms",
    )  # fmt: skip

    def __init__(
        self,
        host: MemberHost,
        member: RoomMember,
        announce: Callable[[list[Joined]], None],
        failed: Callable[[BusError], None],
        *,
        deadline: float,
        dropped: Callable[[str], None] | None = None,
    ) -> None:
        self.host = host
        self.member = member
        self._announce = announce
        self._failed = failed
        self._dropped = dropped
        self.deadline = deadline
        self._announcing = False
        self.over = False
        self.rooms: list[Room] = []
        self.parts: Mapping[Room, JoinPart] = _NO_PARTS

    def add(self, room: Room, since: Position | None) -> None:
        """Join this room, too; `since` is the position after which the member reads on."""
        self.rooms.append(room)
        if since is not None:
            self.parts = {**self.parts, room: JoinPart(self, room, since)}

    def advance(self) -> None:
        """Announce and admit the member if every room is ready."""
        if self.over or self._announcing or not self._ready():
            return
        for room in self.rooms:
            if room.batch:
                room.settle()
        if self.over:
            return  # settling let a waiting call of this get ahead
        for room in self.rooms:
            if room.busy:
                room.when_idle(self.advance)
                return
            if room.batch and room.goal_line != room.line:  # a reset waits in it
                asyncio.get_running_loop().call_soon(self.advance)
                return
        for part in self.parts.values():
            if part.ahead:
                asyncio.get_running_loop().call_soon(self.advance)
                return
        self._enter()

    def _ready(self) -> bool:
        """Whether every room can be announced now; if not, what they wait for is under way together."""
        ready = True
        for room in self.rooms:
            follower = room.follower
            if not follower.current or follower.phase is not _LIVE:  # as `Room.current`, but for a call
                room.wait_until_current(self)
                ready = False
        for part in self.parts.values():
            if not part.ready():
                ready = False
        return ready

    def _enter(self) -> None:
        """Announce and admit in one turn, unless the announcement makes the member leave."""
        if self.over or self._announcing:
            return
        self._announcing = True
        try:
            parts = self.parts
            self._announce(
                [parts[room].joined() if room in parts else Joined(room.name, *room.place) for room in self.rooms]
            )
        except Exception:
            logger.exception("announcing a join failed")
            self.fail(BusError("announcing the join failed"))
        if self.over:
            return
        self.over = True
        for room in self.rooms:
            part = self.parts.get(room)
            if part is None or not part.admit():
                self.host.admit(self.member, room)
        self._end()

    def drop(self, room: str) -> None:
        """The member leaves a room before it is admitted; the join goes on for the other rooms."""
        gone = [one for one in self.rooms if one.name == room]
        self.rooms = [one for one in self.rooms if one not in gone]
        self.parts = {one: part for one, part in self.parts.items() if one not in gone}
        for one in gone:
            self.host.drop_room(one)
            if self._dropped is not None:
                self._dropped(room)
        if gone and not self._announcing:
            asyncio.get_running_loop().call_soon(self.advance)

    def fail(self, error: BusError) -> None:
        """Give up: nothing was joined."""
        if not self.over:
            self.over = True
            self._end()
            self._failed(error)

    def _end(self) -> None:
        self.host.end_join(self, self.rooms)
        self.rooms, self.parts = [], _NO_PARTS  # breaks the cycles: a storm of joins leaves the collector nothing


def judged_by_ring(room: Room, since: Position) -> bool:
    """Whether all entries after a position are in memory, and the position is on the log's present line.

    The room is current: it is in the log's present reign.
    """
    follower = room.follower
    if since.offset > room.offset or not room.covers(since.offset) or not follower.reigns:
        return False
    if since.epoch == follower.epoch:
        return True
    start = room.ring.start if room.ring is not None else room.offset
    state = LogState(follower.epoch, room.offset, start + 1, follower.reigns)
    return not isinstance(judge(since, state), HistoryReset)  # else it is for the log to say
