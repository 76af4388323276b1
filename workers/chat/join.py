"""Owns the turn in which a connection becomes a member of rooms: what it is told then, and what follows.

The rooms call `announce` in the very turn of admission. What has to wait until it is a member follows in the next turn,
together for all who came in.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from chatmaster.settings import RoomRule
from workers.bus.port import BusError
from workers.chat.marks import ReadPosition
from workers.chat.rules import effects
from workers.chat.rules.commands import RequestId
from workers.chat.rules.effects import Effects
from workers.chat.rules.replies import RoomState

if TYPE_CHECKING:
    from workers.chat.app import ChatApplication
    from workers.chat.chat_connection import ChatConnection
    from workers.rooms.types import Joined


class RoomInfo(msgspec.Struct, frozen=True):
    """What is known of a room before it is joined."""

    rule: RoomRule
    members: int | None = None  # users; None: nobody counts them
    mark: ReadPosition | None = None  # None: the user is new, and has read nothing anywhere


class RoomEntry(ABC):
    """One connection on its way into rooms."""

    __slots__ = ("_app", "_before", "_places", "_request", "desk")

    _app: ChatApplication
    _before: Sequence[RoomInfo]
    _request: RequestId
    _places: list[str]  # rooms with a limit in which it has a place, until it is a member
    desk: ChatConnection

    @property
    @abstractmethod
    def user(self) -> str:
        """Whose connection it is, or is about to be."""

    @abstractmethod
    def answer(self, states: list[RoomState]) -> Effects:
        """The session's answer; the first effect of it has to be carried out in this very turn."""

    @abstractmethod
    def came_in(self) -> None:
        """It is a member now."""

    @abstractmethod
    def undo(self) -> None:
        """It could not be done."""

    def announce(self, joined: list[Joined]) -> None:
        """Everything is there: the rooms make it a member when this returns."""
        app, desk = self._app, self.desk
        states = []
        for one, known in zip(joined, self._before, strict=True):
            if known.members is not None:
                app.came(desk, one.room, others=known.members > 0)
            states.append(self._state(one, known))
        first, *rest = self.answer(states)
        self._places.clear()  # they are the connection's now: whoever takes it out of the room gives them back
        desk.carry_out((first,))
        app.entrance.next_turn(self, rest)

    def _state(self, joined: Joined, before: RoomInfo) -> RoomState:
        members, mark = None, before.mark
        if before.members is not None and before.rule.presence:
            members = max(self._app.presence.count(joined.room), before.members)
        return RoomState(
            room=joined.room,
            epoch=joined.epoch,
            offset=joined.offset,
            recovered=joined.recovered,
            members=members,
            unread=mark.unread if mark else None,
            read=mark.read if mark else None,
        )

    def failed(self, error: BusError) -> None:
        """The rooms gave up."""
        self.failed_at_once()
        self.desk.give_up(self._request, error)

    def failed_at_once(self) -> None:
        """As `failed`, where the caller says so to the client."""
        self._app.entrance.give_back(self.user, self._places)
        self.undo()

    def go_on(self, rest: Effects) -> None:
        """The turn after `announce`."""
        self.came_in()
        # A ban may have been told after it was asked about, when this connection was in no room to be found in.
        self._app.moderation.put_out_banned(self.desk)
        self._put_out_kicked()
        self.desk.go_on(rest)

    def _put_out_kicked(self) -> None:
        """A kick, which nobody could ask about, may have been told as well."""
        desk = self.desk
        for kick in self._app.moderation.coming.end(desk):
            session = desk.session
            desk.carry_out(session.expelled(kick.room, kick.reason) if kick.room else session.removed(kick.reason))


class HelloEntry(RoomEntry):
    """With a hello."""

    __slots__ = ("_admit",)

    def __init__(
        self,
        app: ChatApplication,
        desk: ChatConnection,
        admit: effects.Admit,
        before: Sequence[RoomInfo],
        places: list[str],
    ) -> None:
        self._app, self.desk, self._request, self._before, self._places = app, desk, admit.id, before, places
        self._admit = admit

    @property
    def user(self) -> str:
        return self._admit.identity.user

    def answer(self, states: list[RoomState]) -> Effects:
        return self.desk.session.admitted(self._admit, states, time.time())

    def came_in(self) -> None:
        self._app.naming.came_in(self.desk)

    def undo(self) -> None:
        self._app.gate.release(self.desk.connection)


class JoinEntry(RoomEntry):
    """With a join."""

    __slots__ = ("_join",)

    def __init__(
        self,
        app: ChatApplication,
        desk: ChatConnection,
        join: effects.EnterRoom,
        before: Sequence[RoomInfo],
        places: list[str],
    ) -> None:
        self._app, self.desk, self._request, self._before, self._places = app, desk, join.id, before, places
        self._join = join

    @property
    def user(self) -> str:
        return self.desk.session.identity.user

    def answer(self, states: list[RoomState]) -> Effects:
        return self.desk.session.joined(self._join, states[0])

    def came_in(self) -> None:
        """The connection has a name since its hello."""

    def undo(self) -> None:
        if self._join.again:
            room = self._join.wanted.room
            self.desk.carry_out(self.desk.session.lost(room, "the store did not answer; join again"))
