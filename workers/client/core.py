"""The client's side of the protocol without I/O: rooms, positions in them, and the actions for each message.

The server's messages come in by `receive`, requests by `ask`; actions go out, and the shell (`client.py`) carries them
out. `due` decides which requests are sent when.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from msgspec import Struct

from workers.addressing import inbox_of, normalized
from workers.client import events
from workers.client.errors import OutcomeUnknown, RequestRefused
from workers.client.events import Position
from workers.client.places import Place, Verdict
from workers.client.requests import Request, Requests, encode

WORTH_A_RETRY: Final = frozenset({"rate_limited", "refused", "unavailable", "internal"})
RETRY_AFTER: Final = 1.0  # seconds, if the server names no time
HELLO: Final = 0  # the id of the hello that opens a connection


class Send(Struct, frozen=True):
    """Send a message to the server."""

    data: bytes


class Tell(Struct, frozen=True):
    """Pass an event to the application."""

    event: events.Event


class Finish(Struct, frozen=True):
    """Complete a request with its answer."""

    id: int
    answer: events.FromServer | RequestRefused | OutcomeUnknown


class Resume(Struct, frozen=True):
    """Entries are missing: drop the connection and reconnect with the present positions."""


class StayAway(Struct, frozen=True):
    """The server refuses the client for good: end the client."""

    why: RequestRefused


Action = Send | Tell | Finish | Resume | StayAway


class Core:
    """The state of one client across its connections."""

    def __init__(self, rooms: Iterable[str], *, name: str | None, key_prefix: str) -> None:
        """`key_prefix` is a random text that makes the keys of this client unique."""
        self.name = name
        self.user = ""
        self.guest_token: str | None = None
        self.renewed_token: str | None = None  # replaces the program's first token
        self.online = False  # between `welcome` and the end of the connection
        self.rooms: dict[str, Place] = {normalized(room): Place() for room in rooms}
        self.requests = Requests(key_prefix)
        self.read_up_to: dict[str, int] = {}
        self.bye: events.Bye | None = None
        self._hello_token: str | None = None
        self._hello_at = math.inf  # when to repeat the hello on this connection

    # ---- towards the server ------------------------------------------------------------------------

    def hello(self, token: str | None) -> bytes:
        """Return the first message of a connection."""
        self.bye = None
        self._hello_at = math.inf
        self._hello_token = token
        fields: dict[str, Any] = {"type": "hello", "id": HELLO, "rooms": [self._wanted(room) for room in self.rooms]}
        optional = {"token": token or self.guest_token, "name": self.name}
        return encode(fields | {key: value for key, value in optional.items() if value})

    def ask(self, kind: str, **fields: Any) -> Request:
        """Make a request; members that are None are left out. It is sent in its turn, see `due`.

        Raises RequestRefused for a text or data above the server's limit.
        """
        request = self.requests.add(kind, fields)
        if kind == "join":
            self._will_join(request.fields)
        elif kind == "leave":
            self.rooms.pop(request.fields["room"], None)
        return request

    def due(self, now: float) -> tuple[list[Action], float]:
        """Return what to send now and when to call again (seconds, as in `receive`; infinity: after an event)."""
        if not self.online:
            return self._hello_due(now)
        turn = self.requests.next(now)
        actions = [self._give_up(request, self.requests.key_ttl) for request in turn.expired]
        for request in turn.send:
            request.sent = True
            request.first_sent = now if request.first_sent is None else request.first_sent
            actions.append(Send(request.data))
        return actions, turn.wake_at

    def forget(self, request_id: int) -> None:
        """Forget a request whose caller has given up."""
        self.requests.take(request_id)

    def mark_read(self, room: str, offset: int) -> bytes | None:
        """Record the user's read position. Returns what to send now; offline it is sent after the next `welcome`."""
        room = normalized(room)
        if offset <= self.read_up_to.get(room, 0):
            return None
        self.read_up_to[room] = offset
        return self._read(room) if self.online else None

    def lost(self) -> None:
        """The connection ended."""
        self.online = False
        self._hello_at = math.inf
        self.requests.lost()

    def become_a_stranger(self, timeout: float) -> list[Action]:
        """The server does not know the guest any more: become a new guest, without the old inbox.

        What was sent and has no answer after `timeout` is given up. A key is its user's own, so what the stranger
        says under it is said twice if the guest had said it.
        """
        self.guest_token = self.renewed_token = None
        self.rooms.pop(inbox_of(self.user), None)
        self.user = ""
        return [self._give_up(one, timeout) for one in list(self.requests.pending.values()) if one.may_be_done]

    # ---- from the server ---------------------------------------------------------------------------

    def receive(self, event: events.FromServer, now: float) -> list[Action]:
        """Return the actions that a message of the server causes."""
        match event:
            case events.Entry():
                return self._receive_entry(event)
            case events.Gap():
                return self._receive_gap(event)
            case events.Reset():
                return self._receive_reset(event)
            case events.Welcome() if event.id == HELLO or not self.online:
                return self._receive_welcome(event)
            case events.Error():
                return self._receive_error(event, now)
            case events.Joined() if event.id is None:  # a program has brought this connection into the room
                self.rooms.setdefault(event.room, Place()).entered(event.epoch, event.offset)
                return [Tell(event)]
            case events.Joined():
                self.rooms.setdefault(event.room, Place()).entered(event.epoch, event.offset)
                return self._answered(event)
            case events.Left() if event.id is None:
                self.rooms.pop(event.room, None)
                return [Tell(event)]
            case events.Welcome() | events.Left() | events.Ack() | events.History() | events.Members() | events.Pong():
                return self._answered(event)
            case events.HeldSanctions():
                return self._answered(event)
            case events.Presence():
                self._receive_names(event)
            case events.Bye():
                self.bye = event
        return [Tell(event)]

    def _receive_names(self, presence: events.Presence) -> None:
        """Another connection renamed the user: the next hello must not restore the old name."""
        for person in presence.renamed:
            if person.user == self.user and self.name:
                self.name = person.name

    def _receive_entry(self, entry: events.Entry) -> list[Action]:
        place = self.rooms.get(entry.room)
        if place is None:
            return []  # the room was left while the message was under way
        known = place.position
        verdict = place.judge(entry.epoch, entry.offset)
        if verdict is Verdict.DROP:
            return []
        if verdict is Verdict.RESUME:
            return [Resume()]
        assert isinstance(entry, events.Message | events.Edited | events.Deleted | events.Reacted)
        if verdict is Verdict.SHOW_AFTER_HOLE and known is not None:
            gap = events.Gap(room=entry.room, epoch=entry.epoch, first=known.offset + 1, last=entry.offset - 1)
            return [Tell(gap), Tell(entry)]
        return [Tell(entry)]

    def _receive_gap(self, gap: events.Gap) -> list[Action]:
        place = self.rooms.get(gap.room)
        if place is None:
            return []
        known = place.position
        match place.judge(gap.epoch, gap.first, gap.last):
            case Verdict.DROP:
                return []
            case Verdict.RESUME:
                return [Resume()]
        if known is not None and known.offset + 1 != gap.first:  # the gap does not start where the client stands
            gap = msgspec.structs.replace(
                gap, first=known.offset + 1, changes=gap.changes and known.offset >= gap.first
            )
        return [Tell(gap)]

    def _receive_reset(self, reset: events.Reset) -> list[Action]:
        place = self.rooms.get(reset.room)
        if place is None:
            return []
        place.moved(reset.epoch, reset.offset)
        return [Tell(reset)]

    def _receive_welcome(self, welcome: events.Welcome) -> list[Action]:
        self.online = True
        self.user = welcome.user
        self.guest_token = welcome.token or self.guest_token
        key_ttl = welcome.limits.get("key_ttl")
        self.requests.key_ttl = key_ttl if isinstance(key_ttl, int | float) else self.requests.key_ttl
        message_size = welcome.limits.get("message_size")
        self.requests.message_size = message_size if isinstance(message_size, int) else None
        entered = {state.room: state for state in welcome.rooms}
        for state in welcome.rooms:
            self.rooms.setdefault(state.room, Place()).entered(state.epoch, state.offset)
        actions: list[Action] = [Tell(welcome), *self._settled(entered)]
        asked = {request.fields.get("room") for request in self.requests.pending.values() if request.kind == "join"}
        for room in [room for room in self.rooms if room not in entered and room not in asked]:
            del self.rooms[room]
            actions.append(Tell(events.Left(room=room, reason="refused")))
        return actions + [Send(self._read(room)) for room in self.read_up_to if room in entered]

    def _settled(self, entered: dict[str, events.RoomState]) -> list[Action]:
        """Complete the requests that the hello has settled."""
        actions: list[Action] = []
        for request in list(self.requests.pending.values()):
            room = request.fields.get("room", "")
            if request.kind == "join" and room in entered:
                joined = events.Joined(id=request.id, **msgspec.structs.asdict(entered[room]))
                actions.append(Finish(request.id, joined))
            elif request.kind == "leave":
                actions.append(Finish(request.id, events.Left(id=request.id, room=room)))
        for action in actions:
            assert isinstance(action, Finish)
            self.requests.take(action.id)
        return actions

    def _receive_error(self, error: events.Error, now: float) -> list[Action]:
        if error.id == HELLO and not self.online:
            return self._hello_refused(error, now)
        request = self.requests.pending.get(error.id) if isinstance(error.id, int) else None
        if request is None:
            return [Tell(error)]
        if error.code in WORTH_A_RETRY:
            request.sent = False
            request.not_before = now + _retry_after(error)
            return []
        self.requests.take(request.id)
        if request.kind == "join":
            self.rooms.pop(request.fields["room"], None)
        return [Finish(request.id, RequestRefused(error.code, error.message, error.field))]

    def _hello_refused(self, error: events.Error, now: float) -> list[Action]:
        """Wait out temporary refusals of the hello; after a refused name repeat the hello without the name."""
        if error.code in WORTH_A_RETRY:
            self._hello_at = now + _retry_after(error)
            return [Tell(error)]
        if error.field != "name" or not self.name:
            return [Tell(error), StayAway(RequestRefused(error.code, error.message, error.field))]
        self.name = None
        return [Tell(error), Send(self.hello(self._hello_token))]

    def _hello_due(self, now: float) -> tuple[list[Action], float]:
        if self._hello_at > now:
            return [], self._hello_at
        return [Send(self.hello(self._hello_token))], math.inf

    def _answered(self, event: events.FromServer) -> list[Action]:
        request = self.requests.take(getattr(event, "id", None))
        if request is None:
            return []  # the caller gave up, or the request was sent twice
        if request.kind == "rename":
            self.name = request.fields["name"]
        if request.kind == "hello":
            self.renewed_token = request.fields.get("token") or self.renewed_token
        return [Finish(request.id, event)]

    def _give_up(self, request: Request, seconds: float) -> Action:
        """Fail a request with unknown outcome whose key is no longer valid."""
        self.requests.take(request.id)
        return Finish(request.id, OutcomeUnknown(request.kind, seconds, None))

    # ---- inside ------------------------------------------------------------------------------------

    def _will_join(self, fields: dict[str, Any]) -> None:
        since = fields.get("since")
        place = self.rooms.setdefault(fields["room"], Place())
        if since is not None:
            place.position = msgspec.convert(since, Position)

    def _wanted(self, room: str) -> dict[str, Any]:
        position = self.rooms[room].position
        return {"room": room} if position is None else {"room": room, "since": msgspec.structs.asdict(position)}

    def _read(self, room: str) -> bytes:
        return encode({"type": "read", "room": room, "offset": self.read_up_to[room]})


def _retry_after(error: events.Error) -> float:
    return error.retry_after_ms / 1000 if error.retry_after_ms is not None else RETRY_AFTER
