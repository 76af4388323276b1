"""What the tables of a worker keep of an idle connection, in bytes: there are tens of thousands of them."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable

from workers.bus.codec import unpack_states
from workers.chat.chat_connection import ChatConnection
from workers.chat.name_claims import HeldNames
from workers.chat.rules.identity import Identity
from workers.chat.rules.mentions import MentionIndex
from workers.chat.rules.session import ChatSession
from workers.node.client_connection import ClientConnection
from workers.presence.local_state import LocalPresence
from workers.rate_limit import TokenBucket
from workers.registry.limits import LimitCounts
from workers.rooms.follower import Follower
from workers.rooms.room import Room
from workers.rooms.types import SoleMember
from workers.transport.socket_transport import SocketTransport
from workers.transport.websocket import WebSocket

COUNT = 5_000  # where the tables of dicts are nearly full
USERS = [f"guest:{number:016x}" for number in range(COUNT)]
NAMES = [f"otter{number}" for number in range(COUNT)]
CONNECTIONS = [f"{number:024x}" for number in range(COUNT)]
ENTRY = 32  # bytes of a dict's table for one more key, or nearly so


def allocated(kind: type) -> int:
    """Bytes of one object of a class with slots, as Python's allocator rounds them."""
    collected = kind.__flags__ & 1 << 14  # Py_TPFLAGS_HAVE_GC: two words stand in front of the object
    return -(-(kind.__basicsize__ + (16 if collected else 0)) // 16) * 16


def bytes_each(keep: Callable[[int], object]) -> float:
    """Bytes that one more call of `keep` leaves, what it returns included."""
    kept: list[object] = [None] * COUNT
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(COUNT):
            kept[number] = keep(number)
        return (tracemalloc.get_traced_memory()[0] - before) / COUNT
    finally:
        tracemalloc.stop()


def test_the_objects_of_a_connection_are_not_larger_than_they_have_to_be() -> None:
    most = {
        SocketTransport: 144,  # with the socket
        WebSocket: 176,
        ClientConnection: 144,
        ChatConnection: 112,
        ChatSession: 112,
        TokenBucket: 48,
        Identity: 64,
        Room: 192,
        Follower: 80,
        SoleMember: 48,
    }
    assert {kind: allocated(kind) for kind in most} == most


def test_a_present_user_is_one_entry() -> None:
    presence = LocalPresence()

    def enter(number: int) -> None:
        presence.entered("town", USERS[number], NAMES[number])
        for claims in iter(lambda: presence.take_claims(8), None):
            presence.claimed(claims)
        for write in presence.take_writes(0.0, 8):
            presence.written(write)

    assert bytes_each(enter) < ENTRY


def test_a_name_that_one_connection_holds_is_one_entry() -> None:
    held = HeldNames()
    assert bytes_each(lambda number: held.add((USERS[number], NAMES[number]))) < ENTRY


def test_a_counted_connection_is_two_entries_and_its_user_one() -> None:
    counts = LimitCounts()

    def arrive(number: int) -> None:
        counts.add(CONNECTIONS[number], USERS[number], "192.0.2.1")
        counts.take(8)

    assert bytes_each(arrive) < 3 * ENTRY


def test_a_name_that_one_user_has_is_a_key_and_two_entries() -> None:
    index = MentionIndex()
    key = 64  # the folded name
    assert bytes_each(lambda number: index.add(USERS[number], NAMES[number])) < key + 2 * ENTRY


def test_logs_that_began_together_share_the_string_of_their_epoch() -> None:
    epoch = b"0123456789abcdef"
    answer = [epoch, b"0", b"1", b"89abcdef:1", b"0"] * 3
    states = [*unpack_states(answer), *unpack_states([bytes(bytearray(epoch)), *answer[1:]])]
    assert len({id(state.epoch) for state in states}) == 1
    assert all(state.epoch == epoch.decode() for state in states)
