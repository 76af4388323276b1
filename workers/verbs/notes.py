"""What workers, and programs outside, say to each other about calls: notes that nobody keeps. Pure."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec
from msgspec import Raw, Struct


class Ask(Struct, frozen=True, tag="ask"):
    """A worker asks each one for its part."""

    token: str
    asker: str  # the process of the worker that asks
    what: str
    args: Raw


class Called(Struct, frozen=True, tag="call"):
    """A call waits in the store for the first of some workers that takes it."""

    token: str
    takers: tuple[str, ...] = ()  # processes; none: any


class FleetReply(Struct, frozen=True, omit_defaults=True):
    """A worker's answer to a question, or to an order about a connection."""

    token: str
    worker: str  # the process that answers
    state: Literal["done", "absent", "moving", "failed"] = "done"
    code: str = ""  # of a failure
    message: str = ""
    field: str = ""
    result: Raw = Raw(b"null")


class StoredCall(Struct, frozen=True, omit_defaults=True):
    """What a program outside leaves in the store."""

    verb: str
    request: Raw
    key: str = ""  # makes a repetition safe


class Answered(Struct, frozen=True, omit_defaults=True):
    """What the program gets: the answer, or why there is none."""

    answer: Raw = Raw(b"null")
    code: str = ""
    message: str = ""
    field: str = ""
    retry_after: float = 0.0


Note = Ask | Called

encode: Final = msgspec.json.Encoder().encode
decode_note: Final[Any] = msgspec.json.Decoder(Note).decode
decode_reply: Final[Any] = msgspec.json.Decoder(FleetReply).decode
decode_call: Final[Any] = msgspec.json.Decoder(StoredCall).decode
decode_answered: Final[Any] = msgspec.json.Decoder(Answered).decode
