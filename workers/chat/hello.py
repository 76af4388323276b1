"""HelloFlow: carries out `hello`: limits and bans, the hooks, the name, and the rooms; and the second hello."""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec

from workers.addressing import is_inbox
from workers.bus.port import BusError
from workers.chat.chat_connection import ChatConnection
from workers.chat.hook_runner import HookRunner
from workers.chat.name_claims import NameClaims
from workers.chat.renames import Renames
from workers.chat.roles import Roles
from workers.chat.room_entry import PendingJoins, RoomEntries, RoomEntry, RoomInfo
from workers.chat.rules.commands import Wanted
from workers.chat.rules.effects import Admit, Effects, Greet, Reply
from workers.chat.rules.identity import Identity
from workers.chat.rules.permissions import ban_of, sanctioned_address
from workers.chat.rules.replies import RoomState
from workers.chat.rules.request_error import RequestError
from workers.chat.services import ChatServices
from workers.chat.session_timeouts import SessionTimeouts
from workers.close_codes import CloseCode


class HelloEntry(RoomEntry):
    """A connection that enters its rooms with a hello."""

    __slots__ = ("_admit", "_flow")

    def __init__(
        self, flow: HelloFlow, entries: RoomEntries, client: ChatConnection, admit: Admit,
        infos: Sequence[RoomInfo], places: list[str],
    ) -> None:  # fmt: skip
        super().__init__(entries, client, admit.id, infos, places)
        self._flow = flow
        self._admit = admit

    @property
    def user(self) -> str:
        return self._admit.identity.user

    def answer(self, states: list[RoomState]) -> Effects:
        return self.client.session.admitted(self._admit, states, time.time())

    def entered(self) -> None:
        self._flow.entered(self.client)

    def undo(self) -> None:
        self._flow.release(self.client)


class HelloFlow:
    """Carries out hellos for the connections of a worker."""

    def __init__(
        self,
        services: ChatServices,
        pending: PendingJoins,
        renames: Renames,
        claims: NameClaims,
        roles: Roles,
        hook_runner: HookRunner,
        entries: RoomEntries,
        timeouts: SessionTimeouts,
    ) -> None:
        self._context = services.context
        self._registry = services.registry
        self._mentions = services.mentions
        self._pending = pending
        self._renames = renames
        self._claims = claims
        self._roles = roles
        self._hook_runner = hook_runner
        self._entries = entries
        self._timeouts = timeouts

    # ---- the first hello ---------------------------------------------------------------------------

    async def admit(self, client: ChatConnection, admit: Admit) -> Effects | None:
        """Let a user in. Returns what follows where that is not the welcome, which is sent when the rooms are there.

        Raises RequestError, BusError.
        """
        session, identity = client.session, admit.identity
        sanctions = self._context.sanctions
        self._pending.begin(client, identity.user)
        places: list[str] = []  # rooms with a limit in which this connection has a place
        names: list[str] = []  # the name that is claimed for this hello, until the connection has it
        try:
            # What needs no answer of the store costs no coroutine: most who come are new, in rooms that are known.
            asked = self._registry.count_in(client.connection.id, identity.user, session.address, new=identity.fresh)
            refusal = await self._over_limit(client, asked) if asked else None
            if refusal is None and not sanctions.none:
                if banned := self._banned(client, identity):
                    return banned
                admit = self._without_banned(client, admit)
            if refusal is not None:
                return session.turned_away(*refusal)
            if "join" in self._context.consulted:
                admit = await self._consulted(client, admit)
            infos = await self._entries.look(identity, [one.room for one in admit.wanted])
            if [one for one in infos if one.rule.members]:
                admit, infos = await self._with_space(admit, infos, places)
            if admit.chosen or not identity.fresh:
                admit = await self._named(admit, infos[0], session.address, names)
            elif identity.guest:  # no await from here on: the next guest finds this name taken
                named = self._renames.name_guest(identity, session.address)
                if named is not identity:
                    admit = msgspec.structs.replace(admit, identity=named)
            if not identity.fresh and self._roles.concerns(identity):
                await self._roles.announce(admit.identity)
            self.introduce(client, admit.identity)
            self._entries.enter(HelloEntry(self, self._entries, client, admit, infos, places), admit.wanted)
        except BaseException as error:
            self._entries.give_back(identity.user, places)
            if isinstance(error, BusError | RequestError):
                self.release(client)
            raise
        finally:
            for name in names:
                self._claims.give_back((identity.user, name))
        return None

    async def _over_limit(self, client: ChatConnection, asked: list[str]) -> tuple[int, str] | None:
        """Close code and reason where the connection is one too many of those `asked` about. Raises BusError."""
        exceeded = await self._registry.ask(client.connection.id, asked)
        return None if exceeded is None else (CloseCode.TOO_MANY, exceeded)

    def _banned(self, client: ChatConnection, identity: Identity) -> Effects:
        """Tell a user who is banned from everything why and until when, and close; by now the store was asked."""
        sanctions, address, now = self._context.sanctions, sanctioned_address(client.session, identity), time.time()
        reason = sanctions.banned(identity.user, address, "", now)
        if reason is None:
            return ()
        return client.session.banned("", reason, sanctions.banned_until(identity.user, address, "", now))

    def release(self, client: ChatConnection) -> None:
        """Count a connection no longer that is not let in."""
        self._registry.release(client.connection.id)
        self._claims.unbind(client, moved=False)

    def _without_banned(self, client: ChatConnection, admit: Admit) -> Admit:
        """Refuse single rooms that the user is banned from; this worker knows of them since the store was asked."""
        now = time.time()
        wanted, refused = [], list(admit.refused)
        for one in admit.wanted:
            error = ban_of(client.session, admit.identity, one.room, now, field=admit.field_of(one.room))
            if error is None:
                wanted.append(one)
            else:
                refused.append(error.reply(None))
        return admit if len(wanted) == len(admit.wanted) else _with_rooms(admit, wanted, refused)

    async def _consulted(self, client: ChatConnection, admit: Admit) -> Admit:
        """Ask the application about each room of a hello."""
        wanted, refused = list(admit.wanted[:1]), list(admit.refused)
        for one in admit.wanted[1:]:
            try:
                await self._hook_runner.ask_join(client.connection, admit.identity, one.room)
            except RequestError as error:
                error.field = admit.field_of(one.room)
                refused.append(error.reply(None))
            else:
                wanted.append(one)
        return _with_rooms(admit, wanted, refused)

    async def _with_space(self, admit: Admit, infos: list[RoomInfo], places: list[str]) -> tuple[Admit, list[RoomInfo]]:
        """Refuse the rooms of a hello that are full; places in the others are taken, and noted in `places`."""
        wanted, known, refused = [], [], list(admit.refused)
        for one, info in zip(admit.wanted, infos, strict=True):
            try:
                await self._entries.take_place(admit.identity.user, one.room, info.rule, places)
            except RequestError as error:
                error.field = admit.field_of(one.room)
                refused.append(error.reply(None))
            else:
                wanted.append(one)
                known.append(info)
        return _with_rooms(admit, wanted, refused), known

    async def _named(self, admit: Admit, inbox: RoomInfo, address: str, names: list[str]) -> Admit:
        """Give the user the name that all of the user's connections have. Raises RequestError, BusError."""
        kept = inbox.position.name if inbox.position else ""
        identity = await self._renames.name_for(admit.identity, kept, address, chosen=admit.chosen, claimed=names)
        return msgspec.structs.replace(admit, identity=identity)

    def introduce(self, client: ChatConnection, identity: Identity) -> None:
        """Make a connection a user's: from now on the rooms know whose it is."""
        client.connection.become(identity.user)
        client.connection.ws.mark_identified()
        client.session.identity = identity
        self._claims.bind(client, identity.user, identity.name)
        self._mentions.add(identity.user, identity.name)
        self._timeouts.await_expiry(client, identity.expires)

    def entered(self, client: ChatConnection) -> None:
        """Give a new member the name that was ordered while it entered."""
        self._timeouts.expect_no_hello(client)
        self._renames.catch_up(client)

    # ---- the second hello ----------------------------------------------------------------------------

    async def greet(self, client: ChatConnection, greet: Greet) -> Effects:
        """Renew name, role and rooms; answer with the rooms as they are. Raises BusError."""
        if greet.name:
            await self._renames.rename(client, greet.name)
        identity = client.session.identity
        self._timeouts.await_expiry(client, identity.expires)
        await self._roles.announce(identity)
        if greet.ask_again:
            await self._ask_again(client)
        states = await self._entries.states(client, client.session.rooms)
        return client.session.greeted(greet.id, states, time.time())

    async def _ask_again(self, client: ChatConnection) -> None:
        """Leave the rooms that the application does not let the user join with the new role."""
        for room in client.session.rooms:
            if is_inbox(room):
                continue
            try:
                await self._hook_runner.ask_join(client.connection, client.session.identity, room)
            except RequestError as error:
                client.carry_out(client.session.expelled(room, str(error)))


def _with_rooms(admit: Admit, wanted: Sequence[Wanted], refused: Sequence[Reply]) -> Admit:
    return msgspec.structs.replace(admit, wanted=tuple(wanted), refused=tuple(refused))
