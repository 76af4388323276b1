"""ChatSession: what one connection may do, and what follows from what it does. Pure.

Commands and past-tense events come in, effects go out; `effect_executor.py` carries them out and reports back::

    NEW ──hello, any request of a guest──► ADMITTING ──admitted──► OPEN ──Bye──► ENDED
     ▲ └──silence: hello_timed_out─────────┘    │
     └───────────────refused────────────────────┘

While a session waits for `admitted`, `joined` or `approved`, it receives no command: the requests of one connection
take effect in the order in which they arrive. `now` is Unix time in seconds throughout, and may jump.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from workers.addressing import inbox_of
from workers.chat.rules import admission, commands, posting, replies
from workers.chat.rules.commands import RequestId
from workers.chat.rules.context import Context
from workers.chat.rules.effects import (
    Admit,
    ChangeName,
    CloseSession,
    Consult,
    Effect,
    Effects,
    EnterRoom,
    FetchKeys,
    ForgetSubscription,
    KeepSubscription,
    LeaveRoom,
    Moderate,
    ReadHistory,
    ReadMembers,
    ReadSanctions,
    Reply,
    Verb,
)
from workers.chat.rules.entries import encode
from workers.chat.rules.identity import ROLE_NAMES, Presented, Refusal, Role
from workers.chat.rules.permissions import RULES, permit, sanctioned_address
from workers.chat.rules.replies import RoomState
from workers.chat.rules.request_error import RequestError
from workers.chat.rules.state import Actor, SessionPhase, SessionState
from workers.close_codes import CloseCode
from workers.push.subscription import PushSubscription

COME_BACK_MS: Final = 5_000  # after TOO_MANY and FLOOD
LARGE_ROOM: Final = 1_000  # users; joining so many costs a token more
ROOMS_A_TOKEN: Final = 100  # of a hello, beside the first token


class ChatSession(Actor):
    """The chat's view of one connection."""

    __slots__ = ("_first", "_said_hello", "connection", "phase")

    def __init__(self, context: Context, connection: str, now: float, *, address: str = "") -> None:
        super().__init__(context, now, address=address)
        self.connection = connection
        self.phase = SessionPhase.NEW
        self._first: commands.Command | None = None  # of a guest without a hello; handled after the welcome
        self._said_hello = False  # a hello came, and was refused for the time being

    # ---- commands ----------------------------------------------------------------------------------

    def receive_data(self, data: str | bytes, now: float) -> Effects:
        """Decode a message and handle the request, or answer what is wrong with it."""
        limits = self.context.limits
        if limits.rate:
            wait = self._bucket.take(limits, now, len(data))
            if wait:
                return self._slowed_down(data, wait)
        try:
            command = commands.decode(data)
        except (ValueError, RecursionError) as error:
            invalid = commands.explain(error, data)
            return (RequestError("bad_request", invalid.message, field=invalid.field).reply(invalid.id),)
        if len(data) > limits.message_size + commands.ENVELOPE and not isinstance(
            command, commands.Say | commands.Direct | commands.Edit
        ):
            return (RequestError("too_large", "only what is said may be so large").reply(command.id),)
        return self.receive(command, now)

    def receive(self, command: commands.Command, now: float) -> Effects:
        """Handle a request that is within the rate limit."""
        try:
            if self.phase is SessionPhase.OPEN:
                return _HANDLERS[type(command)](self, command, now)
            return self._begin(command, now)
        except RequestError as mistake:
            if mistake.code == "not_joined" and (again := commands.normalized(command)) is not command:
                return self.receive(again, now)  # joined under the normalized name
            return (mistake.reply(command.id),)

    def approved(self, consult: Consult, now: float, *, text: str | None = None) -> Effects:
        """The application's hook accepted the request, and may have changed the text."""
        command = consult.command
        if text is not None:
            command = msgspec.structs.replace(command, text=text)
        try:
            if self.phase is SessionPhase.ENDED:
                return ()
            if isinstance(command, commands.Hello):
                if self.phase is SessionPhase.ADMITTING:
                    assert isinstance(consult.identity, Presented)
                    return (admission.admit(self, consult.identity, command, now),)
                return admission.renewed(self, consult.identity, command)
            self._permit_still(command, now)
            return _APPROVED[type(command)](self, command, now)
        except RequestError as mistake:
            return (mistake.reply(command.id),)

    def _permit_still(self, command: commands.Command, now: float) -> None:
        """Raise RequestError if the user was banned, muted or removed from the room while the hook ran."""
        if isinstance(command, commands.Direct):
            permit(self, self.identity, "direct", inbox_of(command.to), now)
        elif isinstance(command, commands.Say | commands.Edit | commands.Join | commands.History):
            permit(self, self.identity, type(command).__name__.lower(), command.room, now)

    def one_too_many(self, data: str | bytes, wait: float) -> Effects:
        """The user exceeds the rate limit over all connections; it counts as if this connection did."""
        if self.phase is SessionPhase.ENDED:
            return ()
        self._bucket.refused += 1
        return self._slowed_down(data, wait)

    def _slowed_down(self, data: str | bytes, wait: float) -> Effects:
        self.context.rate_limited += 1
        if self._bucket.flooded(self.context.limits):
            return self._end(CloseCode.FLOOD, "too many requests", retry_after_ms=COME_BACK_MS)
        return (RequestError("rate_limited", "too many requests", retry_after=wait).reply(commands.id_of(data)),)

    # ---- hello ----------------------------------------------------------------------------------------

    def _begin(self, command: commands.Command, now: float) -> Effects:
        """Handle the first request; one that is no hello makes its sender a guest, where guests are allowed."""
        if isinstance(command, commands.Hello):
            self._said_hello = True
            self.charge(len(command.rooms) / ROOMS_A_TOKEN)
            return self._come_in(command, now)
        if not self._needs_no_token:
            raise RequestError("unauthorized", "say hello with a token first")
        effects = self._come_in(commands.Hello(), now)
        self._first = command
        return effects

    @property
    def _needs_no_token(self) -> bool:
        return self.context.identities.guests_allowed or self.login is not None

    def _come_in(self, command: commands.Hello, now: float) -> Effects:
        if command.token is not None and self.context.identities.lacks_key(command.token):
            self.phase = SessionPhase.ADMITTING
            return (FetchKeys(command),)
        return self._identify(command, now)

    def keys_fetched(self, command: commands.Hello, now: float) -> Effects:
        """The keys of tokens were fetched for a hello, or could not be."""
        if self.phase is SessionPhase.ENDED:
            return ()
        try:
            if self.phase is SessionPhase.OPEN:
                return admission.renew(self, command, now)
            return self._identify(command, now)
        except RequestError as mistake:
            return self.refused(command.id, mistake)

    def _identify(self, command: commands.Hello, now: float) -> Effects:
        identity = admission.identify(self, command, now)
        if isinstance(identity, Refusal):
            return self._end(CloseCode.UNAUTHORIZED, identity.reason, note=identity.note)
        self.phase = SessionPhase.ADMITTING
        if "hello" in self.context.consulted:
            return (Consult("hello", command, identity),)
        return (admission.admit(self, identity, command, now),)

    def admitted(self, admit: Admit, rooms: Sequence[RoomState], now: float) -> Effects:
        """The user is admitted to these rooms; the first request of a guest without a hello follows the welcome."""
        self.phase = SessionPhase.OPEN
        self.rooms = tuple([state.room for state in rooms])  # the rooms' own strings: one object for all members
        self.identity = admit.identity.settled()
        welcome = self._welcome(admit.id, rooms, now, token=admit.identity.token)
        first, self._first = self._first, None
        return (welcome, *admit.refused, *(self.receive(first, now) if first else ()))

    def refused(self, request: RequestId, mistake: RequestError) -> Effects:
        """The request could not be done. A connection that was not admitted may send hello again."""
        if self.phase is SessionPhase.ADMITTING:
            self.phase = SessionPhase.NEW
            if self._first is not None:
                request, self._first = self._first.id, None
        return (mistake.reply(request),)

    def turned_away(self, code: int, reason: str) -> Effects:
        """The user is not admitted: over a limit on connections (4004), or banned (4003), see `banned`."""
        return self._end(code, reason, retry_after_ms=COME_BACK_MS if code == CloseCode.TOO_MANY else 0)

    def greeted(self, request: RequestId, rooms: Sequence[RoomState], now: float) -> Effects:
        """A session was renewed; these are its rooms as they are now."""
        return (self._welcome(request, rooms, now),)

    def _welcome(self, request: RequestId, rooms: Sequence[RoomState], now: float, *, token: str = "") -> Reply:
        identity, context = self.identity, self.context
        return Reply(
            encode(
                replies.Welcome(
                    id=request,
                    connection=self.connection,
                    user=identity.user,
                    name=identity.name,
                    role=ROLE_NAMES[identity.role],
                    server_time=int(now * 1000),
                    ping_interval=context.ping_interval,
                    limits=context.limits_shown,
                    push=context.push_key or None,
                    rooms=rooms,
                    token=token or None,
                )
            )
        )

    def _renew(self, command: commands.Hello, now: float) -> Effects:
        if command.token is not None and self.context.identities.lacks_key(command.token):
            return (FetchKeys(command),)
        return admission.renew(self, command, now)

    # ---- timeouts and orders of others ----------------------------------------------------------------

    def hello_timed_out(self, now: float) -> Effects:
        """No hello arrived within `limits.hello_timeout`."""
        if self.phase is not SessionPhase.NEW:
            return ()
        # A client that sent a hello expects its own identity, and must not become a guest without rooms.
        if self._said_hello or not self._needs_no_token:
            return self._end(CloseCode.NO_HELLO, "no hello in time")
        try:
            return self._come_in(commands.Hello(), now)
        except RequestError:
            return ()  # the store is away: no request waits for an answer, and the timeout comes again

    def awaits_end(self, at: float) -> bool:
        """Whether the session has to be looked at when that time comes: its token expires then, and was not renewed."""
        return self.phase is not SessionPhase.ENDED and self.identity.expires == at

    def token_timed_out(self, now: float) -> Effects:
        """The time has come at which a token of this session expires, unless it was renewed."""
        if self.phase is not SessionPhase.OPEN or not self.identity.expires or now < self.identity.expires:
            return ()
        return self._end(CloseCode.UNAUTHORIZED, "the token has expired")

    def lost(self, room: str, reason: str) -> Effects:
        """The connection left a room in order to join it again, and the join failed."""
        return () if self.phase is SessionPhase.ENDED else (Reply(replies.left(None, room, reason=reason)),)

    def removed(self, reason: str) -> Effects:
        """The user was kicked or banned from everything."""
        return () if self.phase is SessionPhase.ENDED else self._end(CloseCode.REMOVED, reason)

    def kicked(self, room: str, reason: str) -> Effects:
        """The user was kicked from a room, or with room "" from everything."""
        return self.expelled(room, reason) if room else self.removed(reason)

    def banned(self, room: str, reason: str, until: float) -> Effects:
        """The user was banned from a room, or with room "" from everything, until a Unix time (inf: without end)."""
        effects = self.kicked(room, reason or ("you are banned from this room" if room else "you are banned"))
        return (Reply(replies.banned(room, until=until, reason=reason)), *effects) if effects else ()

    def enforce_bans(self, now: float) -> Effects:
        """Leave every room that the user is banned from, or with a ban from everything the server."""
        sanctions = self.context.sanctions
        if sanctions.none or self.phase is not SessionPhase.OPEN:
            return ()
        user, address = self.identity.user, sanctioned_address(self, self.identity)
        everywhere = sanctions.banned(user, address, "", now)
        if everywhere is not None:
            return self.banned("", everywhere, sanctions.banned_until(user, address, "", now))
        effects: list[Effect] = []
        for room in self.rooms:
            reason = sanctions.banned(user, address, room, now)
            if reason is not None:
                effects += self.banned(room, reason, sanctions.banned_until(user, address, room, now))
        return effects

    def _end(self, code: int, reason: str, *, retry_after_ms: int = 0, note: str = "") -> Effects:
        self.phase = SessionPhase.ENDED
        return (CloseSession(code, reason, retry_after_ms, note),)

    # ---- rooms -------------------------------------------------------------------------------------

    def _join(self, command: commands.Join, now: float) -> Effects:
        if command.room in self.rooms:
            return self._enter(command, now)
        if admission.check_entry(self, self.identity, command.room, len(self.rooms) - 1, now):
            return (Consult("join", command, self.identity),)
        return self._enter(command, now)

    def _enter(self, command: commands.Join, now: float) -> Effects:
        return (EnterRoom(command.id, commands.Wanted(command.room, command.since), again=command.room in self.rooms),)

    def joined(self, join: EnterRoom, state: RoomState) -> Effects:
        """The connection is in the room."""
        if state.room not in self.rooms:
            self.rooms = (*self.rooms, state.room)
        if state.members:
            self.charge(state.members // LARGE_ROOM)
        return (Reply(replies.joined(join.id, state)),)

    def _leave(self, command: commands.Leave, now: float) -> Effects:
        room = command.room
        permit(self, self.identity, "leave", room, now)
        self.forget(room)
        return (LeaveRoom(command.id, room, replies.left(command.id, room)),)

    def _history(self, command: commands.History, now: float) -> Effects:
        if command.before is not None and command.after is not None:
            raise RequestError("bad_request", "give before or after, not both", field="after")
        if permit(self, self.identity, "history", command.room, now):
            return (Consult("join", command, self.identity),)
        return self._history_approved(command, now)

    def _history_approved(self, command: commands.History, now: float) -> Effects:
        return (ReadHistory(command.id, command.room, command.before, command.after, command.limit),)

    def _members(self, command: commands.Members, now: float) -> Effects:
        permit(self, self.identity, "members", command.room, now)
        if not self.context.options.of(command.room).presence:
            raise RequestError("forbidden", RULES["members"].refusal, field="room")
        return (ReadMembers(command.id, command.room),)

    # ---- names and moderation------------------------------------------------------------------------

    def _rename(self, command: commands.Rename, now: float) -> Effects:
        name = admission.checked_name(self.context, command.name, self.identity)
        if "hello" in self.context.consulted:
            return (Consult("hello", command, msgspec.structs.replace(self.identity, name=name)),)
        return (ChangeName(command.id, name),)

    def _rename_approved(self, command: commands.Rename, now: float) -> Effects:
        return (ChangeName(command.id, admission.checked_name(self.context, command.name, self.identity)),)

    def rename(self, name: str) -> bool:
        """Give the user another name. Returns False where the session is not open."""
        if self.phase is not SessionPhase.OPEN:
            return False
        self.identity = msgspec.structs.replace(self.identity, name=name)
        return True

    def _ping(self, command: commands.Ping, now: float) -> Effects:
        return (Reply(replies.pong(command.id, int(now * 1000))),)

    def _subscribe(self, command: commands.Subscribe, now: float) -> Effects:
        rooms = tuple(room for room in command.rooms if room in self.rooms)  # what is told is also what may be read
        subscription = PushSubscription(
            command.endpoint, command.p256dh, command.auth, rooms, command.silent, command.quiet_until
        )
        return (KeepSubscription(command.id, subscription),)

    def _unsubscribe(self, command: commands.Unsubscribe, now: float) -> Effects:
        return (ForgetSubscription(command.id, command.endpoint),)

    def _sanctions(self, command: commands.ListSanctions, now: float) -> Effects:
        permit(self, self.identity, "sanctions", command.room or "", now)
        return (ReadSanctions(command.id, command.room or ""),)

    def _moderate(self, command: commands.Moderation, now: float) -> Effects:
        verb = Verb(type(command).__name__.lower())
        room = command.room or ""
        permit(self, self.identity, verb, room, now)
        # An admin may act on anyone; a moderator only on users, not on another moderator.
        if self.identity.role < Role.ADMIN and self.context.moderators.role_of(command.user) >= self.identity.role:
            raise RequestError("forbidden", "this user's role is not below yours", field="user")
        return (Moderate(command.id, verb, command.user, room, command.seconds or 0.0, command.reason),)

    # ---- moving to another worker --------------------------------------------------------------------

    def snapshot(self, now: float) -> SessionState:
        """The state of a session that is open or new, for the worker that goes on with it."""
        bucket = self._bucket
        return SessionState(
            Presented.again(self.identity),
            self.rooms,
            bucket.tokens,
            max(0.0, now - bucket.at),
            bucket.refused,
            self.phase is SessionPhase.OPEN,
            self._said_hello,
            self.login,
        )

    @classmethod
    def restore(
        cls, context: Context, connection: str, state: SessionState, now: float, *, address: str = ""
    ) -> ChatSession:
        """Go on with a session of another worker."""
        session = (
            cls(context, connection, now, address=address)
            if state.login is None
            else LoggedInSession(context, connection, now, address=address, login=state.login)
        )
        session.phase = SessionPhase.OPEN if state.open else SessionPhase.NEW
        session._said_hello = state.said_hello
        session.identity = state.identity.settled()
        session.rooms = state.rooms
        session._bucket.tokens = state.tokens
        session._bucket.at = now - state.tokens_age
        session._bucket.refused = state.refused
        return session


class LoggedInSession(ChatSession):
    """A session whose user the handshake named; a class of its own, since every other connection goes without."""

    __slots__ = ("_login",)

    def __init__(self, context: Context, connection: str, now: float, *, address: str = "", login: Presented) -> None:
        super().__init__(context, connection, now, address=address)
        self._login = login

    @property
    def login(self) -> Presented | None:
        return self._login


Handler = Callable[[ChatSession, Any, float], Effects]

_HANDLERS: Final[dict[type[commands.Command], Handler]] = {
    commands.Hello: ChatSession._renew,
    commands.Join: ChatSession._join,
    commands.Leave: ChatSession._leave,
    commands.Say: posting.say,
    commands.Direct: posting.direct,
    commands.Edit: posting.edit,
    commands.Delete: posting.delete,
    commands.React: posting.react,
    commands.Read: posting.read,
    commands.Typing: posting.typing,
    commands.History: ChatSession._history,
    commands.Members: ChatSession._members,
    commands.Rename: ChatSession._rename,
    commands.Kick: ChatSession._moderate,
    commands.Ban: ChatSession._moderate,
    commands.Mute: ChatSession._moderate,
    commands.Unban: ChatSession._moderate,
    commands.Unmute: ChatSession._moderate,
    commands.ListSanctions: ChatSession._sanctions,
    commands.Subscribe: ChatSession._subscribe,
    commands.Unsubscribe: ChatSession._unsubscribe,
    commands.Ping: ChatSession._ping,
}

_APPROVED: Final[dict[type[commands.Command], Handler]] = {
    commands.Join: ChatSession._enter,
    commands.Say: posting.say_approved,
    commands.Direct: posting.direct_approved,
    commands.Edit: posting.edit_approved,
    commands.History: ChatSession._history_approved,
    commands.Rename: ChatSession._rename_approved,
}
