"""The chat as an application of a worker: it ties the rules to rooms, presence, the store and the connections.

`create(worker, node)` builds it in the process that serves. What the rules want is carried out at each connection's
`Desk`; what concerns everybody is here.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from workers.addressing import inbox_of, room_name, user_id
from workers.bus.port import BusError, Placed
from workers.chat import history
from workers.chat.chat_connection import ChatConnection
from workers.chat.direct_messages import DirectMessages
from workers.chat.gate import Gate
from workers.chat.hello import HelloFlow
from workers.chat.hook_runner import HookRunner
from workers.chat.hooks import Hooks
from workers.chat.lost_orders import LostOrders
from workers.chat.marks import ChatStore
from workers.chat.member_discovery import MOST, MemberDiscovery
from workers.chat.moderation import ModerationService
from workers.chat.occupancy import Occupancy
from workers.chat.renames import Renames
from workers.chat.rules import effects, entries, replies
from workers.chat.rules.amendments import amended
from workers.chat.rules.commands import Join, request_size
from workers.chat.rules.context import Context
from workers.chat.rules.effects import Effects
from workers.chat.rules.identity import Identities, Identity
from workers.chat.rules.mentions import MentionIndex
from workers.chat.rules.moderators import StaffList
from workers.chat.rules.names import cleaned, is_blank
from workers.chat.rules.rights import Role
from workers.chat.rules.session import ChatSession
from workers.chat.rules.state import SessionPhase, SessionState
from workers.chat.session_timeouts import SessionTimeouts
from workers.chat.user_rate import UserRate
from workers.http import page
from workers.ip_addresses import network_of
from workers.node.published_settings import CHAT, Notice
from workers.rate_limit import BYTES_A_TOKEN
from workers.rooms.types import Gap, Reset
from workers.tasks import answer_of

if TYPE_CHECKING:
    from workers.connection import Connection
    from workers.node.node import Node
    from workers.presence import PresenceChange

logger = logging.getLogger(__name__)

SUBPROTOCOL: Final = "chat.v1.json"
HISTORY_A_TOKEN: Final = 65_536  # bytes of history that are sent for a token, beside the one for asking
RETRY: Final = 1.0  # seconds between two tries to read from a store that is away


class ChatApplication:
    """The chat on one worker; see `workers.node.application.Application` for what it is told."""

    any_path = False
    binary = False
    subprotocols: tuple[str, ...] = (SUBPROTOCOL,)

    def __init__(self, node: Node, hooks: Hooks) -> None:
        self.node = node
        self.hub = node.hub
        self.presence = node.presence
        self.tasks = node.tasks
        self.hooks = hooks
        self.marks = ChatStore(node.bus, node.settings)
        self.occupancy = Occupancy(node.bus, node.lease, node.settings.master.name)
        self.user_rate = UserRate(node.bus, node.settings, store_answers=lambda: node.bus.state == "ready")
        self.people = MentionIndex()
        self.member_discovery = MemberDiscovery(self.presence, self.heard_of, self.tasks, here=self._users_here)
        self.staff = StaffList()
        self.gate = Gate(node.registry)
        self.moderation = ModerationService(self)
        self.naming = Renames(self, node.settings.store.timeout)
        self.lost_orders = LostOrders(self)
        self.mirror = DirectMessages(self)
        self.hook_runner = HookRunner(hooks, self.tasks, node.counters)
        self.kept = self.hook_runner.kept if "kept" in hooks.callbacks else None
        self.entrance = HelloFlow(self)
        self._identities = Identities(node.settings.auth, guest_secret=None, new_guest=_new_guest)
        self.context = Context(
            node.settings,
            identities=self._identities,
            sanctions=node.registry.sanctions,
            staff=self.staff,
            people=self.people,
            consulted=hooks.consulted,
        )
        self._notice = Notice(node.bus, node.settings, CHAT, node.launch.worker)
        self._told_at_most = node.settings.chat.presence_names  # what each of 1,000 does would be told a million times
        self._deadlines = SessionTimeouts(
            node.settings.limits.hello_timeout, node.connections, node.moving, ticked=self._copy_counters
        )

    # ---- life --------------------------------------------------------------------------------------

    def frame_size(self, message_size: int) -> int:
        """JSON may take more bytes than the text that it carries."""
        return request_size(message_size)

    async def start(self) -> None:
        """Learn what the store keeps for the chat; while it is away, only who needs it has to wait."""
        self.hub.teller = _told
        self.hub.amender = amended
        self._deadlines.start()
        self.occupancy.start(self.tasks)
        self.node.lease.when_reborn(lambda old: self._learn_again())
        self._notice.post()
        try:
            await self._learn()
        except BusError:
            self._learn_again()

    def _learn_again(self) -> None:
        """The store was away, or may have forgotten."""
        self._notice.post()
        self.tasks.start(self._learn_later(), what="the chat's start")

    async def stop(self) -> None:
        self._deadlines.stop()

    def _copy_counters(self) -> None:
        self.node.counters.rate_limited = self.context.rate_limited

    async def _learn(self) -> None:
        for officer in await self.marks.staff():
            self.staff.enlist(officer)
        # After the store was wiped, those who still know the old secret bring it back, so that guests stay themselves.
        self._identities.signs_with(await self.marks.guest_secret(self._identities.guest_secret))

    async def _learn_later(self) -> None:
        while True:
            try:
                await self._learn()
                return
            except BusError as error:
                logger.debug("the chat still waits for the store: %s", error)
            await asyncio.sleep(RETRY)

    def page(self) -> tuple[bytes | None, bytes | None]:
        """The page at `/` and the script at `/chat.js`."""
        built = page.build()
        return built.html, built.script

    # ---- connections -------------------------------------------------------------------------------

    def opened(self, connection: Connection) -> None:
        """The handshake is done: a session begins."""
        now = connection.opened_at
        session = ChatSession(self.context, connection.id, now, address=self._network_of(connection))
        desk = connection.app = ChatConnection(self, connection, session)
        self._deadlines.await_hello(desk, now)

    def _network_of(self, connection: Connection) -> str:
        """Where it comes from, as sanctions, limits and slow mode count it."""
        return network_of(connection.remote_ip, self.context.limits.ipv6_prefix)

    def received(self, connection: Connection, data: str | bytes) -> None:
        """One message came."""
        connection.app.received(data)

    def closed(self, connection: Connection, code: int, reason: str) -> None:
        """It is gone."""
        session = connection.app.session
        if session.identity.guest and session.address:
            self.marks.depart(session.identity.user, session.address)
        self.ended(connection.app)
        session.phase = SessionPhase.ENDED

    def ended(self, desk: ChatConnection, *, moved: bool = False) -> None:
        """Nothing more comes from this session: it is in no room, and counts no longer. Called once or twice."""
        session, rooms = desk.session, desk.session.rooms
        session.rooms = ()
        for room in rooms:
            self.went(desk, room, moved=moved)
        self.gate.release(desk.connection)
        self.moderation.coming.end(desk)

    def lost(self, connection: Connection, error: Exception) -> None:
        """Its client comes back by itself; `closed` follows."""

    def paused(self, connection: Connection) -> None:
        """The rooms hold back what it does not take."""

    def resumed(self, connection: Connection) -> None:
        """The rooms go on with it."""

    def farewell(self, connection: Connection, code: int, retry_after: float) -> None:
        """The worker is about to close it."""
        reason = "service restart" if code == 1012 else "going away"
        connection.ws.send(replies.bye(code, reason, int(retry_after * 1000)).decode())

    # ---- moving to another worker --------------------------------------------------------------------

    def busy(self, connection: Connection) -> bool:
        """Whether a request of it is not answered yet; its hello is one."""
        return not connection.app.idle

    def frozen(self, connection: Connection) -> Any:
        """The session on paper."""
        return msgspec.to_builtins(connection.app.session.snapshot(time.time()))

    def moved(self, connection: Connection) -> None:
        """It belongs to another worker now, which counts it from now on."""
        self.ended(connection.app, moved=True)
        connection.app.session.phase = SessionPhase.ENDED

    def thawed(self, connection: Connection, state: Any, rooms: Sequence[str]) -> None:
        """It comes from another worker."""
        written, address = msgspec.convert(state, SessionState), self._network_of(connection)
        session = ChatSession.restore(self.context, connection.id, written, time.time(), address=address)
        desk = connection.app = ChatConnection(self, connection, session)
        if session.phase is SessionPhase.NEW:
            self._deadlines.await_hello(desk, connection.opened_at)
            return
        self.introduce(desk, session.identity)
        for room in session.rooms:
            if self.context.options.of(room).members:
                self.occupancy.adopt(room, session.identity.user)
            if self.counted(room):
                self.came(desk, room, others=True)

    # ---- who is where ------------------------------------------------------------------------------

    def introduce(self, desk: ChatConnection, identity: Identity) -> None:
        """Somebody comes in: from now on the rooms know whose connection this is."""
        desk.connection.become(identity.user)
        desk.connection.ws.mark_identified()
        desk.session.identity = identity
        self.people.called(identity.user, identity.name)
        if identity.expires:
            self._deadlines.expires(desk, identity.expires)

    def _users_here(self, room: str) -> int:
        return len({desk.session.identity.user for desk in self.connections_by_room(room)})

    def came(self, desk: ChatConnection, room: str, *, others: bool) -> None:
        """A connection is in a room that is counted; `others` says that somebody was there before.

        If nobody of this worker was, it gets to know the others.
        """
        if self.presence.entered(room, desk.connection.user, desk.session.identity.name):
            self.member_discovery.begin(room, others=others)

    def went(self, desk: ChatConnection, room: str, *, moved: bool = False) -> None:
        """A connection is in a room no longer, or, `moved`, at another worker."""
        if self.context.options.of(room).members:
            give_back = self.occupancy.moved_away if moved else self.occupancy.give_back
            give_back(room, desk.connection.user)
        if self.counted(room):
            self.presence.left(room, desk.connection.user)

    def leave(self, desk: ChatConnection, room: str) -> asyncio.Event:
        """Take a connection out of a room; the event says that it is, after a batch that was being written."""
        left = asyncio.Event()
        self.went(desk, room)
        self.hub.members.leave(desk.connection, room, left.set)
        return left

    def renamed(self, desk: ChatConnection) -> None:
        """Somebody is called otherwise now, on this connection."""
        user, identity = desk.connection.user, desk.session.identity
        self.people.called(user, identity.name)
        if self.staff.role_of(user) is not Role.USER:
            self.tasks.start(self._enlist(identity), what="enlist a moderator")
        for room in desk.session.rooms:
            if self.counted(room):
                self.presence.renamed(room, user, identity.name)

    async def _enlist(self, identity: Identity) -> None:
        try:
            await self.moderation.enlist(identity)
        except BusError as error:
            logger.warning("not every worker knows yet that %s is called %s: %s", identity.user, identity.name, error)

    def connections_by_room(self, room: str) -> Iterator[ChatConnection]:
        """This worker's connections in a room; all of a user's are in the inbox."""
        for member in self.hub.members.of(room):
            connection = self.node.connections.get(member.id)
            if connection is not None and connection.app is not None:
                yield connection.app

    def counted(self, room: str) -> bool:
        """Whether it is counted who is in a room."""
        rule = self.context.options.of(room)
        return rule.presence or bool(rule.members)

    def shown(self, room: str) -> bool:
        """Whether those in a room are told who else is."""
        return self.context.options.of(room).presence

    def heard_of(self, user: str, name: str) -> None:
        """Somebody is called so, by late news perhaps: who is here is called what the connection says."""
        if next(self.connections_by_room(inbox_of(user)), None) is None:
            self.people.called(user, name)

    def presence_changed(self, room: str, change: PresenceChange) -> None:
        """Who is in a room that this worker has members in has changed."""
        for user, name in (*change.joined, *change.renamed):
            self.heard_of(user, name)
        if not change.complete and change.count <= MOST:
            self.member_discovery.meet(room)
        if not self.shown(room):
            return
        joined, left, renamed = ([{"user": u, "name": n} for u, n in one] for one in
                                 (change.joined, change.left, change.renamed))  # fmt: skip
        self.hub.show(room, replies.presence(room, joined=joined, left=left, renamed=renamed, count=change.count))

    # ---- what is not kept ----------------------------------------------------------------------------

    def note(self, room: str, payload: bytes) -> None:
        """Tell a room something that is not kept: who types, who has read. In a large room nobody is told."""
        if self.presence.count(room) <= self._told_at_most:
            self.hub.note(room, payload)

    def noted(self, room: str, note: bytes) -> None:
        """Such a note came."""
        self.hub.show(room, note)

    def mark_read(self, room: str, user: str, offset: int) -> None:
        """Keep how far somebody has read, and tell the room if that is news."""
        self.marks.mark(room, user, offset, lambda moved: self.note(room, replies.read(room, user, moved)))

    # ---- carried out for a desk ------------------------------------------------------------------------

    async def greet(self, desk: ChatConnection, greet: effects.Greet) -> Effects:
        if greet.name:
            await self.naming.rename(desk, greet.name)
        identity = desk.session.identity
        self._deadlines.expires(desk, identity.expires)
        await self.moderation.enlist(identity)
        if greet.ask_again:
            await self.entrance.ask_again(desk)
        return await self.entrance.greet(desk, greet)

    async def rename(self, desk: ChatConnection, rename: effects.ChangeName) -> Effects:
        await self.naming.rename(desk, rename.name, replies.done(rename.id))
        return ()

    async def read_history(self, desk: ChatConnection, asked: effects.ReadHistory) -> Effects:
        page = await history.history(self.node.bus, asked, user=desk.connection.user, learn=self.people.met)
        desk.session.charge(len(page.payload) / HISTORY_A_TOKEN)
        return (page,)

    async def read_members(self, desk: ChatConnection, asked: effects.ReadMembers) -> Effects:
        def here() -> Iterator[Identity]:
            return (one.session.identity for one in self.connections_by_room(asked.room))

        page = await history.members(self.presence.members, asked, here=here, learn=self.heard_of)
        desk.session.charge(len(page.payload) / BYTES_A_TOKEN)
        return (page,)

    async def consult(self, desk: ChatConnection, consult: effects.Consult) -> Effects:
        """Ask the application. Raises RequestError where it refuses."""
        if isinstance(consult.command, Join):
            self.moderation.coming.begin(desk, desk.session.identity.user)
        text = await self.hook_runner.ask(desk.connection, consult)
        return desk.session.approved(consult, time.time(), text=text)

    # ---- for the application -----------------------------------------------------------------------

    async def say(self, room: str, text: str, *, user: str, name: str) -> int:
        """See `Chat.say`."""
        if not isinstance(text, str) or not isinstance(name, str):
            raise TypeError("text and name are strings")
        return (await self.place(room, text, user=user_id(user), name=cleaned(name))).offset

    async def place(self, room: str, text: str, *, user: str, name: str) -> Placed:
        """Append somebody's text to a room's log. Raises ValueError for what is no room, BusError."""
        room = room_name(room)
        if is_blank(text):
            raise ValueError("nothing of this text can be seen")
        body = entries.body_of_text(text, self.people.mentioned(room, text) if "@" in text else ())
        return await self._publish(room, entries.message(room, entries.sender(user, name), body), author=user)

    async def _publish(self, room: str, payload: bytes, *, author: str) -> Placed:
        def publish(done: Callable[[Placed | BusError], None]) -> None:
            def stored(result: Placed | BusError) -> None:
                if isinstance(result, Placed) and self.kept is not None:
                    self.kept(room, result, payload)
                done(result)

            self.hub.publish(room, payload, form="j", done=stored, author=author)

        return await answer_of(publish)

    # ---- the operator, and other workers ---------------------------------------------------------------

    def told(self, body: bytes, offset: int) -> None:
        """An order about a user, from any worker."""
        self.moderation.told(body, offset)

    def missed(self, room: str) -> None:
        """Orders are lost."""
        self.lost_orders.missed(room)

    async def query(self, what: str, args: dict[str, Any]) -> list[dict[str, Any]] | None:
        """What the operator asks of the chat."""
        return await self.moderation.query(what, args)


def _told(room: str, what: Gap | Reset) -> bytes:
    if isinstance(what, Gap):
        return replies.gap(room, what.epoch, what.first, what.last, changes=what.changes)
    return replies.reset(room, what.epoch, what.offset)


def _new_guest() -> str:
    return os.urandom(8).hex()
