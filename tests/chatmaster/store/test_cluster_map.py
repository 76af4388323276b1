"""The map of a cluster, read from what nodes answer."""

from __future__ import annotations

import pytest

from chatmaster.store.cluster_map import SHARD_OF_SLOT, Redirect, map_of, redirect_of
from chatmaster.store.layout import SHARDS, slot_of

ASKED = ("10.0.0.1", 7000)


def test_every_shard_has_the_owner_of_its_slot():
    reply = [
        [0, 8191, [b"10.0.0.1", 7000, b"id1", []], [b"10.0.0.3", 7002, b"id3"]],
        [8192, 16383, [b"10.0.0.2", 7001, b"id2"]],
    ]
    found = map_of(reply, ASKED, sharded=True)
    halves = {ASKED: 0, ("10.0.0.2", 7001): 8192}
    assert len(found.owners) == SHARDS
    for shard, owner in enumerate(found.owners):
        assert owner is not None and halves[owner] <= slot_of(shard) < halves[owner] + 8192
    assert found.nodes == {ASKED, ("10.0.0.2", 7001), ("10.0.0.3", 7002)} and found.sharded


def test_slots_that_no_node_has_leave_their_shards_without_an_owner():
    found = map_of([[0, 999, [None, 7000, b"id"]]], ASKED, sharded=False)
    assert found.owners.count(ASKED) == sum(slot <= 999 for slot in SHARD_OF_SLOT)
    assert set(found.owners) <= {ASKED, None}


@pytest.mark.parametrize("host", [None, b"", b"?"])
def test_a_node_that_does_not_know_its_own_host_is_where_it_was_asked(host):
    assert set(map_of([[0, 16383, [host, 7005, b"id"]]], ASKED, sharded=True).owners) == {("10.0.0.1", 7005)}


def test_a_node_without_a_name_among_nodes_with_names_is_where_its_address_says():
    server = [b"?", 7005, b"id", [b"port", b"1", b"ip", b"10.0.0.9"]]
    assert set(map_of([[0, 16383, server]], ASKED, sharded=True).owners) == {("10.0.0.9", 7005)}


@pytest.mark.parametrize("reply", [5, [[1]], [[0, 1, []]], [[0, 1, [b"h"]]]])
def test_an_answer_in_an_unknown_form_is_refused(reply):
    with pytest.raises(ValueError, match="CLUSTER SLOTS"):
        map_of(reply, ASKED, sharded=True)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("MOVED 3999 127.0.0.1:6381", Redirect(3999, ("127.0.0.1", 6381), ask=False)),
        ("ASK 3999 ::1:6381", Redirect(3999, ("::1", 6381), ask=True)),
        ("MOVED 3999 :6381", Redirect(3999, ("10.0.0.1", 6381), ask=False)),
        ("MOVED 3999 ?:6381", Redirect(3999, ("10.0.0.1", 6381), ask=False)),
        ("TRYAGAIN Multiple keys request during rehashing of slot", None),
        ("MOVED permanently", None),
    ],
)
def test_redirections(words, found):
    assert redirect_of(words, ASKED) == found
