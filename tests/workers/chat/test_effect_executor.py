"""The order in which the executor carries effects out."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from workers.chat.chat_connection import ChatConnection
from workers.chat.effect_executor import EffectExecutor
from workers.chat.rules import effects
from workers.chat.rules.state import SessionPhase
from workers.tasks import Tasks


def executor_with(room_presence: Any, tasks: Tasks) -> EffectExecutor:
    """An executor of which a test uses nothing but rooms."""
    nothing: Any = SimpleNamespace()
    nothing.on_kept = None
    store = SimpleNamespace(read_positions=None, slow_mode=None, direct_pairs=None)
    unused = ("hub", "bus", "presence", "registry", "counters", "connections", "mentions", "moderators")
    services: Any = SimpleNamespace(tasks=tasks, store=store, **dict.fromkeys(unused))
    return EffectExecutor(
        services, user_rate=nothing, daily_quota=nothing, publisher=nothing, room_presence=room_presence,
        pending=nothing, renames=nothing,
        claims=nothing, hook_runner=nothing, hello=nothing, join=nothing, moderation=nothing, direct_messages=nothing,
        token_keys=None, pushes=None,
    )  # fmt: skip


async def test_left_is_said_when_nothing_of_the_room_can_come_any_more() -> None:
    """A batch that is being written to a large room still reaches who leaves it."""
    written: list[bytes] = []
    idle = asyncio.Event()
    ws = SimpleNamespace(write_frame=written.append, is_open=True)
    tasks = Tasks()
    executor = executor_with(SimpleNamespace(leave=lambda client, room: idle), tasks)
    connection: Any = SimpleNamespace(ws=ws)
    session: Any = SimpleNamespace(phase=SessionPhase.OPEN)
    client = ChatConnection(executor, connection, session)
    client.carry_out([effects.LeaveRoom("l", "lobby", b"left")])
    await asyncio.sleep(0)
    assert not written and not client.idle
    idle.set()
    async with asyncio.timeout(5):
        while not client.idle:
            await asyncio.sleep(0)
    assert [frame[2:] for frame in written] == [b"left"]
    client.carry_out([effects.LeaveRoom("l", "lobby", b"left")])
    assert len(written) == 2, "at once where nothing is being written"
    await tasks.cancel()
