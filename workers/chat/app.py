"""ChatApplication: the chat as an application of a worker. It builds the parts, and passes events on to them.

`create(worker, node)` builds it in the process that serves.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from workers.addressing import user_id
from workers.bus.port import BusError, Placed
from workers.chat.chat_connection import ChatConnection
from workers.chat.connections import ChatConnections
from workers.chat.daily_quota import GUEST_COST, DailyQuota
from workers.chat.direct_messages import DirectMessages
from workers.chat.effect_executor import EffectExecutor
from workers.chat.hello import HelloFlow
from workers.chat.hook_runner import HookRunner
from workers.chat.hooks import Hooks
from workers.chat.join import JoinFlow
from workers.chat.lost_orders import LostOrders
from workers.chat.moderation import ModerationService
from workers.chat.name_claims import NameClaims
from workers.chat.occupancy import Occupancy
from workers.chat.orders import OrderLog
from workers.chat.publisher import MessagePublisher
from workers.chat.pushes import Pushes
from workers.chat.renames import Renames
from workers.chat.roles import Roles
from workers.chat.room_entry import PendingJoins, RoomEntries
from workers.chat.room_presence import RoomPresence
from workers.chat.rules import replies
from workers.chat.rules.amendments import amended
from workers.chat.rules.commands import request_size
from workers.chat.rules.context import Context
from workers.chat.rules.identity import Identities, identity_of_login
from workers.chat.rules.mentions import MentionIndex
from workers.chat.rules.moderators import ModeratorIndex
from workers.chat.rules.names import cleaned
from workers.chat.rules.session import ChatSession, LoggedInSession
from workers.chat.rules.state import SessionPhase, SessionState
from workers.chat.services import ChatServices
from workers.chat.session_timeouts import SessionTimeouts
from workers.chat.store import ChatStore
from workers.chat.token_keys import TokenKeys
from workers.chat.user_rate import UserRate
from workers.close_codes import CloseCode
from workers.http import page
from workers.ip_addresses import network_of
from workers.node.published_settings import CHAT, Notice
from workers.rooms.types import Gap, Reset

if TYPE_CHECKING:
    from workers.node.client_connection import ClientConnection
    from workers.node.node import Node
    from workers.presence import PresenceChange

logger = logging.getLogger(__name__)

SUBPROTOCOL: Final = "chat.v1.json"
RETRY: Final = 1.0  # seconds between two tries to read from a store that is away


class ChatApplication:
    """The chat on one worker; see `workers.node.application.Application` for its callbacks."""

    any_path = False
    binary = False
    subprotocols: tuple[str, ...] = (SUBPROTOCOL,)

    def __init__(self, node: Node, hooks: Hooks) -> None:
        self._hub = node.hub
        self._lease = node.lease
        self._counters = node.counters
        self._tasks = node.tasks
        self._notice = Notice(node.bus, node.settings, CHAT, node.launch.worker)
        settings = node.settings
        self._identities = Identities(
            settings.auth, guest_secret=None, new_guest=_new_guest, is_dev=settings.server.dev
        )
        services = self._services = _services(node, hooks, self._identities)
        verifier = self._identities.verifier
        self._token_keys = TokenKeys(services, verifier, settings.auth.jwks_refresh) if verifier.url else None
        self._context = services.context
        self._guests = services.store.guests

        hook_runner = HookRunner(hooks, node.tasks, node.counters, node.backend, is_dev=node.settings.server.dev)
        on_kept = hook_runner.notify_kept if "kept" in hooks.callbacks else None
        orders = OrderLog(lambda room, entry: node.publish(room, entry, form="t"))
        pending = PendingJoins()
        self._occupancy = Occupancy(node.bus, node.lease, node.settings.master.name)
        claims = self.claims = NameClaims(node.bus, node.lease, node.settings.master.name, node.tasks)
        self._timeouts = SessionTimeouts(
            node.settings.limits.hello_timeout, services.connections, ticked=self._copy_counters
        )
        self._pushes = Pushes(services, settings.push) if settings.push.contact else None
        self.publisher = MessagePublisher(
            node.hub, services.mentions, services.store.read_positions, on_kept, self._pushes
        )
        self._room_presence = RoomPresence(services, self._occupancy)
        self.direct_messages = DirectMessages(services, self.publisher, self._room_presence)
        self._roles = Roles(services, orders)
        self._daily_quota = DailyQuota(node.bus, node.settings)
        renames = Renames(services, orders, self._roles, self._room_presence, claims, self._daily_quota)
        self._lost_orders = LostOrders(services, renames, self._roles)
        self.moderation = ModerationService(services, orders, pending, renames, self._roles, self._lost_orders)
        entries = RoomEntries(services, self._room_presence, self._occupancy, pending)
        self._hello = HelloFlow(services, pending, renames, claims, self._roles, hook_runner, entries, self._timeouts)
        self._executor = EffectExecutor(
            services,
            user_rate=UserRate(node.bus, node.settings, store_answers=lambda: node.bus.state == "ready"),
            daily_quota=self._daily_quota,
            publisher=self.publisher,
            room_presence=self._room_presence,
            pending=pending,
            renames=renames,
            claims=claims,
            hook_runner=hook_runner,
            hello=self._hello,
            join=JoinFlow(entries, self._room_presence, pending),
            moderation=self.moderation,
            direct_messages=self.direct_messages,
            token_keys=self._token_keys,
            pushes=self._pushes,
        )

    # ---- life --------------------------------------------------------------------------------------

    def frame_size(self, message_size: int) -> int:
        """JSON may take more bytes than the text that it carries."""
        return request_size(message_size)

    async def start(self) -> None:
        """Load the chat's state from the store; during a store outage only requests that need the state wait."""
        self._hub.teller = _told
        self._hub.amender = amended
        self._timeouts.start()
        self._occupancy.start(self._tasks)
        self.claims.start()
        if self._token_keys is not None:
            self._token_keys.start()
        if self._pushes is not None:
            await self._pushes.start()
        self._lease.when_reborn(lambda old: self._reload())
        self._notice.post()
        try:
            await self._load()
        except BusError:
            self._reload()

    def _reload(self) -> None:
        """Reload chat state after a store outage or data loss."""
        self._notice.post()
        self._tasks.start(self._load_later(), what="the chat's start")

    async def stop(self) -> None:
        self._timeouts.stop()
        if self._token_keys is not None:
            await self._token_keys.close()
        if self._pushes is not None:
            await self._pushes.close()

    def _copy_counters(self) -> None:
        self._counters.rate_limited = self._context.rate_limited

    async def _load(self) -> None:
        await self._roles.load()
        # After the store was wiped, a worker that knows the old secret brings it back, so that guests stay themselves.
        self._identities.signs_with(await self._guests.secret(self._identities.guest_secret))

    async def _load_later(self) -> None:
        while True:
            try:
                await self._load()
                return
            except BusError as error:
                logger.debug("the chat still waits for the store: %s", error)
            await asyncio.sleep(RETRY)

    def page(self) -> tuple[bytes | None, bytes | None, Mapping[str, bytes]]:
        """The page at `/`, the script at `/chat.js`, and the files that the page loads later."""
        auth = self._services.settings.auth
        built = page.build(page.SiteLinks(auth.login_url, auth.logout_url, auth.token_url))
        return built.html, built.script, built.parts

    # ---- connections -------------------------------------------------------------------------------

    def on_open(self, connection: ClientConnection) -> None:
        """The handshake is done: begin a session."""
        now = connection.opened_at
        session = self._new_session(connection, now)
        client = connection.app = ChatConnection(self._executor, connection, session)
        self._timeouts.await_hello(client, now)

    def _new_session(self, connection: ClientConnection, now: float) -> ChatSession:
        """A session of nobody, or of the user whom the program's `on_handshake` named. Raises ValueError."""
        address = network_of(connection.ws.address, self._context.limits.ipv6_prefix)
        accepted = connection.ws.accepted
        if accepted is None or not accepted.user:
            return ChatSession(self._context, connection.id, now, address=address)
        login = identity_of_login(accepted.user, accepted.session)
        return LoggedInSession(self._context, connection.id, now, address=address, login=login)

    def _network_of(self, connection: ClientConnection) -> str:
        """The network of a connection's address, as sanctions, limits and slow mode count it."""
        return network_of(connection.remote_ip, self._context.limits.ipv6_prefix)

    def on_message(self, connection: ClientConnection, data: str | bytes) -> None:
        """A message arrived."""
        connection.app.on_message(data)

    def on_close(self, connection: ClientConnection, code: int, reason: str) -> None:
        """The connection is gone."""
        session = connection.app.session
        identity, address = session.identity, session.address
        if identity.guest and address and self._daily_quota.takes(identity, address, "", GUEST_COST):
            self._guests.write_address(identity.user, address)
        self._end(connection.app)

    def _end(self, client: ChatConnection, *, moved: bool = False) -> None:
        self._timeouts.expect_no_hello(client)
        self._executor.end(client, moved=moved)
        client.session.phase = SessionPhase.ENDED

    def on_lost(self, connection: ClientConnection, error: Exception) -> None:
        """Nothing to do: the client comes back by itself, and `on_close` follows."""

    def on_write_paused(self, connection: ClientConnection) -> None:
        """Nothing to do: the rooms hold back data that the connection does not take."""

    def on_write_resumed(self, connection: ClientConnection) -> None:
        """Nothing to do: the rooms go on with the connection."""

    def announce_close(self, connection: ClientConnection, code: int, retry_after: float) -> None:
        """Send `bye` before the worker closes the connection."""
        reason = "service restart" if code == CloseCode.SERVICE_RESTART else "going away"
        connection.ws.send(replies.bye(code, reason, int(retry_after * 1000)).decode())

    # ---- moving to another worker --------------------------------------------------------------------

    def is_busy(self, connection: ClientConnection) -> bool:
        """Whether a request of the connection is not answered yet; a hello is one."""
        return not connection.app.idle

    def snapshot(self, connection: ClientConnection) -> Any:
        """The session's state, for the worker that the connection moves to."""
        return msgspec.to_builtins(connection.app.session.snapshot(time.time()))

    def on_moved(self, connection: ClientConnection) -> None:
        """The connection belongs to another worker, which counts it from now on."""
        self._end(connection.app, moved=True)

    def restore(self, connection: ClientConnection, state: Any, rooms: Sequence[str]) -> None:
        """The connection came from another worker: go on with its session."""
        snapshot, address = self._with_known_strings(connection, state), self._network_of(connection)
        session = ChatSession.restore(self._context, connection.id, snapshot, time.time(), address=address)
        client = connection.app = ChatConnection(self._executor, connection, session)
        if session.phase is SessionPhase.NEW:
            self._timeouts.await_hello(client, connection.opened_at)
            return
        self._hello.introduce(client, session.identity)
        self._room_presence.adopt(client)

    def _with_known_strings(self, connection: ClientConnection, state: Any) -> SessionState:
        """The state with the strings that others keep, too: a connection that moved costs as much as any other."""
        decoded = msgspec.convert(state, SessionState)
        identity, rooms = decoded.identity, tuple([self._hub.members.room_name(room) for room in decoded.rooms])
        if identity.user == connection.user:
            identity = msgspec.structs.replace(identity, user=connection.user)
        return msgspec.structs.replace(decoded, identity=identity, rooms=rooms)

    # ---- rooms -------------------------------------------------------------------------------------

    def on_presence_change(self, room: str, change: PresenceChange) -> None:
        """The users in a room that this worker has members in have changed."""
        self._room_presence.changed(room, change)

    def on_note(self, room: str, note: bytes) -> None:
        """A notice that is not kept arrived: a user is typing, or has read messages."""
        self._hub.show(room, note)

    # ---- orders and questions ------------------------------------------------------------------------

    def on_order(self, body: bytes, offset: int) -> None:
        """An order about a user arrived, from any worker."""
        self.moderation.on_order(body, offset)

    def on_orders_lost(self, room: str) -> None:
        """Orders of a log are lost."""
        self._lost_orders.on_orders_lost(room)

    async def say(self, room: str, text: str, *, user: str, name: str) -> int:
        """See `Chat.say`."""
        if not isinstance(text, str) or not isinstance(name, str):
            raise TypeError("text and name are strings")
        placed: Placed = await self.publisher.say(room, text, user=user_id(user), name=cleaned(name))
        return placed.offset


def _services(node: Node, hooks: Hooks, identities: Identities) -> ChatServices:
    mentions, moderators = MentionIndex(), ModeratorIndex()
    context = Context(
        node.settings,
        identities=identities,
        sanctions=node.registry.sanctions,
        moderators=moderators,
        mentions=mentions,
        consulted=hooks.consulted | node.backend.hooks,
    )
    return ChatServices(
        settings=node.settings,
        loop=node.loop,
        tasks=node.tasks,
        counters=node.counters,
        bus=node.bus,
        hub=node.hub,
        presence=node.presence,
        registry=node.registry,
        store=ChatStore.of(node.bus, node.settings),
        connections=ChatConnections(node.connections, node.moving, node.hub),
        context=context,
        mentions=mentions,
        moderators=moderators,
    )


def _told(room: str, what: Gap | Reset) -> bytes:
    """The payload for the members of a room if messages are lost, or the log begins again."""
    if isinstance(what, Gap):
        return replies.gap(room, what.epoch, what.first, what.last, changes=what.changes)
    return replies.reset(room, what.epoch, what.offset)


def _new_guest() -> str:
    return os.urandom(8).hex()
