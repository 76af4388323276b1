"""How a connection comes into the chat and into rooms: hello and join carried out, answered in the turn of admission.

The rooms call back in the very turn in which the member is admitted, and what is written then comes before the first
message. So everything that the answer needs of the store (counts, read positions) is asked for first.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from chatmaster.settings import RoomRule
from workers.addressing import is_inbox
from workers.bus.port import BusError, Position, Unavailable
from workers.chat.join import HelloEntry, JoinEntry, RoomEntry, RoomInfo
from workers.chat.rules import commands, effects
from workers.chat.rules.effects import Effects
from workers.chat.rules.identity import Identity
from workers.chat.rules.permissions import sanctioned_address
from workers.chat.rules.replies import RoomState
from workers.chat.rules.request_error import RequestError
from workers.chat.rules.state import SessionPhase

if TYPE_CHECKING:
    from workers.chat.app import ChatApplication
    from workers.chat.chat_connection import ChatConnection


class HelloFlow:
    """Carries out hello and join for the connections of a worker."""

    def __init__(self, app: ChatApplication) -> None:
        self._app = app
        self._arrived: list[tuple[RoomEntry, Effects]] = []  # members since this turn, and what follows for each

    # ---- hello -------------------------------------------------------------------------------------

    async def admit(self, desk: ChatConnection, admit: effects.Admit) -> Effects | None:
        """Let a user in. Returns what follows where that is not the welcome, which is sent when the rooms are there."""
        app, session, identity = self._app, desk.session, admit.identity
        sanctions = app.context.sanctions
        app.moderation.coming.begin(desk, identity.user)
        places: list[str] = []  # rooms in which this connection has one of so many places
        try:
            # What needs no answer of the store costs no coroutine: most who come are new, in rooms that are known.
            asked = app.gate.knock(desk.connection, identity)
            refusal = await app.gate.ask(desk.connection, asked) if asked else None
            if refusal is None and not sanctions.none:
                refusal = app.gate.banned(identity, session.address)
                admit = self._without_banned(desk, admit)
            if refusal is not None:
                return session.turned_away(*refusal)
            if "join" in app.context.consulted:
                admit = await self._consulted(desk, admit)
            before = await self._look(identity, admit.wanted)
            for one in before:
                if one.rule.members:
                    admit, before = await self._with_space(admit, before, places)
                    break
            if admit.chosen or not identity.fresh:
                admit = await self._named(admit, before[0])
            elif identity.guest:  # no await from here on: the next one finds this name taken
                admit = msgspec.structs.replace(admit, identity=app.naming.invented(identity))
            if not identity.fresh and app.moderation.concerned_with(identity):
                await app.moderation.enlist(admit.identity)
            app.introduce(desk, admit.identity)
            self._enter(HelloEntry(app, desk, admit, before, places), admit.wanted)
        except BaseException as error:
            self.give_back(identity.user, places)
            if isinstance(error, BusError):
                app.gate.release(desk.connection)
            raise
        return None

    async def _named(self, admit: effects.Admit, inbox: RoomInfo) -> effects.Admit:
        """Under the name that all of the user's connections have."""
        kept = inbox.mark.name if inbox.mark else ""
        identity = await self._app.naming.name_for(admit.identity, kept, chosen=admit.chosen)
        return msgspec.structs.replace(admit, identity=identity)

    def _without_banned(self, desk: ChatConnection, admit: effects.Admit) -> effects.Admit:
        """Now that this worker has been told who this is, it knows of bans from single rooms too."""
        address = sanctioned_address(desk.session, admit.identity)
        wanted, refused = [], list(admit.refused)
        for one in admit.wanted:
            reason = self._app.context.sanctions.banned(admit.identity.user, address, one.room, time.time())
            if reason is None:
                wanted.append(one)
            else:
                mistake = RequestError(
                    "banned", reason or "you are banned from this room", field=admit.field_of(one.room)
                )
                refused.append(mistake.reply(None))
        return admit if len(wanted) == len(admit.wanted) else _with_rooms(admit, wanted, refused)

    async def _consulted(self, desk: ChatConnection, admit: effects.Admit) -> effects.Admit:
        """Ask the application about each room of a hello."""
        wanted, refused = list(admit.wanted[:1]), list(admit.refused)
        for one in admit.wanted[1:]:
            try:
                await self._app.hook_runner.ask_join(desk.connection, admit.identity, one.room)
            except RequestError as mistake:
                mistake.field = admit.field_of(one.room)
                refused.append(mistake.reply(None))
            else:
                wanted.append(one)
        return _with_rooms(admit, wanted, refused)

    async def _with_space(
        self, admit: effects.Admit, before: list[RoomInfo], places: list[str]
    ) -> tuple[effects.Admit, list[RoomInfo]]:
        """Without the rooms of a hello that are full; the others' places are taken, and noted in `places`."""
        wanted, known, refused = [], [], list(admit.refused)
        for one, was in zip(admit.wanted, before, strict=True):
            try:
                await self._take_place(admit.identity.user, one.room, was.rule, places)
            except RequestError as mistake:
                mistake.field = admit.field_of(one.room)
                refused.append(mistake.reply(None))
            else:
                wanted.append(one)
                known.append(was)
        return _with_rooms(admit, wanted, refused), known

    async def ask_again(self, desk: ChatConnection) -> None:
        """Have a connection leave the rooms that the application does not let it join with the role that it has now."""
        for room in desk.session.rooms:
            if is_inbox(room):
                continue
            try:
                await self._app.hook_runner.ask_join(desk.connection, desk.session.identity, room)
            except RequestError as mistake:
                desk.carry_out(desk.session.expelled(room, str(mistake)))

    async def greet(self, desk: ChatConnection, greet: effects.Greet) -> Effects:
        """Answer a second hello with the rooms as they are."""
        states = await self._present(desk, desk.session.rooms)
        return desk.session.greeted(greet.id, states, time.time())

    # ---- join --------------------------------------------------------------------------------------

    async def join(self, desk: ChatConnection, join: effects.EnterRoom) -> Effects | None:
        """Join one room, or say where one is that was joined before."""
        session, room = desk.session, join.wanted.room
        if join.again and join.wanted.since is None:
            (state,) = await self._present(desk, [room])
            return session.joined(join, state)
        self._app.moderation.coming.begin(desk, session.identity.user)
        before = await self._look(session.identity, [join.wanted])
        user, rule, places = session.identity.user, before[0].rule, list[str]()
        if join.again:
            if rule.members:  # it keeps its place while it is out
                self._app.occupancy.hold(room, user)
                places.append(room)
            await self._left(desk, room)
        else:
            await self._take_place(user, room, rule, places)
        entering = JoinEntry(self._app, desk, join, before, places)
        try:
            self._enter(entering, [join.wanted])
        except BusError:
            entering.failed_at_once()
            raise
        return None

    async def _left(self, desk: ChatConnection, room: str) -> None:
        """Out and in again, to read on from another place."""
        desk.session.forget(room)  # whoever is closed meanwhile has left it already
        await self._app.leave(desk, room).wait()

    # ---- both --------------------------------------------------------------------------------------

    async def _take_place(self, user: str, room: str, rule: RoomRule, places: list[str]) -> None:
        """Raises RequestError where the room is full and the user is not one of those in it; BusError."""
        if rule.members:
            if not await self._app.occupancy.take(room, user, rule.members):
                raise RequestError("limit_reached", "this room is full", field="room")
            places.append(room)

    def give_back(self, user: str, places: list[str]) -> None:
        """Somebody does not come in after all."""
        while places:
            self._app.occupancy.give_back(places.pop(), user)

    def _enter(self, entering: RoomEntry, wanted: Sequence[commands.Wanted]) -> None:
        """Become a member of all these rooms at once; then the desk goes on, or gives up. Raises BusError."""
        desk = entering.desk
        if desk.session.phase is SessionPhase.ENDED:  # closed while we asked
            raise Unavailable("the connection was closed")
        positions = [
            (one.room, None if one.since is None else Position(one.since.epoch, one.since.offset)) for one in wanted
        ]
        self._app.hub.members.join(desk.connection, positions, entering.announce, entering.failed)

    def next_turn(self, entering: RoomEntry, rest: Effects) -> None:
        """Let somebody go on once it is a member, which it becomes in this turn."""
        if not self._arrived:
            self._app.node.loop.call_soon(self._go_on)
        self._arrived.append((entering, rest))

    def _go_on(self) -> None:
        arrived, self._arrived = self._arrived, []
        for entering, rest in arrived:
            try:
                entering.go_on(rest)
            except Exception as error:  # a bug: it costs this one
                entering.desk.failed(error)

    async def _look(self, identity: Identity, wanted: Sequence[commands.Wanted]) -> list[RoomInfo]:
        """What the answer needs to know of each room. Raises BusError."""
        if not identity.fresh:
            if len(wanted) == 1:  # without tasks it costs a tenth
                return [await self._before(identity, wanted[0].room)]
            return list(await asyncio.gather(*(self._before(identity, one.room) for one in wanted)))
        options, known = self._app.context.options, self._app.presence.known
        found = []
        for one in wanted:
            rule, members = options.of(one.room), None
            if rule.presence or rule.members:
                members = known(one.room)
                if members is None:
                    members = await self._app.presence.counted(one.room)
            found.append(RoomInfo(rule, members))
        return found

    async def _before(self, identity: Identity, room: str) -> RoomInfo:
        rule = self._app.context.options.of(room)
        members = await self._app.presence.counted(room) if rule.presence or rule.members else None
        return RoomInfo(rule, members, await self._app.marks.look(room, identity.user))

    async def _present(self, desk: ChatConnection, rooms: Sequence[str]) -> list[RoomState]:
        """Where a member stands. Raises BusError."""
        before = await self._look(desk.session.identity, [commands.Wanted(room) for room in rooms])
        positions = [self._app.hub.position(room) for room in rooms]
        return [
            RoomState(
                room=room,
                epoch=position.epoch if position else "",
                offset=position.offset if position else 0,
                members=known.members if known.rule.presence else None,
                unread=known.mark.unread if known.mark else None,
                read=known.mark.read if known.mark else None,
            )
            for room, position, known in zip(rooms, positions, before, strict=True)
        ]


def _with_rooms(
    admit: effects.Admit, wanted: Sequence[commands.Wanted], refused: Sequence[effects.Reply]
) -> effects.Admit:
    return msgspec.structs.replace(admit, wanted=tuple(wanted), refused=tuple(refused))
