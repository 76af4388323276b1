"""The rooms of connections that are about to come from another worker."""

from __future__ import annotations

from types import SimpleNamespace

from workers.handover.adoption import Adoption
from workers.rooms.follower import FollowPhase


async def test_they_are_followed_until_all_have_come_and_linger_then_where_nobody_is(sides, connect):
    side = await sides()
    node = SimpleNamespace(hub=side.hub)  # no more of it is needed for this
    arrivals = Adoption(node)  # type: ignore[arg-type]
    arrivals.expect(("lobby", "empty", "@somebody"))
    await arrivals.prepare()
    rooms = [side.hub.rooms[name] for name in ("lobby", "empty", "@somebody")]
    assert all(room.current for room in rooms), "who comes needs no look at the store"
    position = side.hub.position("lobby")
    assert position is not None
    one = await connect(side)
    assert side.hub.members.arrive(one, [("lobby", position)]) == []
    await arrivals.stop_following()
    assert [room.follower.phase for room in rooms] == [FollowPhase.LIVE, FollowPhase.LINGER, FollowPhase.LINGER]
    await side.publish("lobby", "0")
    await one.has("lobby", 1)
