"""A room's only member is kept as a dict would keep it."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from workers.rooms.types import SoleMember


class Peer:
    """A member that nobody looks into."""


PEERS: list[Any] = [Peer() for _ in range(3)]
TRANSPORTS: list[Any] = ["one", "two", "three"]


@given(st.lists(st.tuples(st.sampled_from(["enliven", "remove", "put back"]), st.integers(0, 2)), max_size=30))
def test_it_cannot_be_told_from_a_dict(steps: list[tuple[str, int]]) -> None:
    kept: Any = SoleMember()
    expected: dict[Any, Any] = {}
    for step, number in steps:
        peer, transport = PEERS[number], TRANSPORTS[number]
        if step == "enliven":
            kept = kept.with_another(peer, transport) if isinstance(kept, SoleMember) else {**kept, peer: transport}
            expected[peer] = transport
        elif step == "remove":
            assert kept.pop(peer, None) == expected.pop(peer, None)
        elif peer in expected:
            kept[peer] = kept.pop(peer)
            expected[peer] = expected.pop(peer)
        assert list(kept) == list(expected) and list(kept.values()) == list(expected.values())
        assert len(kept) == len(expected) and bool(kept) == bool(expected)
        assert all((one in kept) == (one in expected) for one in PEERS)
