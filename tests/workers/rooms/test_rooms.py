"""How many rooms are occupied: inboxes, and what the worker itself follows, are none."""

from __future__ import annotations

from tests.workers.rooms.conftest import until


async def test_only_rooms_with_members_are_counted(sides, connect, monkeypatch) -> None:
    monkeypatch.setattr("workers.rooms.maintenance.LINGER", 0.0)
    side = await sides()
    side.hub.follow("!control", lambda entry: None)
    peer = await connect(side)
    await peer.join("@ann")
    assert side.hub.rooms.occupied() == 0
    await peer.join("lobby")
    await peer.join("hall")
    assert side.hub.rooms.occupied() == 2
    side.hub.members.leave(peer, "lobby")
    assert side.hub.rooms.occupied() == 1
    await until(lambda: "lobby" not in side.hub.rooms)
    await peer.join("lobby")
    assert side.hub.rooms.occupied() == 2
