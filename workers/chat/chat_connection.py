"""The desk of one connection: it hands what comes to the session, and carries out what the session wants.

The hot path, `say`, is a callback from end to end: no task, no future, and the ack is written as bytes where the
store's answer arrives. What needs more than one answer of the store (`hello`, `join`, `history`, …) is a coroutine, one
at a time: meanwhile the connection's next requests wait here, a few of them, and then in its socket.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

import msgspec

from workers.addressing import inbox_of, is_inbox
from workers.bus.port import BusError, KeyConflict, NoTarget, NotAuthor, Placed, StoreRefused, TooMany
from workers.chat.direct_messages import with_peer
from workers.chat.rules import replies
from workers.chat.rules.commands import RequestId
from workers.chat.rules.effects import (
    Admit,
    AmendMessage,
    ChangeName,
    CloseSession,
    Consult,
    Effect,
    Effects,
    EnterRoom,
    Greet,
    LeaveRoom,
    MarkRead,
    Moderate,
    Publish,
    PublishDirect,
    PublishNotice,
    ReadHistory,
    ReadMembers,
    Reply,
    TellRead,
)
from workers.chat.rules.request_error import RequestError
from workers.chat.rules.session import ChatSession
from workers.chat.rules.state import SessionPhase
from workers.chat.user_rate import Account
from workers.transport.frames import text_frame

if TYPE_CHECKING:
    from workers.chat.app import ChatApplication
    from workers.connection import Connection

logger = logging.getLogger(__name__)

BACKLOG: Final = 16  # requests that wait here; then the socket is not read
IN_FLIGHT: Final = 256  # publications without an answer; then the socket is not read
UNAVAILABLE_MS: Final = 1000

Work = Coroutine[Any, Any, Effects | None]  # None: somebody else will say what follows, by `go_on` or `give_up`


class ChatConnection:
    """One connection of the chat."""

    __slots__ = ("_account", "_app", "_backlog", "_in_flight", "_waiting", "_working", "connection", "session")

    def __init__(self, app: ChatApplication, connection: Connection, session: ChatSession) -> None:
        self._app = app
        self.connection = connection
        self.session = session
        self._account: Account | None = None  # of the user, once something was asked
        self._working = 0  # coroutines under way: one, or for a moment the next as well
        self._backlog: list[str | bytes] | None = None  # what came meanwhile
        self._in_flight = 0  # publications under way
        self._waiting = False  # the socket is not read

    # ---- in ----------------------------------------------------------------------------------------

    def received(self, data: str | bytes) -> None:
        """Carry a request out, or say that it is one too many of its user; where others have to come first, later."""
        if self._working:
            self._wait(data)
            return
        now, account = time.time(), self._account
        if account is None:
            account = self._open_account()
        if account is None or account.spend(len(data), now):
            self.carry_out(self.session.receive_data(data, now))
        elif now < account.blocked_until:
            self.carry_out(self.session.one_too_many(data, account.blocked_until - now))
        elif owed := account.borrow(len(data), now):
            self.carry_out(self.session.receive_data(data, now))
            self._app.user_rate.lease(account, owed)  # last: by one batch with what the request asks of the store
        else:
            self._start(self._take_later(account, data), None, "a lease of requests")

    def _wait(self, data: str | bytes) -> None:
        """Keep a request until those before it are done."""
        if self._backlog is None:
            self._backlog = []
        self._backlog.append(data)
        if len(self._backlog) == BACKLOG:
            self._pause()

    def _open_account(self) -> Account | None:
        """That of the user, once it is known who that is; None: there is no limit, or nobody yet."""
        if self._app.user_rate.limited and self.session.phase is SessionPhase.OPEN:
            self._account = self._app.user_rate.account(self.session.identity.user)
        return self._account

    async def _take_later(self, account: Account, data: str | bytes) -> Effects:
        wait = await self._app.user_rate.spend(account, len(data))
        return self.session.one_too_many(data, wait) if wait else self.session.receive_data(data, time.time())

    @property
    def idle(self) -> bool:
        """Nothing is under way: every request was answered, or none has come yet."""
        return not self._working and not self._in_flight and self.session.phase in (SessionPhase.NEW, SessionPhase.OPEN)

    def _pause(self) -> None:
        if not self._waiting:
            self._waiting = True
            self.connection.ws.pause_reading()

    def _resume(self) -> None:
        if self._waiting and not self._working and self._in_flight < IN_FLIGHT // 2:
            self._waiting = False
            self.connection.ws.resume_reading()

    def _start(self, work: Work, request: RequestId, what: str) -> None:
        """Carry out a coroutine and then what it returns; until then the connection's requests wait."""
        self._working += 1
        self._app.tasks.start(self._worked(work, request), what=what)

    def go_on(self, effects: Effects) -> None:
        """What a coroutine left to others has been done, and this follows."""
        try:
            self._finish(effects)
        except Exception as error:
            self.failed(error)

    def give_up(self, request: RequestId, error: BusError) -> None:
        """What a coroutine left to others could not be done."""
        self.go_on(self._refused(request, _why(error)))

    def _finish(self, effects: Effects) -> None:
        """A coroutine has ended: do what follows, then what came meanwhile, as far as nothing new is under way."""
        self._working -= 1
        if effects and self.connection.ws.is_open:
            self.carry_out(effects)
        while self._backlog and not self._working and self.session.phase is not SessionPhase.ENDED:
            self.received(self._backlog.pop(0))
        if not self._backlog:
            self._backlog = None
        if self._waiting:
            self._resume()

    async def _worked(self, work: Work, request: RequestId) -> None:
        try:
            try:
                effects = await work
            except RequestError as mistake:
                effects = self._refused(request, mistake)
            except BusError as error:
                effects = self._refused(request, _why(error))
            if effects is not None:
                self._finish(effects)
        except Exception as error:
            self.failed(error)

    def _refused(self, request: RequestId, why: RequestError) -> Effects:
        self._app.moderation.coming.end(self)
        return self.session.refused(request, why)

    def failed(self, error: BaseException) -> None:
        """A bug: it is logged once, and costs this connection."""
        self._app.node.counters.callback_errors += 1
        logger.error("the chat failed for connection %s; it is closed (1011)", self.connection.id, exc_info=error)
        self._app.ended(self)
        self.session.phase = SessionPhase.ENDED
        self._backlog = None
        self.connection.close(1011, "internal error")

    # ---- out ---------------------------------------------------------------------------------------

    def carry_out(self, effects: Effects) -> None:
        """Do what the session wants, in order."""
        for effect in effects:
            _CARRY_OUT[type(effect)](self, effect)

    def _reply(self, effect: Reply) -> None:
        self.connection.ws.write_frame(text_frame(effect.payload))

    def say(self, payload: bytes) -> None:
        """Tell the client something that is no answer."""
        self._reply(Reply(payload))

    def _bye(self, effect: CloseSession) -> None:
        if effect.note:
            address = self.connection.remote_ip or "a unix socket"
            logger.info(
                "connection %s from %s is refused (%d): %s", self.connection.id, address, effect.code, effect.note
            )
        self._reply(Reply(replies.bye(effect.code, effect.reason, effect.retry_after_ms)))
        self._app.ended(self)
        self.connection.close(effect.code, effect.reason)

    # ---- messages ----------------------------------------------------------------------------------

    def _publish(self, effect: Publish, *, placed: Callable[[Placed], None] | None = None) -> None:
        if effect.slow_mode:
            self._pace(effect, lambda: self._publish(msgspec.structs.replace(effect, slow_mode=0.0), placed=placed))
        elif effect.reply_to is not None:
            self._append(effect, effect.content or None, placed, reply_to=effect.reply_to)
        else:
            self._append(effect, effect.content or None, placed)

    def _append(
        self,
        effect: Publish | AmendMessage,
        digest: bytes | None,
        placed: Callable[[Placed], None] | None,
        **how: Any,
    ) -> None:
        """Have it kept, then acknowledge it; `placed` hears where."""
        request, room, ws = effect.id, effect.room, self.connection.ws

        def done(result: Placed | BusError) -> None:
            if isinstance(result, Placed):
                answer = replies.ack(
                    request, room=room, epoch=result.epoch, offset=result.offset, duplicate=result.duplicate
                )
                ws.write_frame(text_frame(answer))
                if placed is not None:
                    placed(result)
                if kept is not None and not result.duplicate:
                    kept(room, result, effect.payload)
            else:
                why = _why(result)
                if "reply_to" in how and why.field == "offset":
                    why.field = "reply_to"
                self._reply(why.reply(request))
            self._landed()

        kept = self._app.kept
        self._took_off()
        self._app.hub.publish(
            room,
            effect.payload,
            form="j",
            done=done,
            author=self.session.identity.user,
            key=effect.key,
            digest=digest,
            **how,
        )

    def _pace(self, effect: Publish | AmendMessage, publish: Callable[[], None]) -> None:
        """Publish in a slow room, once the store says that it is time."""
        identity = self.session.identity

        def paced(wait: float | BusError) -> None:
            self._landed()
            if isinstance(wait, BusError):
                self._reply(_why(wait).reply(effect.id))
            elif wait:
                self._reply(RequestError("rate_limited", "this room is slow", retry_after=wait).reply(effect.id))
            else:
                publish()

        self._took_off()
        address = self.session.address if identity.guest else ""
        self._app.marks.pace(effect.room, identity.user, address, effect.key, effect.slow_mode, paced)

    def _publish_direct(self, effect: PublishDirect) -> None:
        """The receiver's inbox first, then one's own, under the same key: a retry finishes what a fault broke off."""
        if not effect.key:
            self._publish_to_both(effect)
            return

        def claimed(free: bool | BusError) -> None:
            self._landed()
            if free is True:
                self._publish_to_both(effect)
            else:
                self._reply(_why(KeyConflict() if free is False else free).reply(effect.id))

        self._took_off()
        self._app.marks.claim(self.session.identity.user, effect.key, effect.content, claimed)

    def _publish_to_both(self, effect: PublishDirect) -> None:
        if effect.reply_to is not None:
            self._start(self._answer_directly(effect), effect.id, "direct")
            return
        user = self.session.identity.user
        own = Publish(effect.id, inbox_of(user), effect.own_payload, effect.key, effect.content)
        if effect.to == user:
            self._publish(own)
            return

        def done(result: Placed | BusError) -> None:
            self._landed()
            if isinstance(result, BusError):
                self._reply(_why(result).reply(effect.id))
                return
            copy = msgspec.structs.replace(own, payload=with_peer(own.payload, result.offset))
            self._publish(copy, placed=lambda place: self._app.marks.pair(inbox, result.offset, place.offset))

        inbox = inbox_of(effect.to)
        self._took_off()
        self._app.hub.publish(
            inbox,
            effect.payload,
            form="j",
            done=done,
            author=user,
            key=effect.key,
            digest=effect.content,
        )

    async def _answer_directly(self, effect: PublishDirect) -> Effects:
        return (await self._app.mirror.answering(self, effect),)

    def _amend(self, effect: AmendMessage) -> None:
        if is_inbox(effect.room):
            self._start(self._app.mirror.amend(self, effect), effect.id, effect.change.verb)
            return

        def append() -> None:
            self._append(effect, effect.content, None, change=effect.change, any_author=effect.any_author)

        if effect.slow_mode:
            self._pace(effect, append)
        else:
            append()

    def _took_off(self) -> None:
        self._in_flight += 1
        if self._in_flight == IN_FLIGHT:
            self._pause()

    def _landed(self) -> None:
        self._in_flight -= 1
        self._resume()

    # ---- what is not kept in a log -------------------------------------------------------------------

    def _mark_read(self, effect: MarkRead) -> None:
        self._app.mark_read(effect.room, self.session.identity.user, effect.offset)

    def _tell_read(self, effect: TellRead) -> None:
        self._start(self._app.mirror.tell_read(self, effect), None, "read")

    def _note(self, effect: PublishNotice) -> None:
        self._app.note(effect.room, effect.payload)

    def _rename(self, effect: ChangeName) -> None:
        self._start(self._app.rename(self, effect), effect.id, "rename")

    # ---- rooms -------------------------------------------------------------------------------------

    def _leave(self, effect: LeaveRoom) -> None:
        left = self._app.leave(self, effect.room)
        if left.is_set():
            self._reply(Reply(effect.answer))
        else:
            self._start(self._left(left, effect), effect.id, "leave")

    async def _left(self, left: asyncio.Event, effect: LeaveRoom) -> Effects:
        await left.wait()
        return (Reply(effect.answer),)

    def _join(self, effect: EnterRoom) -> None:
        self._start(self._app.entrance.join(self, effect), effect.id, "join")

    def _admit(self, effect: Admit) -> None:
        if self.session.context.consulted:  # the application's own coroutines are run by tasks
            self._start(self._app.entrance.admit(self, effect), effect.id, "hello")
            return
        self._working += 1
        self._app.tasks.begin(self._worked(self._app.entrance.admit(self, effect), effect.id), what="hello")

    def _greet(self, effect: Greet) -> None:
        self._start(self._app.greet(self, effect), effect.id, "hello")

    def _read_history(self, effect: ReadHistory) -> None:
        self._start(self._app.read_history(self, effect), effect.id, "history")

    def _read_members(self, effect: ReadMembers) -> None:
        self._start(self._app.read_members(self, effect), effect.id, "members")

    def _moderate(self, effect: Moderate) -> None:
        self._start(self._app.moderation.moderate(self, effect), effect.id, str(effect.verb))

    def _consult(self, effect: Consult) -> None:
        self._start(self._app.consult(self, effect), effect.command.id, f"the hook {effect.hook}")


def _why(error: BusError) -> RequestError:
    """What a client is told when the store did not do it."""
    if isinstance(error, KeyConflict):
        return RequestError("bad_request", "this key was used with other content", field="key")
    if isinstance(error, NoTarget):
        return RequestError("not_found", "there is no such message any more", field="offset")
    if isinstance(error, NotAuthor):
        return RequestError("forbidden", "somebody else wrote this message", field="offset")
    if isinstance(error, TooMany):
        return RequestError("limit_reached", "this message has reactions enough", field="offset")
    again = UNAVAILABLE_MS / 1000
    if isinstance(error, StoreRefused):
        return RequestError("refused", "the store takes nothing now; this was not done", retry_after=again)
    return RequestError("unavailable", "the store did not answer; the outcome is unknown", retry_after=again)


_CARRY_OUT: Final[dict[type[Effect], Callable[[ChatConnection, Any], None]]] = {
    Reply: ChatConnection._reply,
    CloseSession: ChatConnection._bye,
    Admit: ChatConnection._admit,
    Greet: ChatConnection._greet,
    EnterRoom: ChatConnection._join,
    LeaveRoom: ChatConnection._leave,
    Publish: ChatConnection._publish,
    PublishDirect: ChatConnection._publish_direct,
    AmendMessage: ChatConnection._amend,
    MarkRead: ChatConnection._mark_read,
    TellRead: ChatConnection._tell_read,
    PublishNotice: ChatConnection._note,
    ChangeName: ChatConnection._rename,
    ReadHistory: ChatConnection._read_history,
    ReadMembers: ChatConnection._read_members,
    Moderate: ChatConnection._moderate,
    Consult: ChatConnection._consult,
}
