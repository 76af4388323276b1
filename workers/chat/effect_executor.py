"""EffectExecutor: carries out what sessions want done, for all connections of a worker.

The hot path, `say`, is a callback from end to end: no task, no future, and the ack is written as bytes where the
store's answer arrives.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import msgspec

from workers.addressing import inbox_of, is_inbox
from workers.bus.port import BusError, Change, KeyConflict, Placed, Position
from workers.chat import history
from workers.chat.chat_connection import ChatConnection, Work
from workers.chat.daily_quota import DailyQuota
from workers.chat.direct_messages import DirectMessages, with_peer
from workers.chat.hello import HelloFlow
from workers.chat.hook_runner import HookRunner
from workers.chat.join import JoinFlow
from workers.chat.moderation import ModerationService
from workers.chat.name_claims import NameClaims
from workers.chat.publisher import MessagePublisher
from workers.chat.pushes import Pushes
from workers.chat.renames import Renames
from workers.chat.room_entry import PendingJoins
from workers.chat.room_presence import RoomPresence
from workers.chat.rules import replies
from workers.chat.rules.commands import Join, RequestId
from workers.chat.rules.effects import (
    Admit,
    AmendMessage,
    ChangeName,
    CloseSession,
    Consult,
    Effect,
    Effects,
    EnterRoom,
    FetchKeys,
    ForgetSubscription,
    Greet,
    KeepSubscription,
    LeaveRoom,
    MarkRead,
    Moderate,
    Publish,
    PublishDirect,
    PublishNotice,
    ReadHistory,
    ReadMembers,
    ReadSanctions,
    Reply,
    TellRead,
)
from workers.chat.rules.identity import Identity
from workers.chat.rules.request_error import RequestError, from_bus_error
from workers.chat.rules.state import SessionPhase
from workers.chat.services import ChatServices
from workers.chat.token_keys import TokenKeys
from workers.chat.user_rate import UserRate
from workers.close_codes import CloseCode
from workers.rate_limit import BYTES_A_TOKEN
from workers.transport.frames import text_frame

logger = logging.getLogger(__name__)

HISTORY_A_TOKEN: Final = 65_536  # bytes of history that are sent for a token, beside the one for asking


class EffectExecutor:
    """One worker's executor; what takes several answers of the store is a flow of its own."""

    def __init__(
        self,
        services: ChatServices,
        *,
        user_rate: UserRate,
        daily_quota: DailyQuota,
        publisher: MessagePublisher,
        room_presence: RoomPresence,
        pending: PendingJoins,
        renames: Renames,
        claims: NameClaims,
        hook_runner: HookRunner,
        hello: HelloFlow,
        join: JoinFlow,
        moderation: ModerationService,
        direct_messages: DirectMessages,
        token_keys: TokenKeys | None,
        pushes: Pushes | None,
    ) -> None:
        self.tasks = services.tasks
        self.user_rate = user_rate
        self._daily_quota = daily_quota
        self._hub = services.hub
        self._bus = services.bus
        self._presence = services.presence
        self._registry = services.registry
        self._counters = services.counters
        self._connections = services.connections
        self._mentions = services.mentions
        self._moderators = services.moderators
        self._positions = services.store.read_positions
        self._slow_mode = services.store.slow_mode
        self._pairs = services.store.direct_pairs
        self._on_kept = publisher.on_kept
        self._room_presence = room_presence
        self._pending = pending
        self._renames = renames
        self._claims = claims
        self._hook_runner = hook_runner
        self._hello = hello
        self._join = join
        self._moderation = moderation
        self._direct_messages = direct_messages
        self._token_keys = token_keys
        self._pushes = pushes

    def carry_out(self, client: ChatConnection, effects: Effects) -> None:
        """Do what the session wants, in order."""
        for effect in effects:
            _CARRY_OUT[type(effect)](self, client, effect)

    # ---- the end of a request, and of a session ------------------------------------------------------

    def enter(self, client: ChatConnection, room: str, done: asyncio.Future[None]) -> Work:
        """Join a room for a program; `done` is told how that ended."""
        return self._join.enter(client, room, done)

    def refuse(self, client: ChatConnection, request: RequestId, error: RequestError) -> Effects:
        """End a hello, a join or another request that cannot be done; returns the answer."""
        self._pending.end(client)
        return client.session.refused(request, error)

    def fail(self, client: ChatConnection, error: BaseException) -> None:
        """Log a bug, and end the session and the connection (1011)."""
        self._counters.callback_errors += 1
        logger.error("the chat failed for connection %s; it is closed (1011)", client.connection.id, exc_info=error)
        self.end(client)
        client.session.phase = SessionPhase.ENDED
        client.connection.close(CloseCode.INTERNAL_ERROR, "internal error")

    def end(self, client: ChatConnection, *, moved: bool = False) -> None:
        """Take a session out of its rooms and counts; nothing more comes from it. Called once or twice."""
        self._room_presence.exit_all(client, moved=moved)
        self._registry.release(client.connection.id)
        self._claims.unbind(client, moved=moved)
        self._pending.end(client)

    # ---- to this connection --------------------------------------------------------------------------

    def _reply(self, client: ChatConnection, effect: Reply) -> None:
        client.connection.ws.write_frame(text_frame(effect.payload))

    def _close_session(self, client: ChatConnection, effect: CloseSession) -> None:
        connection = client.connection
        if effect.note:
            address = connection.remote_ip or "a unix socket"
            logger.info("connection %s from %s is refused (%d): %s", connection.id, address, effect.code, effect.note)
        client.send(replies.bye(effect.code, effect.reason, effect.retry_after_ms))
        self.end(client)
        connection.close(effect.code, effect.reason)

    # ---- messages ----------------------------------------------------------------------------------

    def _publish(
        self, client: ChatConnection, effect: Publish, *, placed: Callable[[Placed], None] | None = None
    ) -> None:
        if effect.slow_mode:
            at_once = msgspec.structs.replace(effect, slow_mode=0.0)
            self._take_turn(client, effect, lambda: self._publish(client, at_once, placed=placed))
        else:
            self._append(client, effect, effect.content or None, placed, reply_to=effect.reply_to)

    def _append(
        self,
        client: ChatConnection,
        effect: Publish | AmendMessage,
        digest: bytes | None,
        placed: Callable[[Placed], None] | None,
        *,
        change: Change | None = None,
        any_author: bool = False,
        reply_to: Position | None = None,
    ) -> None:
        """Append to a log, then acknowledge; `placed` gets the place. The rest is as in `Bus.publish`."""
        room = effect.room
        # A direct message was counted for both inboxes before it came here.
        session = client.session
        if not (
            is_inbox(room) or self._daily_quota.takes(session.identity, session.address, room, len(effect.payload))
        ):
            self._reply(client, _over_quota().reply(effect.id))
            return
        client.publishing()
        self._hub.publish(
            room,
            effect.payload,
            form="j",
            done=partial(self._appended, client, effect, placed),
            author=session.identity.user,
            key=effect.key,
            digest=digest,
            change=change,
            any_author=any_author,
            reply_to=reply_to,
        )

    def _appended(
        self,
        client: ChatConnection,
        effect: Publish | AmendMessage,
        placed: Callable[[Placed], None] | None,
        result: Placed | BusError,
    ) -> None:
        """Acknowledge what the store has appended, or say why it has not."""
        if isinstance(result, Placed):
            if effect.mentions:  # before the ack, so that whoever comes after it is told
                self._note_mentions(effect, result)
            answer = replies.ack(
                effect.id, room=effect.room, epoch=result.epoch, offset=result.offset, duplicate=result.duplicate
            )
            client.connection.ws.write_answer(text_frame(answer))
            if placed is not None:
                placed(result)
            if self._on_kept is not None and not result.duplicate:
                self._on_kept(effect.room, result, effect.payload)
        else:
            error = from_bus_error(result)
            if isinstance(effect, Publish) and effect.reply_to is not None and error.field == "offset":
                error.field = "reply_to"
            self._reply(client, error.reply(effect.id))
        client.published()

    def _note_mentions(self, effect: Publish | AmendMessage, place: Placed) -> None:
        offset = place.offset if isinstance(effect, Publish) else effect.change.target
        self._positions.mention(effect.room, offset, effect.mentions)
        if self._pushes is not None and isinstance(effect, Publish) and not place.duplicate:
            self._pushes.mentioned(effect.room, effect.payload, effect.mentions)

    def _may_keep(self, client: ChatConnection, room: str, size: int) -> bool:
        session = client.session
        return self._daily_quota.takes(session.identity, session.address, room, size)

    def _take_turn(self, client: ChatConnection, effect: Publish | AmendMessage, publish: Callable[[], None]) -> None:
        """Publish in a slow room, once the store grants the turn."""
        identity = client.session.identity

        def answered(wait: float | BusError) -> None:
            client.published()
            if isinstance(wait, BusError):
                self._reply(client, from_bus_error(wait).reply(effect.id))
            elif wait:
                slow = RequestError("rate_limited", "this room is slow", retry_after=wait)
                self._reply(client, slow.reply(effect.id))
            else:
                publish()

        client.publishing()
        address = client.session.address if identity.guest else ""
        self._slow_mode.take_turn(effect.room, identity.user, address, effect.key, effect.slow_mode, answered)

    def _publish_direct(self, client: ChatConnection, effect: PublishDirect) -> None:
        """The receiver's inbox first, then one's own, under the same key: a retry finishes what a fault broke off."""
        size = len(effect.payload) + len(effect.own_payload)
        # An answer to another message comes here again, when its other place is known.
        if effect.reply_to is None and not self._may_keep(client, inbox_of(effect.to), size):
            self._reply(client, _over_quota().reply(effect.id))
            return
        if not effect.key:
            self._publish_to_both(client, effect)
            return

        def claimed(free: bool | BusError) -> None:
            client.published()
            if free is True:
                self._publish_to_both(client, effect)
            else:
                self._reply(client, from_bus_error(KeyConflict() if free is False else free).reply(effect.id))

        client.publishing()
        self._pairs.claim(client.session.identity.user, effect.key, effect.content, claimed)

    def _publish_to_both(self, client: ChatConnection, effect: PublishDirect) -> None:
        if effect.reply_to is not None:
            client.start(self._answer_directly(client, effect), effect.id, "direct")
            return
        user = client.session.identity.user
        own = Publish(effect.id, inbox_of(user), effect.own_payload, effect.key, effect.content)
        if effect.to == user:
            self._publish(client, own)
            return

        def done(result: Placed | BusError) -> None:
            client.published()
            if isinstance(result, BusError):
                self._reply(client, from_bus_error(result).reply(effect.id))
                return
            if self._pushes is not None and not result.duplicate:
                self._pushes.written(effect.to, effect.payload)
            copy = msgspec.structs.replace(own, payload=with_peer(own.payload, result.offset))
            self._publish(client, copy, placed=lambda place: self._pairs.pair(inbox, result.offset, place.offset))

        inbox = inbox_of(effect.to)
        client.publishing()
        self._hub.publish(
            inbox, effect.payload, form="j", done=done, author=user, key=effect.key, digest=effect.content
        )

    async def _answer_directly(self, client: ChatConnection, effect: PublishDirect) -> Effects:
        return (await self._direct_messages.answering(client.session.identity.user, effect),)

    def _amend(self, client: ChatConnection, effect: AmendMessage) -> None:
        if is_inbox(effect.room):
            work = self._direct_messages.amend(client.session.identity.user, effect)
            client.start(work, effect.id, effect.change.verb)
            return

        def append() -> None:
            self._append(client, effect, effect.content, None, change=effect.change, any_author=effect.any_author)

        if effect.slow_mode:
            self._take_turn(client, effect, append)
        else:
            append()

    # ---- what is not kept in a log -------------------------------------------------------------------

    def _mark_read(self, client: ChatConnection, effect: MarkRead) -> None:
        self.mark_read(effect.room, client.session.identity.user, effect.offset)

    def mark_read(self, room: str, user: str, offset: int) -> None:
        """Keep how far a user has read, and tell the room where the position moved."""

        def moved(offset: int) -> None:
            self._room_presence.notify(room, replies.read(room, user, offset))

        self._positions.move(room, user, offset, moved)

    def _tell_read(self, client: ChatConnection, effect: TellRead) -> None:
        client.start(self._direct_messages.tell_read(client.session.identity.user, effect), None, "read")

    def _publish_notice(self, client: ChatConnection, effect: PublishNotice) -> None:
        self._room_presence.notify(effect.room, effect.payload)

    # ---- rooms -------------------------------------------------------------------------------------

    def _leave(self, client: ChatConnection, effect: LeaveRoom) -> None:
        left = self._room_presence.leave(client, effect.room)
        if left.is_set():
            client.send(effect.answer)
        else:
            client.start(self._left(left, effect), effect.id, "leave")

    async def _left(self, left: asyncio.Event, effect: LeaveRoom) -> Effects:
        await left.wait()
        return (Reply(effect.answer),)

    def _enter(self, client: ChatConnection, effect: EnterRoom) -> None:
        client.start(self._join.join(client, effect), effect.id, "join")

    def _admit(self, client: ChatConnection, effect: Admit) -> None:
        # The application's own coroutines need a task; without them most hellos are done at once.
        eager = not client.session.context.consulted
        client.start(self._hello.admit(client, effect), effect.id, "hello", eager=eager)

    def _greet(self, client: ChatConnection, effect: Greet) -> None:
        client.start(self._hello.greet(client, effect), effect.id, "hello")

    # ---- questions and orders ------------------------------------------------------------------------

    def _change_name(self, client: ChatConnection, effect: ChangeName) -> None:
        client.start(self._rename(client, effect), effect.id, "rename")

    async def _rename(self, client: ChatConnection, effect: ChangeName) -> Effects:
        await self._renames.rename(client, effect.name, replies.done(effect.id))
        return ()

    def _read_history(self, client: ChatConnection, effect: ReadHistory) -> None:
        client.start(self._history(client, effect), effect.id, "history")

    async def _history(self, client: ChatConnection, effect: ReadHistory) -> Effects:
        page = await history.history(self._bus, effect, user=client.connection.user, learn=self._mentions.add_if_new)
        client.session.charge(len(page.payload) / HISTORY_A_TOKEN)
        return (page,)

    def _read_members(self, client: ChatConnection, effect: ReadMembers) -> None:
        client.start(self._members(client, effect), effect.id, "members")

    async def _members(self, client: ChatConnection, effect: ReadMembers) -> Effects:
        def here() -> Iterator[Identity]:
            return (one.session.identity for one in self._connections.in_room(effect.room))

        page = await history.members(
            self._presence.members,
            effect,
            here=here,
            learn=self._room_presence.learn_name,
            role_of=self._moderators.role_of,
        )
        client.session.charge(len(page.payload) / BYTES_A_TOKEN)
        return (page,)

    def _read_sanctions(self, client: ChatConnection, effect: ReadSanctions) -> None:
        client.start(self._sanctions(client, effect), effect.id, "sanctions")

    async def _sanctions(self, client: ChatConnection, effect: ReadSanctions) -> Effects:
        page = await self._moderation.listed(effect)
        client.session.charge(len(page.payload) / BYTES_A_TOKEN)
        return (page,)

    def _keep_subscription(self, client: ChatConnection, effect: KeepSubscription) -> None:
        client.start(self._subscribed(client, effect), effect.id, "subscribe")

    async def _subscribed(self, client: ChatConnection, effect: KeepSubscription) -> Effects:
        if self._pushes is None:
            raise RequestError("forbidden", "this server sends no push messages", field="")
        if not self._may_keep(client, "", len(msgspec.json.encode(effect.subscription))):
            raise _over_quota()
        await self._pushes.subscribe(client.session.identity.user, effect.subscription)
        return (Reply(replies.done(effect.id)),)

    def _forget_subscription(self, client: ChatConnection, effect: ForgetSubscription) -> None:
        client.start(self._unsubscribed(client, effect), effect.id, "unsubscribe")

    async def _unsubscribed(self, client: ChatConnection, effect: ForgetSubscription) -> Effects:
        if self._pushes is not None:
            await self._pushes.unsubscribe(client.session.identity.user, effect.endpoint)
        return (Reply(replies.done(effect.id)),)

    def _moderate(self, client: ChatConnection, effect: Moderate) -> None:
        client.start(self._moderation.moderate(client, effect), effect.id, str(effect.verb))

    def _fetch_keys(self, client: ChatConnection, effect: FetchKeys) -> None:
        client.start(self._fetched(client, effect), effect.command.id, "the keys of tokens")

    async def _fetched(self, client: ChatConnection, effect: FetchKeys) -> Effects:
        if self._token_keys is not None:
            await self._token_keys.fetch_on_demand()
        return client.session.keys_fetched(effect.command, time.time())

    def _consult(self, client: ChatConnection, effect: Consult) -> None:
        client.start(self._ask(client, effect), effect.command.id, f"the hook {effect.hook}")

    async def _ask(self, client: ChatConnection, effect: Consult) -> Effects:
        """Ask the application. Raises RequestError where it refuses."""
        if isinstance(effect.command, Join):
            self._pending.begin(client, client.session.identity.user)
        text = await self._hook_runner.ask(client.connection, effect)
        return client.session.approved(effect, time.time(), text=text)


def _over_quota() -> RequestError:
    return RequestError("limit_reached", "as much as may be kept in a day has been; see limits.user_bytes, guest_bytes")


_CARRY_OUT: Final[dict[type[Effect], Callable[[EffectExecutor, ChatConnection, Any], None]]] = {
    Reply: EffectExecutor._reply,
    CloseSession: EffectExecutor._close_session,
    Admit: EffectExecutor._admit,
    Greet: EffectExecutor._greet,
    EnterRoom: EffectExecutor._enter,
    LeaveRoom: EffectExecutor._leave,
    Publish: EffectExecutor._publish,
    PublishDirect: EffectExecutor._publish_direct,
    AmendMessage: EffectExecutor._amend,
    MarkRead: EffectExecutor._mark_read,
    TellRead: EffectExecutor._tell_read,
    PublishNotice: EffectExecutor._publish_notice,
    ChangeName: EffectExecutor._change_name,
    ReadHistory: EffectExecutor._read_history,
    ReadMembers: EffectExecutor._read_members,
    ReadSanctions: EffectExecutor._read_sanctions,
    KeepSubscription: EffectExecutor._keep_subscription,
    ForgetSubscription: EffectExecutor._forget_subscription,
    Moderate: EffectExecutor._moderate,
    Consult: EffectExecutor._consult,
    FetchKeys: EffectExecutor._fetch_keys,
}
