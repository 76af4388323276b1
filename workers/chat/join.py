"""JoinFlow: carries out `join`, which is answered in the turn of admission."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from workers.bus.port import BusError
from workers.chat.chat_connection import ChatConnection
from workers.chat.room_entry import PendingJoins, RoomEntries, RoomEntry, RoomInfo
from workers.chat.room_presence import RoomPresence
from workers.chat.rules import admission
from workers.chat.rules.commands import Wanted
from workers.chat.rules.effects import Effects, EnterRoom
from workers.chat.rules.replies import RoomState
from workers.chat.rules.request_error import RequestError
from workers.chat.rules.state import SessionPhase


class JoinEntry(RoomEntry):
    """A connection that enters a room with a join."""

    __slots__ = ("_join",)

    def __init__(
        self,
        entries: RoomEntries,
        client: ChatConnection,
        join: EnterRoom,
        infos: Sequence[RoomInfo],
        places: list[str],
    ) -> None:
        super().__init__(entries, client, join.id, infos, places)
        self._join = join

    @property
    def user(self) -> str:
        return self.client.session.identity.user

    def answer(self, states: list[RoomState]) -> Effects:
        return self.client.session.joined(self._join, states[0])

    def entered(self) -> None:
        """Nothing is left to do: the connection has its name since its hello."""

    def undo(self) -> None:
        if self._join.again:
            session, room = self.client.session, self._join.wanted.room
            self.client.carry_out(session.lost(room, "the store did not answer; join again"))


class OrderedEntry(JoinEntry):
    """A connection that a program brings into a room; the program is told how that ended, and the client if it did."""

    __slots__ = ("_done",)

    def __init__(
        self,
        entries: RoomEntries,
        client: ChatConnection,
        join: EnterRoom,
        infos: Sequence[RoomInfo],
        places: list[str],
        done: asyncio.Future[None],
    ) -> None:
        super().__init__(entries, client, join, infos, places)
        self._done = done

    def entered(self) -> None:
        if not self._done.done():
            self._done.set_result(None)

    def failed(self, error: BusError) -> None:
        self.failed_at_once()
        self._entries.forget(self.client)
        _fail(self._done, error)
        self.client.go_on(())


class JoinFlow:
    """Carries out joins for the connections of a worker."""

    def __init__(self, entries: RoomEntries, room_presence: RoomPresence, pending: PendingJoins) -> None:
        self._entries = entries
        self._room_presence = room_presence
        self._pending = pending

    async def join(self, client: ChatConnection, join: EnterRoom) -> Effects | None:
        """Join one room, or tell where a joined one stands. Raises RequestError, BusError."""
        session, room = client.session, join.wanted.room
        if join.again and join.wanted.since is None:
            (state,) = await self._entries.states(client, [room])
            return session.joined(join, state)
        self._pending.begin(client, session.identity.user)
        infos = await self._entries.look(session.identity, [room])
        user, rule, places = session.identity.user, infos[0].rule, list[str]()
        if join.again:
            self._entries.hold_place(user, room, rule, places)
            await self._leave(client, room)
        else:
            await self._entries.take_place(user, room, rule, places)
        entry = JoinEntry(self._entries, client, join, infos, places)
        try:
            self._entries.enter(entry, [join.wanted])
        except BusError:
            entry.failed_at_once()
            raise
        return None

    async def enter(self, client: ChatConnection, room: str, done: asyncio.Future[None]) -> Effects | None:
        """Join a room for a program, if the user may; `done` is told how that ended."""
        session, places = client.session, list[str]()
        try:
            if session.phase is not SessionPhase.OPEN:
                raise RequestError("conflict", "the connection has not said hello yet, or is closed", retry_after=1.0)
            if room in session.rooms:
                done.set_result(None)
                return ()
            admission.check_entry(session, session.identity, room, len(session.rooms) - 1, time.time())
            user = session.identity.user
            self._pending.begin(client, user)
            infos = await self._entries.look(session.identity, [room])
            await self._entries.take_place(user, room, infos[0].rule, places)
            join = EnterRoom(None, Wanted(room, None))
            self._entries.enter(OrderedEntry(self._entries, client, join, infos, places, done), [join.wanted])
        except (RequestError, BusError) as error:
            self._entries.give_back(session.identity.user, places)
            self._pending.end(client)
            _fail(done, error)
            return ()
        return None

    async def _leave(self, client: ChatConnection, room: str) -> None:
        """Leave a room that is joined again, to read on from another position."""
        client.session.forget(room)  # a connection that is closed meanwhile has left the room already
        await self._room_presence.leave(client, room).wait()


def _fail(done: asyncio.Future[None], error: Exception) -> None:
    if not done.done():
        done.set_exception(error)
