"""The JSON of the log's entries, as kept: without their place, which is spliced in at delivery.

The functions assemble the JSON by hand from parts that need no escaping (rooms, users, numbers) and parts that msgspec
encoded. Text is kept as given.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import msgspec

encode: Final = msgspec.json.Encoder().encode

MENTION: Final = re.compile(r"(?<![\w@])@(?=\S)")
MAX_MENTIONS: Final = 50
MENTION_SIGN: Final = "@"
ROOM_MENTION: Final = "@room"

_MESSAGE: Final = b'{"type":"message"'


@lru_cache(maxsize=4096)
def sender(user: str, name: str) -> bytes:
    """The member `from`; cached, since a user who has sent a message is likely to send more."""
    return b'"from":{"user":"%b","name":%b}' % (user.encode(), encode(name))


def body_of_text(text: str, mentions: Sequence[str] = ()) -> bytes:
    """The members of a text message that an edit can replace."""
    body = b'"text":' + encode(text)
    if mentions:
        body += b',"mentions":' + encode(mentions)
    return body


def body_of_data(data: msgspec.Raw) -> bytes:
    """The same for a message with `data`, which is kept byte for byte as given."""
    return b'"data":' + bytes(data)


def message(room: str, by: bytes, body: bytes, *, reply_to: int | None = None, to: str = "") -> bytes:
    """An entry `message`; `by` is what `sender` made, `to` the receiver in an inbox."""
    tail = b""
    if reply_to is not None:
        tail = b',"reply_to":%d' % reply_to
    if to:
        tail += b',"to":"%b"' % to.encode()
    return b"%b%b%b}" % (_message_head(room, by), body, tail)


def _message_head(room: str, by: bytes) -> bytes:
    return b'%b,"room":"%b",%b,' % (_MESSAGE, room.encode(), by)


def text_head(room: str, by: bytes) -> bytes:
    """An entry `message` up to its text: the same for all texts of a user to a room."""
    return _message_head(room, by) + b'"text":'


def text_of(head: bytes, text: str) -> bytes:
    """An entry `message` of a text without mentions; `head` is what `text_head` made."""
    return b"%b%b}" % (head, encode(text))


def edited(room: str, by: bytes, target: int, body: bytes) -> bytes:
    """An entry `edited`."""
    return b'{"type":"edited","room":"%b","target":%d,%b,%b}' % (room.encode(), target, by, body)


def deleted(room: str, by: bytes, target: int) -> bytes:
    """An entry `deleted`."""
    return b'{"type":"deleted","room":"%b","target":%d,%b}' % (room.encode(), target, by)


def reacted(room: str, by: bytes, target: int, emoji: str, *, remove: bool) -> bytes:
    """An entry `reacted`."""
    tail = b',"remove":true' if remove else b""
    return b'{"type":"reacted","room":"%b","target":%d,%b,"emoji":%b%b}' % (
        room.encode(),
        target,
        by,
        encode(emoji),
        tail,
    )


def spliced(payload: bytes, *, epoch: str, offset: int, time: int, key: str = "") -> bytes:
    """An entry with its place, as clients get it; `key` is for the author's own connections."""
    shown_key = b'"key":%b,' % encode(key) if key else b""
    return b'{"epoch":%b,"offset":%d,"time":%d,%b%b' % (encode(epoch), offset, time, shown_key, payload[1:])


def is_message(payload: bytes) -> bool:
    """Whether an entry is a message of its own, and not a change of another."""
    return payload.startswith(_MESSAGE)
