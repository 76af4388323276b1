"""A log whose reign comes back, as with a shard of a cluster that moves to another node and back."""

from __future__ import annotations

import pytest

from chatmaster.store import layout
from workers.bus.port import Change, NoTarget, Position, Reign
from workers.rooms.recovery import Continue, HistoryReset, judge

META = layout.key("chat", "lobby", "meta")


async def test_a_reign_that_comes_back_gets_another_name_and_keeps_it(make):
    under = await make()
    first = await under.publish("lobby")
    with under.store.client() as client:
        home = client.hget(META, "reign").decode()
        # As the other node leaves the log: under a reign of its own, with one entry more.
        client.hset(META, mapping={"reign": "other000", "reigns": f"{home}:1 other000:2"})
    assert await under.compare(("lobby", Position(first.epoch, 1))) == ["lobby"]
    state = await under.state("lobby")
    assert [reign.first for reign in state.reigns] == [1, 2, 2] and state.epoch not in (first.epoch, "other000")
    assert state.reigns[-1] == Reign(state.epoch, 2)
    second = await under.publish("lobby")
    assert second.epoch == state.epoch == (await under.state("lobby")).epoch
    assert await under.compare(("lobby", Position(second.epoch, 2))) == []

    # What only the first time of the reign had, and the other node forgot, is not on the line any more.
    now = await under.state("lobby")
    assert judge(Position(first.epoch, 1), now) == Continue(1)
    assert isinstance(judge(Position(first.epoch, 2), now), HistoryReset)
    with pytest.raises(NoTarget):
        await under.publish("lobby", change=Change("delete", 2, epoch=first.epoch))
    await under.publish("lobby", change=Change("delete", 2, epoch=second.epoch))

    with under.store.client() as client:
        client.hset(META, "reign", "third000")  # and away and back once more
    assert len((await under.state("lobby")).reigns) == 4
