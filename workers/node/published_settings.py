"""What runs here, and how long rooms are kept, for programs that write into a running server from outside.

They cannot read its settings. Every worker writes it into the store when it starts, and again after the store was lost;
`Gateway` reads it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from chatmaster.settings import Settings
from workers.addressing import SETTINGS_ROOM
from workers.bus.keys import tag
from workers.bus.port import BusError
from workers.bus.script import ScriptRunner, scripts_of

RETRY: Final = 5.0  # seconds
_encode: Final = msgspec.json.Encoder().encode
CHAT: Final = "chat"
PROGRAM: Final = "program"


class Published(Struct):
    """What an instance says of itself."""

    application: str  # CHAT or PROGRAM: what its clients understand
    settings: Settings
    worker: str = ""  # the name of the Worker that keeps its rooms under the name of this key


_decode: Final = msgspec.json.Decoder(Published)


def key_of(name: str) -> str:
    """Where an instance says it."""
    return f"{tag(name, SETTINGS_ROOM)}:retention"


def pack(settings: Settings, application: str, worker: str) -> bytes:
    """The application, and the settings that a writer needs, and no others: what is secret stays here."""
    store = {"history_size": settings.store.history_size, "history_ttl": settings.store.history_ttl}
    rooms = [
        {"match": rule.match, "history_size": rule.history_size, "history_ttl": rule.history_ttl}
        for rule in settings.rooms
    ]
    limits = {"key_ttl": settings.limits.key_ttl, "message_size": settings.limits.message_size}
    published = {"store": store, "rooms": rooms, "limits": limits}
    return _encode({"application": application, "worker": worker, "settings": published})


def unpack(data: bytes) -> Published:
    """What `pack` made; every other setting has its default. Raises msgspec.ValidationError."""
    published: Published = _decode.decode(data)
    return published


class Notice:
    """Writes it down. Made inside the running loop."""

    def __init__(self, bus: ScriptRunner, settings: Settings, application: str, worker: str) -> None:
        self._bus = bus
        self._key = key_of(settings.master.name)
        self._packed = pack(settings, application, worker)
        (self._script,) = map(bus.script, scripts_of(Path(__file__).parent, "retain"))

    def post(self) -> None:
        """Write it; where the store is away, as soon as it is back."""
        self._bus.send(self._script, [self._key], [self._packed], self._posted, again=True)

    def _posted(self, reply: Any) -> None:
        if isinstance(reply, BusError):
            asyncio.get_running_loop().call_later(RETRY, self.post)
