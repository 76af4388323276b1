"""Whether and when a client comes back: the table of close codes, the server's word, back-off with jitter."""

from __future__ import annotations

import pytest

from workers.client.reconnect import BASE, CAP, LATER_AT_LEAST, End, ReconnectPolicy


def reconnect(random: float = 1.0, *, renewable: bool = False) -> ReconnectPolicy:
    return ReconnectPolicy(lambda: random, renewable=renewable)


@pytest.mark.parametrize("code", [1000, 1002, 1003, 1007, 1008, 1009, 4003])
def test_after_these_codes_it_stays_away(code):
    assert reconnect().after(End(code)) is None


@pytest.mark.parametrize("code", [1001, 1006, 1011, 1012, 4002, 4008, 4010])
def test_after_these_it_comes_back_soon(code):
    assert reconnect().after(End(code)) == BASE


@pytest.mark.parametrize("code", [4004, 4009])
def test_after_these_it_comes_back_later(code):
    assert reconnect(random=0.0).after(End(code)) == LATER_AT_LEAST


def test_the_servers_word_goes_before_its_own_reckoning():
    assert reconnect().after(End(1012, retry_after=7.5)) == 7.5


def test_failures_in_a_row_double_the_wait_up_to_a_cap():
    one = reconnect()
    delays = [one.after(End(1006)) for _ in range(9)]
    assert delays[:4] == [BASE, 2 * BASE, 4 * BASE, 8 * BASE]
    assert delays[-1] == CAP


def test_a_connection_that_was_answered_begins_anew():
    one = reconnect()
    for _ in range(5):
        one.after(End(1006))
    assert one.after(End(1006, answered=True)) == BASE


def test_the_jitter_is_full():
    assert reconnect(random=0.0).after(End(1006)) == 0.0


def test_a_token_that_was_refused_is_tried_again_only_where_another_can_be_had():
    assert reconnect().after(End(4001)) is None
    one = reconnect(renewable=True)
    assert one.after(End(4001, answered=True)) is not None
    assert one.after(End(4001)) is None, "the fresh one was no better"
