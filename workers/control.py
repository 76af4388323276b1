"""The control room: what must reach one connection or one user, wherever they are, without being lost.

It is a room with offsets like any other, followed by every worker itself. So an order to kick or to send
survives a lost subscription, and one that comes while a connection moves to another worker finds it there.
"""

from __future__ import annotations

import base64

import msgspec
from msgspec import Struct

CONTROL_ROOM = "!control"


class SendTo(Struct, frozen=True, tag="send", omit_defaults=True):
    """One message for one connection."""

    connection: str
    text: str = ""
    binary: str = ""  # base64


class KickConnection(Struct, frozen=True, tag="kick", omit_defaults=True):
    """Close one connection with 4003."""

    connection: str
    reason: str = ""


class Tell(Struct, frozen=True, tag="tell"):
    """Something for the application of every worker, in its own words."""

    body: msgspec.Raw


Order = SendTo | KickConnection | Tell

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Order).decode


def send_to(connection: str, data: str | bytes) -> SendTo:
    """The order that carries `data`, text or binary."""
    if isinstance(data, str):
        return SendTo(connection, text=data)
    return SendTo(connection, binary=base64.b64encode(data).decode())


def data_of(order: SendTo) -> str | bytes:
    """What `send_to` was given."""
    return base64.b64decode(order.binary) if order.binary else order.text
