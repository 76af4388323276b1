"""An entry as frames: encoded once for a worker, spliced, and in up to two classes and two variants.

Form ``j``: the place goes in front of the first field of the stored object. The author's own connections also get
the `key`. The compressed class is made when a member first needs it.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from workers.bus.port import Change, Entry, Publication
from workers.transport.frames import (
    COMPRESS_FROM,
    binary_frame,
    compressed_binary_frame,
    compressed_text_frame,
    text_frame,
)

# What an item costs beside its texts: itself, the heads of up to five strings, three numbers, and a place in the ring.
OVERHEAD = 430


class Item(Struct, gc=False):
    """A message for a room's members: an entry of the log, or, with offset 0, a message that is not kept."""

    frame: bytes
    offset: int = 0
    epoch: str = ""
    time: int = 0
    binary: bool = False
    tail: int = 0  # bytes at the frame's end that are the payload without its opening brace; 0: not spliced
    author: str = ""
    key: str = ""
    exclude: str = ""
    change: Change | None = None
    size: int = 0  # bytes of memory at most, of an entry of the log
    squeezed: bytes = b""  # the frame for readers with permessage-deflate, once a member needed it

    @property
    def special(self) -> bool:
        """Whether members get different frames."""
        return bool(self.exclude or (self.key and self.author))

    def compressed(self) -> bytes:
        """The frame for readers with permessage-deflate; the plain frame if compression would not make it smaller."""
        if not self.squeezed:
            frame = self.frame
            squeezed = _compress(frame, binary=self.binary) if len(frame) > COMPRESS_FROM else frame
            self.squeezed = squeezed if len(squeezed) < len(frame) else frame
        return self.squeezed

    @property
    def payload(self) -> bytes:
        """The payload of a spliced item, as the store keeps it."""
        return b"{" + self.frame[-self.tail :]

    def with_payload(self, payload: bytes) -> Item:
        """The same entry with a payload that a later entry changed."""
        frame = text_frame(_place(self.epoch, self.offset, self.time) + payload[1:])
        texts = len(self.author) + len(self.key) + len(self.exclude)
        return msgspec.structs.replace(self, frame=frame, tail=len(payload) - 1, size=_size(frame, texts), squeezed=b"")

    def become(self, payload: bytes | None) -> None:
        """Say something else at this place, or nothing, before anything was written."""
        self.frame, self.tail, self.squeezed = text_frame(payload) if payload is not None else b"", 0, b""

    def frame_for(self, user: str, member_id: str, *, deflate: bool) -> bytes:
        """The frame for one member: empty for an excluded member, the author's variant for the author."""
        if self.exclude and member_id in self.exclude.split(","):
            return b""
        if self.key and self.author == user and user and self.tail:
            frame = text_frame(
                _place(self.epoch, self.offset, self.time)
                + b'"key":%b,%b' % (msgspec.json.encode(self.key), self.frame[-self.tail :])
            )
            return _compress(frame, binary=False) if deflate else frame
        return self.compressed() if deflate else self.frame


class Stretch(Struct, frozen=True):
    """The log's entries after one offset and up to another; missing ones were trimmed from among the messages."""

    after: int
    end: int
    items: list[Item]


def items_of(epoch: str, publication: Publication, count: int) -> list[Item]:
    """Encode the last `count` entries of a publication. Spelled out in one loop: this runs for every message."""
    packed, time = publication.packed, publication.time
    offset = publication.first + len(packed) - count
    before, between = b'{"epoch":"%b","offset":' % epoch.encode(), b',"time":%d,' % time
    items = []
    for head, body in packed if len(packed) == count else packed[-count:]:
        if head.plain and head.form == "j":
            frame = text_frame(b"%b%d%b%b" % (before, offset, between, body[1:]))
            size, author = len(frame), head.author
            size = (size + size if size > COMPRESS_FROM else size) + len(author) + OVERHEAD  # as in `_size`
            items.append(Item(frame, offset, epoch, time, False, len(body) - 1, author, size=size))
        else:
            items.append(item_of(epoch, head.entry(offset, time, body)))
        offset += 1
    return items


def item_of(epoch: str, entry: Entry) -> Item:
    """Encode an entry of the log."""
    payload, author, key, exclude = entry.payload, entry.author, entry.key, entry.exclude
    binary, tail = False, 0
    if entry.form == "j":
        tail = len(payload) - 1
        frame = text_frame(_place(epoch, entry.offset, entry.time) + payload[1:])
    elif entry.form == "t":
        frame = text_frame(payload)
    else:
        frame, binary = binary_frame(payload), True
    size = _size(frame, len(author) + len(key) + len(exclude))
    return Item(frame, entry.offset, epoch, entry.time, binary, tail, author, key, exclude, entry.change, size)


def _size(frame: bytes, texts: int) -> int:
    """Bytes of memory at most: the compressed frame is counted as if it were there, and no smaller."""
    size = len(frame)
    return (2 * size if size > COMPRESS_FROM else size) + texts + OVERHEAD


def _place(epoch: str, offset: int, time: int) -> bytes:
    return b'{"epoch":"%b","offset":%d,"time":%d,' % (epoch.encode(), offset, time)


def _compress(frame: bytes, *, binary: bool) -> bytes:
    message = frame[_header(frame) :]
    return compressed_binary_frame(message) if binary else compressed_text_frame(message)


def _header(frame: bytes) -> int:
    """Bytes before the payload of an unmasked frame (RFC 6455, 5.2)."""
    return {126: 4, 127: 10}.get(frame[1], 2)
