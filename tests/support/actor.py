"""A user of the chat who checks every single message against the protocol and against the messages others saw.

An `Actor` connects, asks, and comes back; its reader checks on its own that each room's entries come once and in
order from the place that the server named, that nothing comes of a room it is not in, and that it is only put out or
refused where some moderator's order can be the reason. What it finds goes to the common `Ledger`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct, field

from tests.support.ledger import Asked, Ledger, Looked, Presence
from tests.support.ws import ChatSocket, Closed

FOREVER = 3600.0
ANSWER_TIMEOUT = 15.0
ENTRIES = ("message", "edited", "deleted", "reacted")
WRITES = ("say", "direct", "edit", "delete", "react")


class Gone(Exception):
    """The connection ended before the answer came."""


class Stay(Struct):
    """A room that the actor is in."""

    due: int  # the offset that comes next
    presence: Presence
    count: int | None = None  # of users, as last told
    told: dict[str, str] = field(default_factory=dict)  # users and names, as last told since it came in


class Actor:
    """One user on one connection after another."""

    def __init__(self, url: str, user: str, token: str, ledger: Ledger) -> None:
        self.url, self.user, self.token, self.ledger = url, user, token, ledger
        self.name = ""
        self.stays: dict[str, Stay] = {}
        self.places: dict[str, int] = {}  # where it was in rooms when the connection ended
        self.read: dict[str, int] = {}  # read positions that the server surely got
        self.unfinished: list[Asked] = []
        self.welcome: dict[str, Any] = {}
        self._socket: ChatSocket | None = None
        self._reader: asyncio.Task[None] | None = None
        self._waiting: dict[str, tuple[dict[str, Any], asyncio.Future[dict[str, Any]]]] = {}
        self._number = 0
        self._leaving = False  # the end of the connection is our own doing

    # ---- connections -------------------------------------------------------------------------------

    @property
    def online(self) -> bool:
        return self._reader is not None and not self._reader.done()

    async def enter(self, rooms: Iterable[str], *, since: Iterable[str] = (), name: str = "") -> bool:
        """Connect with these rooms, those in `since` from where it was. False: refused, as a ban allows."""
        began, resumed = time.time(), set(since)
        wanted: list[dict[str, Any]] = []
        for room in rooms:
            place = {"epoch": self.ledger.epochs.get(room), "offset": self.places.get(room)}
            wanted.append({"room": room, "since": place} if room in resumed and all(place.values()) else {"room": room})
        self._socket = await ChatSocket.open(self.url)
        self._leaving = False
        self._reader = asyncio.create_task(self._read(self._socket), name=f"reader of {self.user}")
        hello = {"type": "hello", "token": self.token, "rooms": wanted}
        try:
            await self.ask(**hello, **({"name": name} if name else {}))
        except Gone:
            return False
        refused = {one["room"] for one in wanted} - set(self.stays)
        for room in refused:
            if not room.startswith("@") and not self.ledger.may(("ban", "kick"), self.user, room, began, time.time()):
                self.fault(f"hello did not enter {room}")
        return True

    async def cut(self, *, politely: bool = False) -> None:
        """End the connection from this side."""
        self._leaving = True
        if self._socket is None or self._reader is None:
            return
        if politely:
            self._socket.send_frame(8, b"\x03\xe8")
        else:
            self._socket.abort()
        await self._reader

    async def _read(self, socket: ChatSocket) -> None:
        try:
            while True:
                self._heard(await socket.receive_json(FOREVER))
        except (Closed, ConnectionError) as closed:
            self._closed(closed.code if isinstance(closed, Closed) else 1006)
        except Exception as error:
            self.fault(f"the reader failed: {error!r}")
            self._closed(1006)
        finally:
            socket.abort()

    def _closed(self, code: int) -> None:
        now = time.time()
        if not self._leaving and not (code == 4003 and self.ledger.may(("ban", "kick"), self.user, "", now, now)):
            self.fault(f"was closed with {code}")
        for room in list(self.stays):
            self.places[room] = self.stays[room].due - 1
            self._out(room)
        for _, answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(Gone())
        self._waiting.clear()

    # ---- asking ------------------------------------------------------------------------------------

    async def ask(self, **request: Any) -> dict[str, Any]:
        """The answer to a request, which was checked. Raises Gone."""
        began = time.time()
        answer = await self._answer_of(request)
        self._judge(request, answer, began)
        return answer

    async def write(self, *, _mentions: list[str] | None = None, **request: Any) -> dict[str, Any]:
        """The same for a request that writes: the ledger compares it with the logs at the end.

        `_mentions`: whom the server has to find in the text.
        """
        room = request.get("room", f"@{self.user}")
        asked = Asked(self.user, request, room, sent=[time.time()], by=id(self), mentions=_mentions)
        self.ledger.asked.append(asked)
        return await self._write(asked)

    async def finish(self) -> None:
        """Send again, under their keys, what the end of the last connection left open."""
        left, self.unfinished = self.unfinished, []
        for asked in left:
            if asked.room in self.stays:
                asked.sent.append(time.time())
                await self._write(asked, again=True)

    async def _write(self, asked: Asked, *, again: bool = False) -> dict[str, Any]:
        if asked.request["type"] == "delete":
            self.ledger.deletes(asked.room, asked.request["offset"])
        try:
            answer = await self.ask(**asked.request)
        except Gone:
            if "key" in asked.request:
                self.unfinished.append(asked)
            raise
        if answer["type"] == "ack":
            asked.outcome, asked.offset, asked.answered = "kept", answer["offset"], time.time()
        elif not again:  # what refuses a retry says nothing about the first try
            asked.outcome = "refused"
        return answer

    async def _answer_of(self, request: dict[str, Any]) -> dict[str, Any]:
        if not self.online:
            raise Gone
        assert self._socket is not None
        self._number += 1
        number = f"{self.user}/{self._number}"
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = request, answer
        self._socket.send_json({**request, "id": number})
        try:
            return await asyncio.wait_for(answer, ANSWER_TIMEOUT)
        except TimeoutError:
            self.fault(f"no answer to {request}")
            raise Gone from None

    def send(self, **request: Any) -> None:
        """Send without waiting for anything."""
        if self._socket is not None and self.online:
            self._socket.send_json(request)

    def _judge(self, request: dict[str, Any], answer: dict[str, Any], began: float) -> None:
        """Whether this answer can be right."""
        now, room, kind = time.time(), request.get("room", ""), request["type"]
        speaks = kind in (*WRITES, "typing")
        if answer["type"] != "error":
            if speaks and self.ledger.must(("mute",), self.user, room, began, now):
                self.fault(f"{request} was done, though muted")
            if kind == "join" and self.ledger.must(("ban",), self.user, room, began, now):
                self.fault("joined, though banned")
            return
        code = answer["code"]
        reasons = {
            "muted": lambda: speaks and self.ledger.may(("mute",), self.user, room, began, now),
            "banned": lambda: self.ledger.may(("ban",), self.user, room, began, now),
            "not_joined": lambda: room not in self.stays,
            "not_found": lambda: (room, request.get("offset")) in self.ledger.deleting,
            "forbidden": lambda: kind in ("edit", "delete") and not self._is_author(room, request["offset"]),
        }
        if code not in reasons or not reasons[code]():
            self.fault(f"{request} was answered with {answer}")

    def _is_author(self, room: str, offset: int) -> bool:
        return bool(self.ledger.logs[room][offset]["from"]["user"] == self.user)

    # ---- hearing -----------------------------------------------------------------------------------

    def _heard(self, message: dict[str, Any]) -> None:
        kind, room = message["type"], message.get("room", "")
        request, answer = self._waiting.pop(message.get("id", ""), ({}, None))
        if kind in ENTRIES:
            self._heard_entry(message)
        elif kind == "ack" and request.get("type") == "rename":
            self.name = request["name"]
        elif kind == "welcome":
            self.welcome, self.name = message, message["name"]
            self.ledger.names.bears(self.user, self.name, time.time())
            for state in message["rooms"]:
                wanted: Mapping[str, Any] = next(
                    (one for one in request.get("rooms", ()) if one["room"] == state["room"]), {}
                )
                self._in(state, wanted.get("since"), fresh=True)
        elif kind == "joined":
            self._in(message, request.get("since"), fresh=room not in self.stays)
        elif kind == "left":
            if answer is None and not self.ledger.may(("ban", "kick"), self.user, room, time.time(), time.time()):
                self.fault(f"was put out of {room}")
            self._out(room)
        elif kind == "presence" and room == f"@{self.user}":
            (self.name,) = (one["name"] for one in message["renamed"] if one["user"] == self.user)
        elif kind == "presence" and room in self.stays:
            self._heard_presence(self.stays[room], message)
        elif kind in ("typing", "read") and room in self.stays:
            self._heard_note(message)
        elif kind == "muted":
            if not self.ledger.may(("mute",), self.user, room, time.time(), time.time()):
                self.fault(f"{message}, where nobody muted them")
        elif kind in ("gap", "reset"):
            self.fault(f"{message}, where nothing was lost")
        elif kind == "history":
            self.ledger.looked.append(Looked(room, message["messages"], whole=True))
        elif kind not in ("ack", "error", "banned", "bye", "members", "pong", "typing", "read", "unmuted"):
            self.fault(f"{message} is unknown, or of a room it is not in")
        if answer is not None and not answer.done():
            answer.set_result(message)

    def _in(self, state: dict[str, Any], since: dict[str, Any] | None, *, fresh: bool) -> None:
        """The server says that the actor is in a room."""
        room, offset = state["room"], state["offset"]
        if self.ledger.epochs.setdefault(room, state["epoch"]) != state["epoch"]:
            self.fault(f"{state}: another epoch than {self.ledger.epochs[room]}")
        if since is not None and (state.get("recovered") is not True or offset < since["offset"]):
            self.fault(f"{state} was not recovered from {since}")
        stay = self.stays.get(room)
        if fresh or stay is None:
            stay = self.stays[room] = Stay(offset + 1, Presence(self.user, room, time.time()))
            self.ledger.stays.append(stay.presence)
        if since is not None:
            stay.due = since["offset"] + 1
        stay.count = state.get("members")
        stay.told.clear()  # while it catches up it is told nothing that is not kept

    def _out(self, room: str) -> None:
        stay = self.stays.pop(room, None)
        if stay is not None:
            stay.presence.end = time.time()

    def _heard_entry(self, entry: dict[str, Any]) -> None:
        room, offset, now = entry["room"], entry["offset"], time.time()
        stay = self.stays.get(room)
        if stay is None:
            return self.fault(f"was shown {entry}, and is not in the room")
        if offset != stay.due:
            self.fault(f"{room}: {offset} came where {stay.due} was due")
        stay.due = offset + 1
        if self.ledger.must(("ban",), self.user, room, entry["time"] / 1000, now):
            self.fault(f"was shown {entry}, though banned")
        if "key" in entry and entry["from"]["user"] != self.user:
            self.fault(f"was shown another's key: {entry}")
        self.ledger.note(entry)

    def _heard_presence(self, stay: Stay, change: dict[str, Any]) -> None:
        stay.count = change["count"]
        come, renamed, gone = (change.get(what, ()) for what in ("joined", "renamed", "left"))
        if not come and not renamed and not gone:
            stay.told.clear()  # only the count: the names are not known
        for one in (*come, *renamed, *gone):
            self.ledger.told_names[one["user"], one["name"]] = f"{self.user}: {change}"
        stay.told |= {one["user"]: one["name"] for one in (*come, *renamed)}
        for one in gone:
            stay.told.pop(one["user"], None)

    def _heard_note(self, note: dict[str, Any]) -> None:
        room, user = note["room"], note["user"]
        self.ledger.notes[note["type"]] += 1
        if note["type"] == "typing":
            self.ledger.told_names[user, note["name"]] = f"{self.user}: {note}"
        elif note["offset"] > self.ledger.maybe_read[user, room]:
            self.fault(f"{note}: has read no farther than {self.ledger.maybe_read[user, room]}")

    def fault(self, text: str) -> None:
        self.ledger.fault(f"{self.user}: {text}")
