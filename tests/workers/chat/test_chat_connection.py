"""What a desk does in which order."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from workers.chat.chat_connection import ChatConnection
from workers.chat.rules import effects
from workers.chat.rules.state import SessionPhase
from workers.tasks import Tasks


async def test_left_is_said_when_nothing_of_the_room_can_come_any_more() -> None:
    """A batch that is being written to a large room still reaches who leaves it."""
    written: list[bytes] = []
    idle = asyncio.Event()
    ws = SimpleNamespace(write_frame=written.append, is_open=True)
    app: Any = SimpleNamespace(leave=lambda desk, room: idle, tasks=Tasks())
    connection: Any = SimpleNamespace(ws=ws)
    session: Any = SimpleNamespace(phase=SessionPhase.OPEN)
    desk = ChatConnection(app, connection, session)
    desk.carry_out([effects.LeaveRoom("l", "lobby", b"left")])
    await asyncio.sleep(0)
    assert not written and not desk.idle
    idle.set()
    async with asyncio.timeout(5):
        while not desk.idle:
            await asyncio.sleep(0)
    assert [frame[2:] for frame in written] == [b"left"]
    desk.carry_out([effects.LeaveRoom("l", "lobby", b"left")])
    assert len(written) == 2, "at once where nothing is being written"
    await app.tasks.cancel()
