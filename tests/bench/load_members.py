"""The connections of a load: from the connect to the 101 or the `welcome`, and then counting what comes."""

from __future__ import annotations

import asyncio
import struct
import time
import zlib
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from tests.bench.load import Load

MARK = b"T="
DIGITS = 19
PING = 0x89
_T, _EQUALS = 0x54, 0x3D
_LONGEST_PING = 2 + 125  # RFC 6455, section 5.5


def frame(payload: bytes, *, first: int = 0x81) -> bytes:
    """A client's text frame. Its mask is zero, which RFC 6455 allows and costs nobody anything."""
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", first, 0x80 | size)
    elif size < 65_536:
        head = struct.pack("!BBH", first, 0xFE, size)
    else:
        head = struct.pack("!BBQ", first, 0xFF, size)
    return head + b"\0\0\0\0" + payload


def compressed_frame(payload: bytes) -> bytes:
    """The same with permessage-deflate (RFC 7692, section 7.2.1), without context takeover."""
    deflate = zlib.compressobj(wbits=-15)
    return frame((deflate.compress(payload) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4], first=0xC1)


class Opening(asyncio.Protocol):
    """A connection until it is open: until the 101, or until the answer to its hello."""

    def __init__(self, load: Load, index: int) -> None:
        self.load = load
        self.index = index
        self.received = b""
        self.shaken = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        self.transport.write(self.load.request)

    def data_received(self, data: bytes) -> None:
        self.received += data
        if not self.shaken:
            head, end, rest = self.received.partition(b"\r\n\r\n")
            if not end:
                return
            if not head.startswith(b"HTTP/1.1 101"):
                return self.transport.abort()
            self.shaken, self.received = True, rest
            if not self.load.hello:
                return self.become_member()
            self.transport.write(frame(self.load.filled(self.load.hello, self.index)))
        if self.load.welcome in self.received:
            self.become_member()

    def become_member(self) -> None:
        member = self.load.member(self.load, self.transport, self.index)
        self.transport.set_protocol(member)
        if self.received:
            member.data_received(self.received)  # a frame may have come in part
        self.load.opened(member)

    def connection_lost(self, error: Exception | None) -> None:
        self.load.failed += 1
        self.load.changed()


class Member(asyncio.Protocol):
    """An open connection: counts markers."""

    __slots__ = ("ended_with_t", "index", "load", "transport")

    def __init__(self, load: Load, transport: asyncio.Transport, index: int) -> None:
        self.load = load
        self.transport = transport
        self.index = index
        self.ended_with_t = False

    def data_received(self, data: bytes) -> None:
        load = self.load
        number = data.count(MARK)
        if self.ended_with_t and data[0] == _EQUALS:  # the marker lay across two reads
            number += 1
        self.ended_with_t = data[-1] == _T
        if number:
            load.delivered += number
            load.reads += 1
            if load.reads & load.sample_mask == 0:
                self.sample(data)
            if load.window:
                load.fill_window()
        if PING in data:
            self.answer_pings(data)
        load.heard += len(data) > _LONGEST_PING

    def sample(self, data: bytes) -> None:
        """The age of the first message in a read, which is the oldest."""
        at = data.find(MARK) + 2
        stamp = data[at : at + DIGITS]
        if at > 1 and len(stamp) == DIGITS and stamp.isdigit():
            self.load.ages.append(time.monotonic_ns() - int(stamp))

    def answer_pings(self, data: bytes) -> None:
        """That byte is a ping's first, or part of some length; a pong too many is no harm."""
        at = data.find(PING)
        while at >= 0:
            if at + 1 < len(data) and data[at + 1] < 126:
                payload = data[at + 2 : at + 2 + data[at + 1]]
                self.transport.write(struct.pack("!BB", 0x8A, 0x80 | len(payload)) + b"\0\0\0\0" + payload)
            at = data.find(PING, at + 1)

    def connection_lost(self, error: Exception | None) -> None:
        self.load.dropped += 1
        self.load.members.pop(self.index, None)
        self.load.changed()


class CompressedMember(Member):
    """A connection with permessage-deflate: a marker cannot be seen, so it follows the frames and counts those."""

    __slots__ = ("rest",)

    def __init__(self, load: Load, transport: asyncio.Transport, index: int) -> None:
        super().__init__(load, transport, index)
        self.rest = b""

    def data_received(self, data: bytes) -> None:
        load = self.load
        data = self.rest + data
        at, size, before = 0, len(data), load.delivered
        while size - at >= 2:
            length = data[at + 1]
            begin = at + 2
            if length == 126:
                if size - at < 4:
                    break
                length, begin = data[at + 2] << 8 | data[at + 3], at + 4
            if begin + length > size:
                break
            if data[at] == 0xC1:  # a compressed text: acks and the like are too short for that
                load.delivered += 1
            elif data[at] == PING:
                self.answer_pings(data[at : begin + length])
            at = begin + length
        self.rest = data[at:]
        load.reads += load.delivered > before
        load.heard += 1
        if load.window:
            load.fill_window()
