"""The clients of `chatctl demo`: bots that talk, and readers that check every message by its offset."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from chatmaster.addresses import Address
from chatmaster.cli.bench_client import BenchPeer, open_all

ROOM: Final = "lobby"
BOTS: Final = ("Ada", "Grace", "Alan", "Barbara", "Edsger")
PAUSE: Final = 0.25  # seconds between two messages of the bots together
DRAIN_TIMEOUT: Final = 10.0  # seconds for the last messages to arrive
SHOWN: Final = 8  # of the newest messages
LINES: Final = (
    "Is anybody still here?",
    "Everybody. I count the offsets.",
    "They replace the workers again while we talk.",
    "I have not noticed anything.",
    "That is the point.",
    "Which process are you on now?",
    "No idea. My socket never closed.",
    "Offset after offset, none left out.",
    "Somebody should write this down.",
    "The log does.",
)


class Heard(msgspec.Struct):
    """What a reader needs of a message of the server."""

    type: str = ""
    offset: int = 0
    text: str = ""


_decode: Final = msgspec.json.Decoder(Heard).decode


@dataclass
class Tally:
    """What the readers have seen together."""

    connected: int = 0
    dropped: int = 0
    said: int = 0
    deliveries: int = 0
    missing: int = 0
    doubled: int = 0  # or out of order: an offset that is not above the last one
    lines: deque[tuple[str, str]] = field(default_factory=lambda: deque(maxlen=SHOWN))  # name, text

    @property
    def is_clean(self) -> bool:
        """True where nobody was dropped and nothing is missing or doubled."""
        return not (self.dropped or self.missing or self.doubled)


class DemoPeer(BenchPeer):
    """One client. It expects the offsets of its room one after the other, from the one that its welcome names."""

    def __init__(self, address: Address, tally: Tally, name: str) -> None:
        super().__init__(address, ROOM, "", _NoEchoes())
        self.last = 0  # offset
        self._tally = tally
        self._name = name

    @classmethod
    async def join(cls, address: Address, tally: Tally, name: str = "") -> DemoPeer:
        """Connect and join the room. Raises OSError, ConnectRefused."""
        loop = asyncio.get_running_loop()
        peer = cls(address, tally, name)
        await loop.create_connection(lambda: peer, address.host, address.port)
        await peer._ready
        return peer

    def speak(self, text: str) -> None:
        """Say something in the room."""
        self._send(json.dumps({"type": "say", "room": ROOM, "text": text}).encode())

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        if self.lost and self.welcome:
            self._tally.dropped += 1
            self._tally.connected -= 1

    def _greet(self, head: bytes) -> bool:
        hello: dict[str, Any] = {
            "type": "hello",
            "rooms": [{"room": ROOM}],
            **({"name": self._name} if self._name else {}),
        }
        self._send(json.dumps(hello).encode())
        return True

    def _message(self, payload: bytes) -> None:
        if not self._ready.done():
            super()._message(payload)
            if self.welcome:
                self.last = self.welcome["rooms"][0]["offset"]
                self._tally.connected += 1
            return
        heard = _decode(payload)
        if heard.type in ("message", "edited", "deleted", "reacted"):
            self._count(heard.offset)

    def _count(self, offset: int) -> None:
        self._tally.deliveries += 1
        if offset <= self.last:
            self._tally.doubled += 1
            return
        self._tally.missing += offset - self.last - 1
        self.last = offset


class _NoEchoes:
    """Nobody observes the marks of `chatctl bench`, which a demonstration does not send."""

    def on_message(self, mark: bytes) -> None:
        """No mark was sent."""

    def on_refused(self, mark: bytes) -> None:
        """No mark was sent."""


class Crowd:
    """All clients of the demonstration."""

    def __init__(self, address: Address) -> None:
        self.tally = Tally()
        self._address = address
        self._bots: list[DemoPeer] = []
        self._readers: list[DemoPeer] = []

    async def open(self, count: int) -> None:
        """Connect the bots and as many readers as are left. Raises OSError, TimeoutError, ConnectRefused."""
        self._bots = [await DemoPeer.join(self._address, self.tally, name) for name in BOTS]
        names = (f"Reader {number}" for number in itertools.count(1))
        self._readers = await open_all(
            max(1, count - len(BOTS)), lambda: DemoPeer.join(self._address, self.tally, next(names))
        )

    async def talk(self) -> None:
        """Let the bots talk in turns, until the task is cancelled."""
        for bot, name, text in zip(itertools.cycle(self._bots), itertools.cycle(BOTS), itertools.cycle(LINES)):
            bot.speak(text)
            self.tally.said += 1
            self.tally.lines.append((name, text))
            await asyncio.sleep(PAUSE)

    async def drain(self) -> None:
        """Wait for the last messages; what does not come is missing."""
        end = time.monotonic() + DRAIN_TIMEOUT
        top = self._top()
        while any(peer.last < top for peer in self._alive()) and time.monotonic() < end:
            await asyncio.sleep(0.02)
            top = self._top()
        self.tally.missing += sum(max(0, top - peer.last) for peer in self._alive())

    def close(self) -> None:
        """End all connections."""
        for peer in (*self._bots, *self._readers):
            peer.close()

    def states(self) -> list[bool]:
        """For each connection whether it is alive."""
        return [not peer.lost for peer in (*self._bots, *self._readers)]

    def _alive(self) -> list[DemoPeer]:
        return [peer for peer in (*self._bots, *self._readers) if not peer.lost]

    def _top(self) -> int:
        return max((peer.last for peer in self._alive()), default=0)
