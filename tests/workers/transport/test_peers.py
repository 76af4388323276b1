"""Which connection is evicted where one address has too many; other addresses are never locked out."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workers.transport.serving import Served, text, until, upgrade
from workers.transport.fd_budget import FdBudget
from workers.transport.peers import Newcomer, Peers


class Dummy:
    """A newcomer that only has a name."""

    def __init__(self, name: int = 0) -> None:
        self.name = name

    def get_protocol(self) -> object:
        raise AssertionError("whoever asked evicts it")


def test_the_oldest_newcomer_of_an_address_with_too_many_gives_way() -> None:
    peers = Peers(8)  # six of them for one address
    crowd = [Dummy() for _ in range(6)]
    assert [peers.add(one, "1.1.1.1") for one in crowd] == [None] * 6
    assert peers.add(Dummy(), "2.2.2.2") is None
    assert peers.add(Dummy(), "1.1.1.1") is crowd[0]
    assert peers.add(Dummy(), "1.1.1.1") is crowd[1]
    assert (peers.count("1.1.1.1"), peers.count("2.2.2.2")) == (6, 1)


def test_whoever_has_come_in_stays() -> None:
    peers = Peers(4)
    settled = [Dummy() for _ in range(3)]
    for one in settled:
        assert peers.add(one, "1.1.1.1") is None
        peers.settle(one)
    late = Dummy()
    assert peers.add(late, "1.1.1.1") is late
    peers.remove(late, "1.1.1.1")
    assert peers.count("1.1.1.1") == 3


def test_newcomers_count_in_the_limit_of_an_address() -> None:
    peers = Peers(1000, per_address=3)
    crowd = [Dummy() for _ in range(5)]
    assert [peers.add(one, "1.1.1.1") for one in crowd] == [None, None, None, crowd[0], crowd[1]]
    assert peers.count("1.1.1.1") == 3


def test_a_lone_newcomer_over_the_limit_is_told_so_at_its_hello() -> None:
    peers = Peers(1000, per_address=1)
    first = Dummy()
    peers.add(first, "1.1.1.1")
    peers.settle(first)
    assert peers.add(Dummy(), "1.1.1.1") is None


def test_an_ipv6_client_is_its_network() -> None:
    peers = Peers(1000, per_address=2)
    crowd = [Dummy() for _ in range(3)]
    assert [peers.add(one, f"2001:db8::{number}") for number, one in enumerate(crowd)] == [None, None, crowd[0]]
    assert peers.add(Dummy(), "2001:db8:0:1::1") is None


def test_who_is_not_known_is_not_counted() -> None:
    peers = Peers(4, per_address=1)
    assert [peers.add(Dummy(), "") for _ in range(10)] == [None] * 10


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 30), st.sampled_from(["", "a", "b", "2001::1"]))))
def test_the_account_is_right_whatever_happens(events) -> None:
    """Against a plain list of who is there; at the end nothing is left."""
    peers = Peers(12, per_address=6)
    there: dict[Dummy, str] = {}

    def given_way(one: Newcomer | None) -> None:
        if isinstance(one, Dummy):
            del there[one]
            gone.append(one)

    gone: list[Dummy] = []
    for what, which, address in events:
        known = list(there)
        one = known[which % len(known)] if known else None
        if what == 0 or one is None:
            new = Dummy(which)
            there[new] = address
            given_way(peers.add(new, address))
        elif what == 1:
            peers.settle(one)
        elif what == 2:
            peers.remove(one, there.pop(one))
        elif what == 3 and one in peers._networks:
            there[one] = address
            given_way(peers.move(one, address))
        if gone and what == 4:
            peers.remove(gone.pop(), address)
        for name in ("a", "b", "2001::1"):
            assert peers.count(name) == list(there.values()).count(name)
    for one, address in there.items():
        peers.remove(one, address)
    for one in gone:
        peers.remove(one, "a")
    assert not (peers._totals or peers._newcomers or peers._networks or peers._evicted)


@pytest.mark.parametrize("begun", [b"", upgrade()[:40], upgrade()], ids=["silent", "half a handshake", "no hello"])
async def test_one_address_locks_nobody_out(serve, begun: bytes) -> None:
    served: Served = await serve(descriptors=FdBudget(limit=40))
    for _ in range(120):
        peer = await served.connect(source="127.0.0.9")
        peer.write(begun)
    newcomer = await asyncio.wait_for(served.open(source="127.0.0.1"), 3)
    newcomer.write(text("hello"))
    assert await newcomer.message() == "hello"
    assert served.endpoint.shared.descriptors.used <= 40


async def test_an_address_that_others_crowd_can_still_come_in(serve) -> None:
    served: Served = await serve(descriptors=FdBudget(limit=40))
    for _ in range(120):
        await served.connect()
    await asyncio.wait_for(served.open(), 3)


async def test_the_oldest_handshakes_give_way_where_nothing_is_left(serve) -> None:
    """From as many addresses as there are descriptors, so that none of them has too many."""
    served: Served = await serve(descriptors=FdBudget(limit=20))
    for number in range(60):
        await served.connect(source=f"127.0.0.{2 + number}")
    newcomer = await served.connect()
    newcomer.write(upgrade())
    await asyncio.wait_for(newcomer.accepted(), 25)


async def test_the_clients_behind_a_proxy_are_counted_one_by_one(serve) -> None:
    served: Served = await serve(descriptors=FdBudget(limit=40), trusted_proxies=("127.0.0.0/8",))
    for number in range(30):
        await served.open(f"X-Forwarded-For: 10.0.0.{number}")
    await until(lambda: len(served.app.seen) == 30)
    assert served.endpoint.shared.peers.count("10.0.0.7") == 1
    assert served.endpoint.shared.peers.count("127.0.0.1") == 0


async def test_nothing_is_left_of_those_who_went(serve) -> None:
    served: Served = await serve()
    opened = [await served.open() for _ in range(3)]
    await until(lambda: len(served.app.seen) == 3)
    served.app.seen[0].ws.mark_identified()
    opened.append(await served.connect())
    await until(lambda: served.endpoint.shared.peers.count("127.0.0.1") == 4)
    for peer in opened:
        peer.writer.close()
    await until(lambda: served.endpoint.shared.peers.count("127.0.0.1") == 0)
