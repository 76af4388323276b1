"""The LAGGING state: a cursor into the log instead of a queue. Joins with `since`, readers that pause, gaps and
connections that came from another worker all pass through this state.

A slow consumer reads page after page as its transport drains, from the room's ring if that reaches back far enough,
else from the log, and becomes LIVE between two batches when it has reached the room's position.
"""

from __future__ import annotations

from workers.bus.port import LogState, Position
from workers.rooms.log_item import Item, Stretch
from workers.rooms.ports import MemberHost
from workers.rooms.recovery import HistoryReset, epoch_at, judge
from workers.rooms.room import Room
from workers.rooms.types import Gap, Reset, RoomMember
from workers.transport.frames import text_frame

STEP = 64 * 1024  # bytes written at a time: it may be told to pause after each
TURN = 256 * 1024  # bytes for one member in one turn of the loop


class SlowConsumer:
    """One member that reads from the log in one room."""

    __slots__ = ("_host", "_notices", "arrived", "epoch", "least", "line", "member", "offset", "queued", "room",
                 "since", "waiting", "written")  # fmt: skip

    def __init__(
        self, member: RoomMember, room: Room, position: Position, host: MemberHost, *, line: int, now: float
    ) -> None:
        self._host = host
        self.member = member
        self.room = room
        self.epoch = position.epoch
        self.offset = position.offset
        self.line = line  # the room's line that the cursor was judged on; -1: it was not
        self.since = now  # when its lag last shrank
        self.least: float = float("inf")  # the smallest lag so far
        self.arrived = room.arrived
        self.written = 0
        self.waiting = False  # for a page
        self.queued = False  # for its turn
        self._notices: list[bytes] = []

    @property
    def position(self) -> Position:
        return Position(self.epoch, self.offset)

    @property
    def alive(self) -> bool:
        """Whether the member still lags in the room, by this cursor."""
        return self.room.lagging(self.member) is self

    def lag(self) -> int:
        """Bytes that the member has not been sent, up to a constant: enough to see whether the lag shrinks."""
        buffered = int(self.member.ws.transport.get_write_buffer_size())
        return self.room.arrived - self.arrived - self.written + buffered

    def add_notice(self, what: Gap | Reset) -> None:
        """Tell the member of a gap or a reset before anything else is written."""
        payload = self._host.notice_of(self.room, self.member, what)
        if payload is not None:
            self._notices.append(text_frame(payload))

    def write_notices(self) -> None:
        """Write the notices before anything else: the position assumes that the member has them."""
        if self._notices:
            notices, self._notices = self._notices, []
            self.member.ws.transport.write(b"".join(notices))

    def pump(self) -> None:
        """Write what the member may have now."""
        room, left = self.room, TURN
        if not self.member.paused:
            self.write_notices()
        while not self.member.paused and not self.waiting:
            if self.line != room.line or not room.covers(self.offset):
                if room.current:  # else it goes on when the room is
                    self._host.read(self)
                return
            goal = room.goal
            if self.offset == goal and self.line == room.goal_line:
                self._promote()
                return
            if left <= 0 or self.offset >= goal or self.line != room.goal_line:
                self._host.pump_later(self)  # the batch that is gathered now has to be written first
                return
            assert room.ring is not None
            left -= self._write([item for item in room.ring.after(self.offset, STEP) if item.offset <= goal])

    def _promote(self) -> None:
        """LAGGING → LIVE, between two batches or with the present one already written."""
        if self.room.takes_in:
            self._become_live()
        else:
            self.room.when_idle(self._become_live)

    def _become_live(self) -> None:
        room, member = self.room, self.member
        if not self.alive:
            return
        if member.paused or self.line != room.line or room.goal_line != room.line or self.offset != room.goal:
            self._host.pump_later(self)
            return
        room.remove(member)
        self._host.on_caught_up(self)
        room.enliven(member)

    def receive_page(self, state: LogState, page: Stretch) -> None:
        """Judge the cursor by the present state of the log, and write the page's items after the cursor."""
        self.waiting = False
        if not self.alive:
            return
        verdict = judge(self.position, state)
        if isinstance(verdict, HistoryReset):
            self.epoch, self.offset = state.epoch, verdict.after
            self.add_notice(Reset(state.epoch, verdict.after))
        elif verdict.gap is not None:
            self.offset = verdict.after
            self.add_notice(Gap(state.epoch, *verdict.gap))
        self.line = self.room.line if state.epoch == self.room.follower.epoch else -1
        self.write_notices()
        self._write_page(state, page)
        if not self.member.paused:
            self._host.pump_later(self)

    def _write_page(self, state: LogState, page: Stretch) -> None:
        """Write the items after the cursor, as far as the transport takes data and the LIVE members have come.

        An entry missing on the page was a change that is no longer kept, or a message that an inbox has dropped: the
        member gets a notice in its place.
        """
        if self.offset < page.after:
            return  # a restart went back to before this page
        goal, items = self.room.goal if self.line == self.room.goal_line else self.room.offset, page.items
        end = min(goal, page.end)
        start = next((at for at, item in enumerate(items) if item.offset > self.offset), len(items))
        while self.offset < end and not self.member.paused:
            stop, size, offset = start, 0, self.offset
            while stop < len(items) and size < STEP and items[stop].offset == offset + 1 <= goal:
                size += len(items[stop].frame)
                stop, offset = stop + 1, offset + 1
            if stop > start:
                self._write(items[start:stop])
                start = stop
            else:
                self._pass_hole(state, min(end, items[stop].offset - 1 if stop < len(items) else end))

    def _pass_hole(self, state: LogState, last: int) -> None:
        hole = Gap(epoch_at(last, state), self.offset + 1, last, changes=self.offset >= state.dropped)
        self.epoch, self.offset = hole.epoch, last
        payload = self._host.notice_of(self.room, self.member, hole)
        if payload is not None:
            self.member.ws.transport.write(text_frame(payload))

    def _write(self, items: list[Item]) -> int:
        member = self.member
        if member.deflate or any(item.special for item in items):
            data = b"".join([item.frame_for(member.user, member.id, deflate=member.deflate) for item in items])
        else:
            data = b"".join([item.frame for item in items])
        self.epoch, self.offset = items[-1].epoch, items[-1].offset
        # Counted as the room counts what arrives, whatever class or variant goes out.
        self.written += sum(len(item.frame) for item in items)
        if data:
            member.ws.transport.write(data)
        return len(data)
