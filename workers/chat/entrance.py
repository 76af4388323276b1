"""How a connection comes into the chat and into rooms: hello and join carried out, answered in the turn of admission.

The rooms call back in the very turn in which the member is admitted, and what is written then comes before the first
message. So everything that the answer needs of the store (counts, read positions) is asked for first.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from workers.bus.port import BusError, Position, Unavailable
from workers.chat import commands as c
from workers.chat import effects as e
from workers.chat.admission import banned_address
from workers.chat.identity import Identity
from workers.chat.marks import Mark
from workers.chat.mistake import Mistake
from workers.chat.replies import RequestId, RoomState
from workers.chat.session import Effects, Phase

if TYPE_CHECKING:
    from workers.chat.app import ChatApplication
    from workers.chat.desk import Desk
    from workers.rooms.member import Joined


class Before(msgspec.Struct, frozen=True):
    """What is known of a room before it is joined."""

    members: int | None  # users; None: nobody counts them
    mark: Mark | None  # None: the user is new, and has read nothing anywhere


class Entrance:
    """Carries out hello and join for the connections of a worker."""

    def __init__(self, app: ChatApplication) -> None:
        self._app = app

    # ---- hello -------------------------------------------------------------------------------------

    async def admit(self, desk: Desk, admit: e.Admit) -> Effects | None:
        """Let a user in. Returns what follows where that is not the welcome, which is sent when the rooms are there."""
        session = desk.session
        self._app.moderation.coming.begin(desk, admit.identity.user)
        try:
            refusal = await self._app.gate.admit(desk.connection, admit.identity)
            if refusal is not None:
                return session.turned_away(*refusal)
            admit = await self._consulted(desk, self._without_banned(desk, admit))
            admit, before = await self._with_space(
                admit, await self._look(admit.identity, [one.room for one in admit.wanted])
            )
            admit = await self._named(admit, before[0])
            await self._app.moderation.enlist(admit.identity)
            self._app.introduce(desk, admit.identity)
            self._enter(
                desk,
                admit.id,
                admit.wanted,
                before,
                lambda states: session.admitted(admit, states, time.time()),
                then=lambda: self._app.naming.came_in(desk),
                undo=lambda: self._app.gate.release(desk.connection),
            )
        except BusError:
            self._app.gate.release(desk.connection)
            raise
        return None

    async def _named(self, admit: e.Admit, inbox: Before) -> e.Admit:
        """Under the name that all of the user's connections have."""
        kept = inbox.mark.name if inbox.mark else ""
        if admit.identity.fresh and not admit.chosen:
            return admit
        identity = await self._app.naming.name_for(admit.identity, kept, chosen=admit.chosen)
        return msgspec.structs.replace(admit, identity=identity)

    def _without_banned(self, desk: Desk, admit: e.Admit) -> e.Admit:
        """Now that this worker has been told who this is, it knows of bans from single rooms too."""
        address = banned_address(desk.session, admit.identity)
        wanted, refused = [], list(admit.refused)
        for one in admit.wanted:
            reason = self._app.context.sanctions.banned(admit.identity.user, address, one.room, time.time())
            if reason is None:
                wanted.append(one)
            else:
                mistake = Mistake("banned", reason or "you are banned from this room", field=admit.field_of(one.room))
                refused.append(mistake.reply(None))
        return admit if len(wanted) == len(admit.wanted) else _with_rooms(admit, wanted, refused)

    async def _consulted(self, desk: Desk, admit: e.Admit) -> e.Admit:
        """Ask the application about each room of a hello."""
        if "join" not in desk.session.context.consulted:
            return admit
        wanted, refused = list(admit.wanted[:1]), list(admit.refused)
        for one in admit.wanted[1:]:
            try:
                await self._app.counsel.ask_join(desk.connection, admit.identity, one.room)
            except Mistake as mistake:
                mistake.field = admit.field_of(one.room)
                refused.append(mistake.reply(None))
            else:
                wanted.append(one)
        return _with_rooms(admit, wanted, refused)

    async def _with_space(self, admit: e.Admit, before: list[Before]) -> tuple[e.Admit, list[Before]]:
        """Without the rooms of a hello that are full."""
        options = self._app.context.options
        if not any(options.of(one.room).members for one in admit.wanted):
            return admit, before
        wanted, known, refused = [], [], list(admit.refused)
        for one, was in zip(admit.wanted, before, strict=True):
            try:
                await self._require_space(admit.identity.user, one.room, was)
            except Mistake as mistake:
                mistake.field = admit.field_of(one.room)
                refused.append(mistake.reply(None))
            else:
                wanted.append(one)
                known.append(was)
        return _with_rooms(admit, wanted, refused), known

    async def greet(self, desk: Desk, greet: e.Greet) -> Effects:
        """Answer a second hello with the rooms as they are."""
        states = await self._present(desk, desk.session.rooms)
        return desk.session.greeted(greet.id, states, time.time())

    # ---- join --------------------------------------------------------------------------------------

    async def join(self, desk: Desk, join: e.Join) -> Effects | None:
        """Join one room, or say where one is that was joined before."""
        session, room = desk.session, join.wanted.room
        if join.again and join.wanted.since is None:
            (state,) = await self._present(desk, [room])
            return session.joined(join, state)
        self._app.moderation.coming.begin(desk, session.identity.user)
        before = await self._look(session.identity, [room])
        if join.again:
            await self._left(desk, room)
        else:
            await self._require_space(session.identity.user, room, before[0])

        def undo() -> None:
            if join.again:
                desk.carry_out(session.lost(room, "the store did not answer; join again"))

        try:
            self._enter(desk, join.id, [join.wanted], before, lambda states: session.joined(join, states[0]), undo=undo)
        except BusError:
            undo()
            raise
        return None

    async def _left(self, desk: Desk, room: str) -> None:
        """Out and in again, to read on from another place."""
        left = asyncio.Event()
        desk.session.forget(room)  # whoever is closed meanwhile has left it already
        self._app.hub.leave(desk.connection, room, left.set)
        self._app.went(desk, room)
        await left.wait()

    # ---- both --------------------------------------------------------------------------------------

    async def _require_space(self, user: str, room: str, before: Before) -> None:
        """Raises Mistake where the room is full and the user is not one of those in it; BusError."""
        most = self._app.context.options.of(room).members
        if not most or (before.members or 0) < most:
            return
        here = any(desk.session.identity.user == user for desk in self._app.desks(room))
        if not here and not await self._app.marks.present(room, user):
            raise Mistake("limit_reached", "this room is full", field="room")

    def _enter(
        self,
        desk: Desk,
        request: RequestId,
        wanted: Sequence[c.Wanted],
        before: Sequence[Before],
        answer: Callable[[list[RoomState]], Effects],
        *,
        then: Callable[[], None] | None = None,
        undo: Callable[[], None] | None = None,
    ) -> None:
        """Become a member of all these rooms at once; then the desk goes on, or gives up. Raises BusError."""
        app = self._app
        if desk.session.phase is Phase.ENDED:  # closed while we asked
            raise Unavailable("the connection was closed")

        def announce(joined: list[Joined]) -> None:
            for one, known in zip(joined, before, strict=True):
                app.meet(one.room, others=bool(known.members))
                app.came(desk, one.room)
            # The first effect is the answer, and has to be written in this very turn.
            first, *rest = answer([self._state(one, known) for one, known in zip(joined, before, strict=True)])
            desk.carry_out((first,))
            app.node.loop.call_soon(entered, rest)  # once it is a member, which it becomes in this turn

        def entered(rest: Effects) -> None:
            if then is not None:
                then()
            self._put_out_banned(desk)
            self._put_out_kicked(desk)
            desk.go_on(rest)

        def failed(error: BusError) -> None:
            if undo is not None:
                undo()
            desk.give_up(request, error)

        positions = [(one.room, _position(one.since)) for one in wanted]
        app.hub.join(desk.connection, positions, announce, failed)

    def _put_out_banned(self, desk: Desk) -> None:
        """A ban may have been told after it was asked about, when this connection was in no room to be found in."""
        session, sanctions, now = desk.session, self._app.context.sanctions, time.time()
        user, address = session.identity.user, banned_address(session, session.identity)
        everywhere = sanctions.banned(user, address, "", now)
        if everywhere is not None:
            desk.carry_out(session.removed(everywhere or "you are banned"))
        for room in session.rooms:
            reason = sanctions.banned(user, address, room, now)
            if reason is not None:
                desk.carry_out(session.expelled(room, reason or "you are banned from this room"))

    def _put_out_kicked(self, desk: Desk) -> None:
        """The same of a kick, which nobody could ask about."""
        for kick in self._app.moderation.coming.end(desk):
            session = desk.session
            desk.carry_out(session.expelled(kick.room, kick.reason) if kick.room else session.removed(kick.reason))

    def _state(self, joined: Joined, before: Before) -> RoomState:
        counted = before.members is not None and self._app.shown(joined.room)
        return RoomState(
            room=joined.room,
            epoch=joined.epoch,
            offset=joined.offset,
            recovered=joined.recovered,
            members=max(self._app.presence.count(joined.room), before.members or 0) if counted else None,
            unread=before.mark.unread if before.mark else None,
            read=before.mark.read if before.mark else None,
        )

    async def _look(self, identity: Identity, rooms: Sequence[str]) -> list[Before]:
        """What the answer needs to know of each room. Raises BusError."""
        if identity.fresh or len(rooms) == 1:  # next to nothing to ask: without tasks it costs a tenth
            return [await self._before(identity, room) for room in rooms]
        return list(await asyncio.gather(*(self._before(identity, room) for room in rooms)))

    async def _before(self, identity: Identity, room: str) -> Before:
        members = mark = None
        if self._app.counted(room):
            members = await self._app.presence.counted(room)
        if not identity.fresh:
            mark = await self._app.marks.look(room, identity.user)
        return Before(members, mark)

    async def _present(self, desk: Desk, rooms: Sequence[str]) -> list[RoomState]:
        """Where a member stands. Raises BusError."""
        before = await self._look(desk.session.identity, rooms)
        positions = [self._app.hub.position(room) for room in rooms]
        return [
            RoomState(
                room=room,
                epoch=position.epoch if position else "",
                offset=position.offset if position else 0,
                members=known.members if self._app.shown(room) else None,
                unread=known.mark.unread if known.mark else None,
                read=known.mark.read if known.mark else None,
            )
            for room, position, known in zip(rooms, positions, before, strict=True)
        ]


def _with_rooms(admit: e.Admit, wanted: Sequence[c.Wanted], refused: Sequence[e.Reply]) -> e.Admit:
    return msgspec.structs.replace(admit, wanted=tuple(wanted), refused=tuple(refused))


def _position(since: c.Since | None) -> Position | None:
    return None if since is None else Position(since.epoch, since.offset)
