"""What every bus promises about publishing and reading."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from chatmaster.store import layout
from tests.contract.conftest import until
from workers.bus import keys
from workers.bus.port import MAX_OFFSET, Change, KeyConflict, Position, StoreRefused
from workers.rooms.recovery import HistoryReset, judge


async def test_offsets_are_one_two_three_and_everybody_gets_them_in_that_order(make):
    one, two = await make(), await make()
    await two.subscribe("lobby")
    placed = await asyncio.gather(*(one.publish("lobby") for _ in range(1000)))
    assert [at.offset for at in placed] == list(range(1, 1001))
    await until(lambda: len(two.heard.entries("lobby")) == 1000)
    assert two.heard.offsets("lobby") == list(range(1, 1001))


async def test_what_waits_together_is_published_as_one_and_reported_as_one(under):
    await under.subscribe("lobby")
    placed = await asyncio.gather(*(under.publish("lobby", b'{"n":%d}' % number) for number in range(10)))
    await until(lambda: len(under.heard.entries("lobby")) == 10)
    ((_, publication),) = under.heard.publications
    entries = publication.entries(len(publication.packed))
    assert [(entry.offset, entry.time) for entry in entries] == [(one.offset, one.time) for one in placed]
    assert [entry.payload for entry in entries] == [b'{"n":%d}' % number for number in range(10)]
    assert under.heard.kept == [("lobby", placed[-1], 10)]


async def test_a_duplicate_among_others_is_not_published_again(under):
    await under.subscribe("lobby")
    first = await under.publish("lobby", author="ann", key="k0")
    again = (under.publish("lobby", author="ann", key=key) for key in ("k1", "k0", "k2"))
    placed = await asyncio.gather(*again)
    assert [(one.offset, one.duplicate) for one in placed] == [(2, False), (first.offset, True), (3, False)]
    await until(lambda: under.heard.offsets("lobby") == [1, 2, 3])
    assert under.heard.kept == [("lobby", first, 1), ("lobby", placed[2], 3)]


async def test_what_is_published_comes_back_as_it_was_given(under):
    await under.subscribe("lobby")
    payload = b'{"text":"a\\nb \xc3\xa9"}'
    placed = await under.publish("lobby", payload, author="ann", key="sp ace\n\xe9", exclude="c1,c2")
    await under.publish("lobby", b"\x00\xff\n", form="b")
    await until(lambda: len(under.heard.publications) == 2)
    page = await under.bus.read("lobby", after=0, limit=10, max_bytes=1000)
    assert tuple(under.heard.entries("lobby")) == page.entries
    assert {publication.epoch for _, publication in under.heard.publications} == {placed.epoch}
    entry = page.entries[0]
    assert (entry.payload, entry.author, entry.key, entry.exclude) == (payload, "ann", "sp ace\n\xe9", "c1,c2")
    assert (page.entries[1].payload, page.entries[1].form) == (b"\x00\xff\n", "b")


async def test_a_key_makes_a_retry_the_same_message(under):
    first = await under.publish("lobby", author="ann", key="k")
    again = await under.publish("lobby", author="ann", key="k")
    assert (again.offset, again.epoch, again.time, again.duplicate) == (first.offset, first.epoch, first.time, True)
    other = [
        await under.publish("lobby", author="bob", key="k"),
        await under.publish("lobby", author="ann", key="kk"),
        await under.publish("other", author="ann", key="k"),
    ]
    assert not any(one.duplicate for one in other)


async def test_the_same_key_with_other_content_is_refused(under):
    await under.publish("lobby", author="ann", key="k")
    with pytest.raises(KeyConflict):
        await under.publish("lobby", b'{"b":2}', author="ann", key="k")
    assert (await under.state("lobby")).top == 1


async def test_a_key_is_known_for_its_ttl_and_forgotten_before_twice_that(make):
    under = await make(key_ttl=1)
    first = await under.publish("lobby", author="ann", key="k")
    with under.store.client() as client:
        began = client.time()
        count = 0
        while (again := await under.publish("lobby", author="ann", key="k")).duplicate:
            assert again.offset == first.offset
            count += 1
            await under.publish("lobby", author="ann", key=f"other {count}")
        seconds = client.time()[0] - began[0] + (client.time()[1] - began[1]) / 1e6
        assert 0.9 < seconds < 2.5
        assert len(client.keys(layout.key("chat", "lobby", "keys:*"))) <= 2


async def test_messages_that_wait_together_are_answered_one_by_one(under):
    asked = [("a", b'{"n":1}', "k"), ("b", b'{"n":2}', "k"), ("a", b'{"n":1}', "k"), ("a", b'{"n":3}', "k")]
    answers: list[Any] = await asyncio.gather(
        *(under.publish("lobby", payload, author=user, key=key) for user, payload, key in asked),
        under.publish("lobby", b'{"n":4}'),
        under.publish("other", b'{"n":5}'),
        return_exceptions=True,
    )
    assert [(one.offset, one.duplicate) for one in answers[:3]] == [(1, False), (2, False), (1, True)]
    assert isinstance(answers[3], KeyConflict)
    assert [one.offset for one in answers[4:]] == [3, 1]


async def test_a_rooms_publications_keep_their_order_with_keys_and_without_and_with_changes(under):
    await under.subscribe("lobby")
    first = await under.publish("lobby", b'{"n":0}', author="ann")
    for number in range(1, 40):
        change = Change("edit", first.offset) if number % 7 == 0 else None
        key = f"k{number}" if number % 3 else ""
        under.bus.publish("lobby", b'{"n":%d}' % number, form="j", author="ann", key=key, change=change, done=print)
    await until(lambda: len(under.heard.entries("lobby")) == 40)
    payloads = [entry.payload for entry in under.heard.entries("lobby")]
    assert payloads == [b'{"n":%d}' % number for number in range(40)]


async def test_the_caller_says_what_a_retry_must_repeat(under):
    await under.publish("lobby", b'{"name":"Ann"}', author="ann", key="k", digest=b"hi")
    again = await under.publish("lobby", b'{"name":"Anna"}', author="ann", key="k", digest=b"hi")
    assert again.duplicate


async def test_keys_are_hashed_over_their_parts_and_not_over_their_sum(under):
    await under.publish("lobby", author="ab", key="c")
    assert not (await under.publish("lobby", author="a", key="bc")).duplicate


async def test_pages_are_bounded_in_entries_and_in_bytes_and_say_whether_there_is_more(under):
    payload = b'{"text":"' + b"x" * 1000 + b'"}'
    await asyncio.gather(*(under.publish("lobby", payload) for _ in range(100)))
    page = await under.bus.read("lobby", after=10, limit=5, max_bytes=1 << 20)
    assert ([entry.offset for entry in page.entries], page.more) == ([11, 12, 13, 14, 15], True)
    page = await under.bus.read("lobby", after=90, limit=512, max_bytes=1 << 20)
    assert ([entry.offset for entry in page.entries], page.more) == (list(range(91, 101)), False)
    page = await under.bus.read("lobby", after=0, limit=512, max_bytes=10_000)
    assert 8 <= len(page.entries) <= 10 and page.more
    page = await under.bus.read("lobby", after=0, limit=512, max_bytes=10)
    assert len(page.entries) == 1 and page.more
    page = await under.bus.read_before("lobby", before=4, limit=2, max_bytes=1 << 20)
    assert ([entry.offset for entry in page.entries], page.more) == ([2, 3], True)
    page = await under.bus.read_before("lobby", before=3, limit=512, max_bytes=1 << 20)
    assert ([entry.offset for entry in page.entries], page.more) == ([1, 2], False)
    # Fewer are left than are looked at in one step, and the bytes cut the page before its end.
    for after, most in ((95, 2500), (95, 10), (98, 10)):
        page = await under.bus.read("lobby", after=after, limit=512, max_bytes=most)
        assert page.entries[-1].offset < 100 and page.more
    page = await under.bus.read_before("lobby", before=6, limit=512, max_bytes=2500)
    assert page.entries[0].offset > 1 and page.more
    page = await under.bus.read("lobby", after=99, limit=512, max_bytes=10)
    assert ([entry.offset for entry in page.entries], page.more) == ([100], False)


async def test_an_empty_log_has_no_more_in_either_direction(under):
    for page in (
        await under.bus.read("empty", after=0, limit=10, max_bytes=1000),
        await under.bus.read_before("empty", before=MAX_OFFSET, limit=10, max_bytes=1000),
    ):
        assert not page.entries and not page.more


async def test_looking_at_a_room_gives_it_an_epoch_that_its_first_message_keeps(under):
    before = await under.state("fresh")
    assert (before.top, before.first) == (0, 1)
    assert (await under.publish("fresh")).epoch == before.epoch


async def test_history_that_is_gone_does_not_look_like_nothing_missed(make):
    under = await make(history_size=10)
    await asyncio.gather(*(under.publish("lobby") for _ in range(50)))
    page = await under.bus.read("lobby", after=20, limit=512, max_bytes=1 << 20)
    assert (page.state.top, page.state.first) == (50, 41)
    with under.store.client() as client:
        client.delete(layout.key("chat", "lobby", "log"))
    page = await under.bus.read("lobby", after=20, limit=512, max_bytes=1 << 20)
    assert (page.state.top, page.state.first, page.entries, page.more) == (50, 51, (), False)
    assert (await under.publish("lobby")).offset == 51


async def test_many_logs_are_compared_at_once_and_only_those_that_need_a_look_are_told(make):
    under = await make(history_ttl=600)
    known = {}
    for room in ("one", "two", "@ann", "gone", "old"):
        await under.publish(room)
        state = await under.state(room)
        known[room] = Position(state.epoch, state.top)
    assert await under.compare(*known.items()) == []
    await under.publish("two")
    with under.store.client() as client:
        client.delete(layout.key("chat", "gone", "meta"))
        client.expire(layout.key("chat", "old", "meta"), 1000)  # as after long without a message
    assert await under.compare(*known.items(), ("new", Position("x" * 16, 0))) == ["two", "gone", "old", "new"]
    await under.state("old")
    assert await under.compare(("old", known["old"])) == []
    under.store.kill()
    under.store.start()
    await until(lambda: "disconnected" in under.heard.events)
    await under.bus.ready(10)
    assert await under.compare(("one", known["one"])) == ["one"], "another reign"


async def test_the_states_of_many_logs_are_those_of_each(make):
    under = await make(history_size=3)
    for count, room in enumerate(("empty", "one", "trimmed")):
        for _ in range(count * count):
            await under.publish(room)
    rooms = ["trimmed", "fresh", "one", "empty"]
    states = await under.states(rooms)
    assert [(one.top, one.first) for one in states] == [(4, 2), (0, 1), (1, 1), (0, 1)]
    assert states == [(await under.bus.read(room, after=0, limit=0, max_bytes=0)).state for room in rooms]


async def test_a_room_whose_position_is_gone_begins_a_log_of_another_epoch(under):
    old = await under.publish("lobby")
    with under.store.client() as client:
        client.delete(layout.key("chat", "lobby", "meta"))
    new = await under.publish("lobby")
    assert new.offset == 1 and new.epoch != old.epoch
    page = await under.bus.read("lobby", after=0, limit=10, max_bytes=1000)
    assert [entry.offset for entry in page.entries] == [1]


async def test_a_key_of_a_log_that_is_gone_is_forgotten_with_it(under):
    await under.publish("lobby", author="ann", key="k")
    with under.store.client() as client:
        client.delete(layout.key("chat", "lobby", "meta"))
    assert not (await under.publish("lobby", author="ann", key="k")).duplicate


async def test_time_never_goes_back_within_a_room(under):
    first = await under.publish("lobby")
    with under.store.client() as client:
        client.hset(layout.key("chat", "lobby", "meta"), "time", first.time + 60_000)
    later = [await under.publish("lobby") for _ in range(2)]
    assert [one.time for one in later] == [first.time + 60_000] * 2


async def test_offsets_are_exact_up_to_the_last_and_refused_beyond(under):
    await under.publish("lobby")
    with under.store.client() as client:
        client.hset(layout.key("chat", "lobby", "meta"), "top", MAX_OFFSET - 1)
    assert (await under.publish("lobby")).offset == MAX_OFFSET
    with pytest.raises(StoreRefused):
        await under.publish("lobby")
    page = await under.bus.read("lobby", after=MAX_OFFSET - 1, limit=10, max_bytes=1000)
    assert [entry.offset for entry in page.entries] == [MAX_OFFSET]


async def test_what_a_room_keeps_ends_and_its_position_lives_four_times_as_long(make):
    under = await make(history_ttl=100)
    await under.publish("lobby", author="ann", key="k")
    with under.store.client() as client:
        assert 90 < client.ttl(layout.key("chat", "lobby", "log")) <= 100
        assert 390 < client.ttl(layout.key("chat", "lobby", "meta")) <= 400
        (key,) = [one for one in layout.keys("chat", "lobby", "keys:0", "keys:1") if client.exists(one)]
        assert 1190 < client.ttl(key) <= 1200


async def test_a_position_is_kept_until_a_worker_looks_again_however_short_messages_live(make):
    under = await make(history_ttl=1)
    await under.publish("lobby")
    with under.store.client() as client:
        assert 110 < client.ttl(layout.key("chat", "lobby", "meta")) <= 120


async def test_only_so_many_reigns_are_remembered_and_a_position_of_a_forgotten_one_is_told(under):
    first = await under.publish("lobby")
    with under.store.client() as client:
        listed = " ".join(f"{n:08x}:1" for n in range(64))
        client.hset(layout.key("chat", "lobby", "meta"), mapping={"reigns": listed, "reign": f"{63:08x}"})
    await under.publish("lobby")
    state = await under.state("lobby")
    assert len(state.reigns) == 64
    assert state.reigns[0].epoch.endswith(f"{1:08x}")
    assert (state.reigns[-1].epoch, state.reigns[-1].first) == (first.epoch, 2)
    from workers.bus.port import Position

    assert isinstance(judge(Position(first.epoch[:8] + f"{0:08x}", 1), state), HistoryReset)


async def test_notes_reach_followers_and_are_not_kept(make):
    one, two = await make(), await make()
    await two.subscribe("lobby")
    one.bus.publish_note("lobby", b"\x00n 1\n")
    await until(lambda: two.heard.notes)
    assert two.heard.notes == [("lobby", b"\x00n 1\n")]
    assert (await one.state("lobby")).top == 0


async def test_inboxes_need_no_subscription_of_their_own_and_only_those_that_are_wanted_come(make):
    one, two = await make(), await make()
    await two.subscribe("@ann")
    two.heard.wanted.add("@ann")
    with two.store.client() as client:
        channels = two.store.channels(client)
        assert {one.encode() for one in keys.shared_channels("chat", 0)} <= channels
        assert not any(b"ann" in channel for channel in channels)
    entries = []
    for text, options in (("1", {}), ("2", {"author": "ben", "key": "k"}), ("3", {"exclude": "x"})):
        await one.publish("@bob")
        await one.publish("@ann", b'{"a":%b}' % text.encode(), **options)
        entries.append((b'{"a":%b}' % text.encode(), options.get("key", ""), options.get("exclude", "")))
    await one.publish("@ann", b'{"a":4}', author="ben", change=Change("edit", 2))
    one.bus.publish_note("@bob", b"for bob")
    one.bus.publish_note("@ann", b"\x00n 1\n")
    await until(lambda: two.heard.notes)
    assert two.heard.notes == [("@ann", b"\x00n 1\n")]
    assert two.heard.offsets("@ann") == [1, 2, 3, 4] and not two.heard.offsets("@bob")
    page = await two.bus.read("@ann", after=0, limit=10, max_bytes=10_000)
    for shown in (two.heard.entries("@ann"), page.entries):
        assert [(one.payload, one.key, one.exclude) for one in shown[:3]] == entries
        assert shown[3].change == Change("edit", 2)
    two.bus.unsubscribe("@ann")
    assert two.heard.events[-1] == "unsubscribed @ann"


async def test_instances_of_different_names_do_not_hear_each_other(make):
    one, two = await make(name="one"), await make(name="two")
    await two.subscribe("lobby")
    await one.publish("lobby")
    await two.publish("lobby")
    await until(lambda: two.heard.publications)
    assert two.heard.offsets("lobby") == [1]


@pytest.mark.parametrize("payload", [b"", b"{}", b"[1]", b' {"a":1}'])
async def test_what_cannot_be_spliced_is_refused_at_once(under, payload):
    with pytest.raises(ValueError, match="JSON object"):
        await under.publish("lobby", payload)


async def test_subscriptions_that_change_quickly_end_as_wanted_last(under):
    for _ in range(3):
        under.bus.subscribe("lobby")
        under.bus.unsubscribe("lobby")
    under.bus.subscribe("lobby")
    await until(lambda: under.heard.events)
    await under.publish("lobby")
    await until(lambda: under.heard.publications)
    assert under.heard.events == ["subscribed lobby"]
