"""A client that writes down everything: what it was shown, on which connection, and what it was answered.

It is the public client, so that it resumes and retries as a person's would, and it notes each message before the
client's own guard of the order sees it: what the server sends twice or out of order is not hidden by the guard.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

from msgspec import Struct

from workers.client import Client, ClientError, Disconnected, Entry, Event, Gap, Message, Reset, Welcome
from workers.client.events import decode


class Place(Struct, frozen=True):
    """The permanent name of an entry: a log, a reign of the store, an offset."""

    epoch: str
    offset: int


class Began(Struct, frozen=True):
    """A connection began: the next entry has to be the one after `after`."""

    connection: int
    after: Place
    resumed: bool  # it came back with `since`; else this is where the log stood


class Seen(Struct, frozen=True):
    """An entry as it came."""

    place: Place
    text: str


class Missed(Struct, frozen=True):
    """The server said that these cannot be had."""

    epoch: str
    first: int
    last: int


class Lost(Struct, frozen=True):
    """The server said that the log was lost, and goes on after `after`."""

    after: Place


Note = Began | Seen | Missed | Lost


class Said(Struct, frozen=True):
    """An acknowledged message: the text, its place, and the time of the answer (monotonic)."""

    text: str
    place: Place
    at: float
    turn: int  # what has a higher one was said after this was answered
    noted: int = 0  # notes that the client had written down when it was answered


class Witness(Client):
    """A client of one room that can be held against others."""

    def __init__(self, url: str, room: str, *, name: str, **options: Any) -> None:
        super().__init__(url, rooms=[room], name=name, on_event=self._note_event, **options)
        self.room = room
        self.nickname = name
        self.notes: list[Note] = []
        self.said: list[Said] = []
        self.attempted: set[str] = set()
        self.unknown: set[str] = set()  # no answer: kept or not
        self.ends: Counter[int] = Counter()  # of connections, by close code
        self.cuts: list[tuple[float, int]] = []  # the same: when (monotonic), and the code
        self.refused = 0  # connects that nobody answered: the listening socket was not there
        self._connections = 0
        self._awake = asyncio.Event()
        self._awake.set()

    @property
    def offset(self) -> int:
        """Up to where it has been told everything; -1: it was never in."""
        position = self.rooms.get(self.room)
        return position.offset if position is not None else -1

    @property
    def told_of_loss(self) -> int:
        return sum(isinstance(note, Missed | Lost) for note in self.notes)

    async def attempt(self, text: str, *, turn: int, timeout: float) -> bool:
        """Say it, whatever happens. True: it was acknowledged."""
        self.attempted.add(text)
        try:
            ack = await self.say(self.room, text, timeout=timeout)
        except ClientError:
            self.unknown.add(text)
            return False
        assert ack.epoch is not None and ack.offset is not None
        self.said.append(Said(text, Place(ack.epoch, ack.offset), time.monotonic(), turn, len(self.notes)))
        return True

    def fall_asleep(self) -> None:
        """Lose the connection, and do not come back before `wake_up`."""
        self._awake.clear()
        if self._ws is not None:
            self._ws.transport.abort()

    def wake_up(self) -> None:
        self._awake.set()

    async def _fresh_token(self) -> str | None:
        await self._awake.wait()
        return await super()._fresh_token()

    async def _receive(self, data: str | bytes) -> None:
        event = decode(data)
        if event is not None:
            self._note_raw(event)
        await super()._receive(data)

    def _note_raw(self, event: Event) -> None:
        match event:
            case Entry() if event.room == self.room:
                text = event.text if isinstance(event, Message) and event.text is not None else f"{event}"
                self.notes.append(Seen(Place(event.epoch, event.offset), text))
            case Gap() if event.room == self.room:
                self.notes.append(Missed(event.epoch, event.first, event.last))
            case Reset() if event.room == self.room:
                self.notes.append(Lost(Place(event.epoch, event.offset)))
            case Welcome() if not self.connected:
                self._begin(event)

    def _begin(self, welcome: Welcome) -> None:
        since = self.rooms.get(self.room)
        state = next((one for one in welcome.rooms if one.room == self.room), None)
        if state is None:
            return  # it was put out of the room
        self._connections += 1
        after = Place(state.epoch, state.offset) if since is None else Place(since.epoch, since.offset)
        self.notes.append(Began(self._connections, after, since is not None))

    def _note_event(self, event: Event) -> None:
        if isinstance(event, Disconnected):
            self.ends[event.code] += 1
            self.cuts.append((time.monotonic(), event.code))
            self.refused += "Connect call failed" in event.reason or "timed out" in event.reason
