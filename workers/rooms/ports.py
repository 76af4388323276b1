"""The interfaces between the parts of the rooms: two hosts, and the readers that wait for a page of the log.

`RoomHost` is the hub, as the membership, the reader of the log and the maintenance use it. `MemberHost` is the
membership, as joins and slow consumers use it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from workers.bus.port import Entry, LogState, Position
from workers.rooms.follower import Effect
from workers.rooms.log_item import Item, Stretch
from workers.rooms.room import Room
from workers.rooms.types import Gap, LaggingMember, Reset, RoomMember, Teller, WaitingJoin


class PageReader(Protocol):
    """A join or a slow consumer that reads from the log."""

    waiting: bool  # for the page; set by the reader of the log when it is asked

    @property
    def room(self) -> Room: ...

    @property
    def offset(self) -> int:
        """The offset after which the page has to begin."""

    def receive_page(self, state: LogState, page: Stretch) -> None:
        """Take the page, and the log as it was then."""


class RoomHost(Protocol):
    """The hub, for its parts."""

    teller: Teller
    find: Callable[[str], RoomMember | None]

    def run(self, room: Room, effects: list[Effect]) -> None:
        """Carry out what a follower wants."""

    def item(self, epoch: str, entry: Entry) -> Item:
        """An entry as frames, with the changes by later entries applied."""

    def receive_state(self, room: Room, state: LogState) -> None:
        """Take in the state of a room's log, which was read from the store for another purpose."""

    def prefill(self, room: Room, items: list[Item]) -> None:
        """Put older items into the ring, if they touch what the ring holds."""


class MemberHost(Protocol):
    """The membership, for joins and slow consumers."""

    def read(self, reader: PageReader) -> None:
        """Read the page after a reader's offset; `receive_page` follows."""

    def look_for(self, room: Room, offset: int) -> None:
        """Look at the log: a member has seen an entry at `offset`, which this worker has not."""

    def admit(self, member: RoomMember, room: Room) -> None:
        """Add a member to the room: LIVE, or where its transport takes nothing now LAGGING at the room's position."""

    def admit_lagging(
        self, member: RoomMember, room: Room, cursor: Position, *, line: int, missing: Gap | Reset | None = None
    ) -> None:
        """Add a member to the room: LAGGING at `cursor`."""

    def end_join(self, join: WaitingJoin, rooms: list[Room]) -> None:
        """A join of these rooms is over, whatever came of it."""

    def drop_room(self, room: Room) -> None:
        """A room of a join is not wanted any more."""

    def pump_later(self, consumer: LaggingMember) -> None:
        """Let a lagging member go on in a later turn."""

    def on_caught_up(self, consumer: LaggingMember) -> None:
        """A lagging member is LIVE from now on."""

    def notice_of(self, room: Room, member: RoomMember, what: Gap | Reset) -> bytes | None:
        """Count and log what a member cannot have; the payload of the message that says so, if there is one."""
