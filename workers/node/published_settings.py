"""Publishes the application's kind and the retention of rooms for programs that write to a running server.

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
from chatmaster.store import layout
from workers.addressing import SETTINGS_ROOM
from workers.bus.port import BusError
from workers.bus.script import ScriptRunner, scripts_of

RETRY: Final = 5.0  # seconds
_encode: Final = msgspec.json.Encoder().encode
CHAT: Final = "chat"
PROGRAM: Final = "program"


class Published(Struct):
    """The published description of an instance."""

    application: str  # CHAT or PROGRAM: what its clients understand
    settings: Settings
    worker: str = ""  # the name of the Worker that keeps its rooms under the name of this key


_decode: Final = msgspec.json.Decoder(Published)


def key_of(name: str) -> str:
    """The key of an instance's description."""
    return layout.key(name, SETTINGS_ROOM, "retention")


def pack(settings: Settings, application: str, worker: str) -> bytes:
    """Encode the application's kind and only the settings that a writer needs: secrets are never published."""
    store = {"history_size": settings.store.history_size, "history_ttl": settings.store.history_ttl}
    store["guest_ttl"] = settings.store.guest_ttl
    rooms = [
        {"match": rule.match, "history_size": rule.history_size, "history_ttl": rule.history_ttl}
        for rule in settings.rooms
    ]
    limits = {"key_ttl": settings.limits.key_ttl, "message_size": settings.limits.message_size}
    published = {"store": store, "rooms": rooms, "limits": limits}
    return _encode({"application": application, "worker": worker, "settings": published})


def unpack(data: bytes) -> Published:
    """Decode what `pack` encoded; other settings have their defaults. Raises msgspec.ValidationError."""
    published: Published = _decode.decode(data)
    return published


class Notice:
    """Writes the description to the store. Created inside the running loop."""

    def __init__(self, bus: ScriptRunner, settings: Settings, application: str, worker: str) -> None:
        self._bus = bus
        self._key = key_of(settings.master.name)
        self._packed = pack(settings, application, worker)
        (self._script,) = map(bus.script, scripts_of(Path(__file__).parent, "retain"))

    def post(self) -> None:
        """Write the description; if the store cannot be reached, as soon as it is back."""
        self._bus.send(self._script, [self._key], [self._packed], self._posted, again=True)

    def _posted(self, reply: Any) -> None:
        if isinstance(reply, BusError):
            asyncio.get_running_loop().call_later(RETRY, self.post)
