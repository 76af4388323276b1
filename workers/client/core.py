"""The client's side of the protocol without any I/O: rooms and places, requests without an answer, what to do next.

The server's messages come in by `receive`, actions go out; the shell (`client.py`) carries them out. A request stays
until it is answered: after a new connection's `welcome` all that are left are sent again, in order, those that
write under the same key, so that the server keeps each once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec
from msgspec import Struct

from workers.client import events as ev
from workers.client.errors import RequestRefused
from workers.client.events import Position
from workers.client.places import Place, Verdict

WITH_KEY: Final = frozenset({"say", "direct", "edit", "delete", "react"})
WORTH_A_RETRY: Final = frozenset({"rate_limited", "unavailable", "internal"})
RETRY_AFTER: Final = 1.0  # seconds, where the server does not say
HELLO: Final = 0  # the id of the hello that opens a connection

encode: Final = msgspec.json.Encoder().encode


class Request(Struct, frozen=True):
    """A request that waits for its answer."""

    id: int
    kind: str
    fields: dict[str, Any]

    @property
    def data(self) -> bytes:
        """As it is sent, each time the same."""
        return encode({"type": self.kind, "id": self.id, **self.fields})

    @property
    def key(self) -> str | None:
        key: str | None = self.fields.get("key")
        return key


class Send(Struct, frozen=True):
    """Send this."""

    data: bytes


class Tell(Struct, frozen=True):
    """Show this to the application."""

    event: ev.Event


class Finish(Struct, frozen=True):
    """A request has its answer."""

    id: int
    answer: ev.FromServer | RequestRefused


class Again(Struct, frozen=True):
    """Ask for `resend(id)` after so many seconds."""

    id: int
    delay: float


class Resume(Struct, frozen=True):
    """Something is missing: cut the connection and come back with the places as they are."""


class StayAway(Struct, frozen=True):
    """The server does not let us in, and would not the next time: end the client."""

    why: RequestRefused


Action = Send | Tell | Finish | Again | Resume | StayAway


class Core:
    """One client, over all its connections."""

    def __init__(self, rooms: Iterable[str], *, name: str | None, key_prefix: str) -> None:
        """`key_prefix` makes the keys of this client its own: some random letters."""
        self.name = name
        self.user = ""
        self.guest_token: str | None = None
        self.renewed_token: str | None = None  # instead of the one that the program began with
        self.online = False  # between `welcome` and the end of the connection
        self.rooms: dict[str, Place] = {room: Place() for room in rooms}
        self.pending: dict[int, Request] = {}
        self.read_up_to: dict[str, int] = {}
        self.bye: ev.Bye | None = None
        self._key_prefix = key_prefix
        self._last_id = HELLO
        self._hello_token: str | None = None
        self._sent: set[int] = set()  # requests that a server may have carried out already
        self._refused_hello: bytes | None = None  # to be said again on this connection

    # ---- towards the server ------------------------------------------------------------------------

    def hello(self, token: str | None) -> bytes:
        """The first message of a connection."""
        self.bye = self._refused_hello = None
        self._hello_token = token
        fields: dict[str, Any] = {"type": "hello", "id": HELLO, "rooms": [self._wanted(room) for room in self.rooms]}
        optional = {"token": token or self.guest_token, "name": self.name}
        return encode(fields | {key: value for key, value in optional.items() if value})

    def ask(self, kind: str, **fields: Any) -> Request:
        """Make a request; members that are None are left out. Send it if `online`, else it goes after the `welcome`."""
        self._last_id += 1
        given = {name: value for name, value in fields.items() if value is not None}
        if kind in WITH_KEY and "key" not in given:
            given["key"] = f"{self._key_prefix}{self._last_id}"
        if kind == "join":
            self._will_join(given)
        elif kind == "leave":
            self.rooms.pop(given["room"], None)
        request = Request(self._last_id, kind, given)
        self.pending[request.id] = request
        if self.online:
            self._sent.add(request.id)
        return request

    def resend(self, request_id: int) -> bytes | None:
        """The request again, if it still waits and can be sent now."""
        if request_id == HELLO:
            again, self._refused_hello = self._refused_hello, None
            return again
        request = self.pending.get(request_id)
        return request.data if request is not None and self.online else None

    def forget(self, request_id: int) -> None:
        """Nobody waits for that answer any more."""
        self.pending.pop(request_id, None)
        self._sent.discard(request_id)

    def mark_read(self, room: str, offset: int) -> bytes | None:
        """Note how far the user has read; what to send now, or nothing: then it goes after the next `welcome`."""
        if offset <= self.read_up_to.get(room, 0):
            return None
        self.read_up_to[room] = offset
        return self._read(room) if self.online else None

    def lost(self) -> None:
        """The connection ended."""
        self.online = False
        self._refused_hello = None

    def become_a_stranger(self) -> list[Request]:
        """The server does not know the guest that we were: come as a new one, without the old one's inbox.

        Returns what was sent and not answered. A key is its user's own, so what the stranger says under it is said
        twice if the guest had said it.
        """
        unknown = [one for one in self.pending.values() if one.id in self._sent and one.kind in WITH_KEY]
        for request in unknown:
            self.forget(request.id)
        self.guest_token = self.renewed_token = None
        self.rooms.pop(f"@{self.user}", None)
        self.user = ""
        return unknown

    # ---- from the server ---------------------------------------------------------------------------

    def receive(self, event: ev.FromServer) -> list[Action]:
        """What one message of the server makes necessary."""
        match event:
            case ev.Entry():
                return self._receive_entry(event)
            case ev.Gap():
                return self._receive_gap(event)
            case ev.Reset():
                return self._receive_reset(event)
            case ev.Welcome() if event.id == HELLO or not self.online:
                return self._receive_welcome(event)
            case ev.Error():
                return self._receive_error(event)
            case ev.Joined():
                self.rooms.setdefault(event.room, Place()).entered(event.epoch, event.offset)
                return self._answered(event)
            case ev.Left() if event.id is None:
                self.rooms.pop(event.room, None)
                return [Tell(event)]
            case ev.Welcome() | ev.Left() | ev.Ack() | ev.History() | ev.Members() | ev.Pong():
                return self._answered(event)
            case ev.Bye():
                self.bye = event
        return [Tell(event)]

    def _receive_entry(self, entry: ev.Entry) -> list[Action]:
        place = self.rooms.get(entry.room)
        if place is None:
            return []  # left already: it was on its way
        known = place.position
        verdict = place.judge(entry.epoch, entry.offset)
        if verdict is Verdict.DROP:
            return []
        if verdict is Verdict.RESUME:
            return [Resume()]
        assert isinstance(entry, ev.Message | ev.Edited | ev.Deleted | ev.Reacted)
        if verdict is Verdict.SHOW_AFTER_HOLE and known is not None:
            gap = ev.Gap(room=entry.room, epoch=entry.epoch, first=known.offset + 1, last=entry.offset - 1)
            return [Tell(gap), Tell(entry)]
        return [Tell(entry)]

    def _receive_gap(self, gap: ev.Gap) -> list[Action]:
        place = self.rooms.get(gap.room)
        if place is None:
            return []
        known = place.position
        match place.judge(gap.epoch, gap.first, gap.last):
            case Verdict.DROP:
                return []
            case Verdict.RESUME:
                return [Resume()]
        if known is not None and known.offset + 1 != gap.first:  # more is missing than the server thinks, or less
            gap = msgspec.structs.replace(gap, first=known.offset + 1)
        return [Tell(gap)]

    def _receive_reset(self, reset: ev.Reset) -> list[Action]:
        place = self.rooms.get(reset.room)
        if place is None:
            return []
        place.moved(reset.epoch, reset.offset)
        return [Tell(reset)]

    def _receive_welcome(self, welcome: ev.Welcome) -> list[Action]:
        self.online = True
        self.user = welcome.user
        self.guest_token = welcome.token or self.guest_token
        entered = {state.room: state for state in welcome.rooms}
        for state in welcome.rooms:
            self.rooms.setdefault(state.room, Place()).entered(state.epoch, state.offset)
        actions: list[Action] = [Tell(welcome)]
        for request in list(self.pending.values()):
            actions.append(self._after_welcome(request, entered))
        asked = {request.fields.get("room") for request in self.pending.values() if request.kind == "join"}
        for room in [room for room in self.rooms if room not in entered and room not in asked]:
            del self.rooms[room]
            actions.append(Tell(ev.Left(room=room, reason="refused")))
        return actions + [Send(self._read(room)) for room in self.read_up_to if room in entered]

    def _after_welcome(self, request: Request, entered: dict[str, ev.RoomState]) -> Action:
        """What the hello has settled is done; the rest is sent again."""
        room = request.fields.get("room", "")
        if request.kind == "join" and room in entered:
            del self.pending[request.id]
            return Finish(request.id, ev.Joined(id=request.id, **msgspec.structs.asdict(entered[room])))
        if request.kind == "leave":
            del self.pending[request.id]
            return Finish(request.id, ev.Left(id=request.id, room=room))
        self._sent.add(request.id)
        return Send(request.data)

    def _receive_error(self, error: ev.Error) -> list[Action]:
        if error.id == HELLO and not self.online:
            return self._hello_refused(error)
        request = self.pending.get(error.id) if isinstance(error.id, int) else None
        if request is None:
            return [Tell(error)]
        if error.code in WORTH_A_RETRY:
            return [_again(error)]
        del self.pending[request.id]
        if request.kind == "join":
            self.rooms.pop(request.fields["room"], None)
        return [Finish(request.id, RequestRefused(error.code, error.message, error.field))]

    def _hello_refused(self, error: ev.Error) -> list[Action]:
        """What passes is waited for; a name that is not allowed here costs the name, not the way in."""
        if error.code in WORTH_A_RETRY:
            self._refused_hello = self.hello(self._hello_token)
            return [Tell(error), _again(error)]
        if error.field != "name" or not self.name:
            return [Tell(error), StayAway(RequestRefused(error.code, error.message, error.field))]
        self.name = None
        return [Tell(error), Send(self.hello(self._hello_token))]

    def _answered(self, event: ev.FromServer) -> list[Action]:
        number = getattr(event, "id", None)
        request = self.pending.pop(number, None) if isinstance(number, int) else None
        if request is None or not isinstance(number, int):
            return []  # given up, or the answer to what was sent twice
        if request.kind == "rename":
            self.name = request.fields["name"]
        if request.kind == "hello":
            self.renewed_token = request.fields.get("token") or self.renewed_token
        return [Finish(number, event)]

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


def _again(error: ev.Error) -> Again:
    """When the request that got this error may be sent once more."""
    assert isinstance(error.id, int)
    return Again(error.id, error.retry_after_ms / 1000 if error.retry_after_ms is not None else RETRY_AFTER)
