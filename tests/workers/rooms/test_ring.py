"""What a room remembers takes as much memory as the ring says, and no more."""

from __future__ import annotations

import gc
import random
import tracemalloc

import pytest

from workers.bus.codec import pack_envelope, plain_head, read_head, unpack_publication
from workers.rooms.log_item import Item, items_of
from workers.rooms.ring import ENTRIES, Ring
from workers.transport.frames import COMPRESS_FROM

LIMIT = 512 * 1024
EPOCH = "0123456789abcdef"


def published(offset: int, text: bytes, key: str, exclude: str) -> bytes:
    payload = b'{"type":"message","room":"lobby","from":{"user":"u1","name":"Ann"},"text":"%b"}' % text
    envelope = pack_envelope(payload, form="j", author=f"guest-{offset:08}", key=key, exclude=exclude)
    place = b"%d %d %b" % (offset, 1_750_000_000_000 + offset, EPOCH.encode())
    return b"%b %d\n%b" % (place, len(envelope), envelope)


def came(offset: int, text: bytes, *, key: str = "", exclude: str = "") -> Item:
    """An entry as a worker makes it of what comes by pub/sub."""
    return items_of(EPOCH, unpack_publication(published(offset, text, key, exclude)), 1)[0]


def words(size: int) -> bytes:
    return " ".join(random.choices(["chat", "room", "hello", "of", "ten thousand"], k=size))[:size].encode()


@pytest.mark.parametrize("size", [5, 100, 900, 4000])
@pytest.mark.parametrize("squeeze", [False, True], ids=["plain", "compressed too"])
@pytest.mark.parametrize("key", [False, True], ids=["", "keys"])
def test_a_ring_counts_all_that_it_keeps_alive(size: int, squeeze: bool, key: bool) -> None:
    texts = [words(size) for _ in range(40)]
    ring, counted = Ring(0), 0
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for offset in range(1, 2 * ENTRIES):
            item = came(offset, texts[offset % 40], key=f"key-{offset}" * key, exclude=f"exclude-{offset}" * key)
            counted += ring.extend((item,), LIMIT)
            if squeeze:
                item.compressed()
        del item
        for cached in (read_head, plain_head):
            cached.cache_clear()  # which has a bound of its own
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert counted == ring.bytes <= LIMIT
    # A compressed copy is counted where there may be one.
    assert held <= ring.bytes <= held * (1.4 if size < COMPRESS_FROM else 2.1)


@pytest.mark.parametrize("text", [b"short", bytes(range(35, 92)) * 2, random.Random(1).randbytes(2000).hex().encode()])
def test_a_compressed_copy_exists_only_where_it_is_smaller(text: bytes) -> None:
    item = came(1, text)
    assert (item.compressed() is item.frame) == (len(item.compressed()) == len(item.frame))
    assert item.compressed() is item.compressed()
    assert len(item.compressed()) <= len(item.frame)


async def test_what_is_remembered_shares_the_string_of_its_epoch(sides, connect):
    """Each publication comes with one of its own, and a ring keeps hundreds."""
    side = await sides()
    peer = await connect(side)
    await peer.join("lobby")
    for number in range(50):
        await side.publish("lobby", f"number {number}")
    await peer.has("lobby", 50)
    ring = side.hub.rooms["lobby"].ring
    assert len({id(item.epoch) for item in ring.after(0, 1 << 20)}) == 1
