"""The logs of orders: messages that must reach one connection or one user on any worker without being lost.

They are rooms with offsets like any other, followed by every worker itself. So an order to kick or to send
survives a lost subscription, and one that comes while a connection moves to another worker finds it there.

Each kind has a log of its own, because a log keeps only so many entries: nothing that clients can do without end, such
as giving themselves names, pushes out a ban that a sleeping worker has not read yet.
"""

from __future__ import annotations

import base64
import logging
from typing import Final, Protocol

import msgspec
from msgspec import Struct

from workers.addressing import CONTROL_ROOM, NAMES_ROOM, SENDS_ROOM
from workers.payload import TEXT, packed

ORDER_ROOMS = (CONTROL_ROOM, NAMES_ROOM, SENDS_ROOM)


class SendTo(Struct, frozen=True, tag="send", omit_defaults=True):
    """Send one message to one connection."""

    connection: str
    text: str = ""
    binary: str = ""  # base64


class KickConnection(Struct, frozen=True, tag="kick", omit_defaults=True):
    """Close one connection with 4003."""

    connection: str
    reason: str = ""


class Act(Struct, frozen=True, tag="act"):
    """Something to be done by the worker that has a connection, which answers; the others say that they have it not."""

    connection: str
    asker: str  # the process that the answers are for
    token: str  # of the question
    what: str
    args: msgspec.Raw


class TellChat(Struct, frozen=True, tag="tell"):
    """An order for the application of every worker, in the application's encoding."""

    body: msgspec.Raw


class Hearer(Protocol):
    """A connection, with the offsets up to which the entries of each log were carried out for it."""

    ordered: int
    named: int
    sent: int


_PLACES: Final = {CONTROL_ROOM: "ordered", NAMES_ROOM: "named", SENDS_ROOM: "sent"}


def heard(connection: Hearer, room: str) -> int:
    """The offset up to which a log's orders were carried out for a connection, or are older than it."""
    return int(getattr(connection, _PLACES[room]))


def hear(connection: Hearer, room: str, offset: int) -> None:
    """Record the offset up to which orders were carried out."""
    setattr(connection, _PLACES[room], offset)


def room_of(order: SendTo | KickConnection | Act) -> str:
    """The room whose log carries an order to one connection."""
    return CONTROL_ROOM if isinstance(order, KickConnection) else SENDS_ROOM


Order = SendTo | KickConnection | Act | TellChat

encode = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Order)
logger = logging.getLogger(__name__)


def understood(payload: bytes) -> Order | None:
    """Decode an order; None if it cannot be decoded, for example an order of another version."""
    try:
        order: Order = _decode.decode(payload)
    except (ValueError, RecursionError) as error:
        logger.warning("an order that cannot be decoded is ignored: %s", error)
        return None
    return order


def send_to(connection: str, data: str | bytes) -> SendTo:
    """The order that carries `data`, text or binary. Raises TypeError, ValueError for other data."""
    payload, form = packed(data)
    if form == TEXT:
        return SendTo(connection, text=payload.decode())
    return SendTo(connection, binary=base64.b64encode(payload).decode())


def data_of(order: SendTo) -> str | bytes:
    """The data that `send_to` was given."""
    return base64.b64decode(order.binary) if order.binary else order.text
