"""The words that the rooms and their users share: who can be a member, and what a member is told. Only types."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from msgspec import Struct

from workers.bus.port import Amendment


class Transport(Protocol):
    """What of asyncio's transport the rooms use."""

    def write(self, data: bytes) -> None: ...
    def get_write_buffer_size(self) -> int: ...


class RoomMember(Protocol):
    """A connection, as the rooms see it."""

    @property
    def id(self) -> str: ...

    @property
    def user(self) -> str:
        """Who it is; "" for nobody in particular."""

    @property
    def deflate(self) -> bool:
        """Whether it gets the compressed class of frames."""

    @property
    def paused(self) -> bool:
        """Whether its transport's buffer is above the high-water mark."""

    @property
    def ws(self) -> Any:
        """Its `.transport` is a Transport."""

    def cut(self, code: int) -> None:
        """Close it: it reads too slowly."""


class Gap(Struct, frozen=True):
    """Offsets that cannot be had any more; delivery goes on after `last`."""

    epoch: str
    first: int
    last: int
    changes: bool = False  # they only changed messages, whose present state the log still has


class Reset(Struct, frozen=True):
    """The log was lost; it goes on after `offset`."""

    epoch: str
    offset: int


class Joined(Struct, frozen=True):
    """A room that a member is in from now on.

    `offset` is the top of the log: everything above will come. `recovered` answers a `since`: True where every message
    after it is on its way, False where `missing` says what is gone, None where no `since` was given.
    """

    room: str
    epoch: str
    offset: int
    recovered: bool | None = None
    missing: Gap | Reset | None = None


# What the application makes of a gap or a reset: the payload of a text message, or None to say nothing.
Teller = Callable[[str, Gap | Reset], bytes | None]


# How the application applies later entries to an earlier one: its payload and they give the payload to be shown.
Amender = Callable[[bytes, Sequence[Amendment]], bytes]


def amend_nothing(payload: bytes, amendments: Sequence[Amendment]) -> bytes:
    """For applications without edits: what was said stays."""
    return payload


def tell_nothing(room: str, what: Gap | Reset) -> bytes | None:
    """For applications whose protocol has no word for it."""
    return None
