"""Everyone gets everything, once, in order: four workers, four hundred connections in one room, ten senders.

``CHATMASTER_TEST_MESSAGES=20000`` makes the long version of it.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter

import pytest

from tests.support.crowd import Crowd, Member, new_loop
from tests.support.server import Chatmaster
from tests.support.ws import ChatSocket

MESSAGES = int(os.environ.get("CHATMASTER_TEST_MESSAGES", "2000"))
CONNECTIONS, SENDERS, WORKERS = 400, 10, 4
ROOM = "lobby"
SETTINGS = {"limits.rate": 0.0, "store.history_size": MESSAGES + 10}


@pytest.mark.timeout(60 + MESSAGES // 50)
def test_everyone_gets_every_message_once_and_in_the_same_order(chatmaster):
    server = chatmaster(workers=WORKERS, settings=SETTINGS)
    with asyncio.Runner(loop_factory=new_loop) as runner:
        crowd, by_worker, stored = runner.run(run(server))
    assert len(by_worker) == WORKERS, f"every worker had members: {by_worker}"
    assert sum(by_worker.values()) == CONNECTIONS
    expected = list(range(1, MESSAGES + 1))
    wrong = {at: figures(one) for at, one in enumerate(crowd.members) if list(one.offsets) != expected}
    assert not wrong, f"{len(wrong)} connections got something else, by worker {by_worker}: {list(wrong.items())[:5]}"
    assert crowd.different == 0
    assert not [one.others for one in crowd.members if one.others]
    assert stored == crowd.texts
    acked = {offset: text for one in crowd.members for text, offset in one.acked.items()}
    assert acked == stored, "every ack named the place where the message is"


async def run(server: Chatmaster) -> tuple[Crowd, Counter[int], dict[int, str]]:
    """The crowd with what it got, its members by worker, and the log as it is in the store."""
    crowd = Crowd(server.url, ROOM)
    try:
        await crowd.enter(CONNECTIONS)
        by_worker = await asyncio.to_thread(members_by_worker, server)
        await talk(crowd)
        return crowd, by_worker, await read_log(server)
    finally:
        await crowd.leave()


def members_by_worker(server: Chatmaster) -> Counter[int]:
    """How many connections of the room each worker has, as chatctl tells it."""
    return Counter(row["slot"] for row in server.ask("connections", "--room", ROOM))


async def talk(crowd: Crowd) -> None:
    step = len(crowd.members) // SENDERS
    await crowd.say_all(crowd.members[::step], MESSAGES // SENDERS, timeout=60 + MESSAGES / 100)
    await crowd.everyone_has(MESSAGES, timeout=60 + MESSAGES / 100)


async def read_log(server: Chatmaster) -> dict[int, str]:
    """The room's log as a client can read it, by offset."""
    found: dict[int, str] = {}
    async with await ChatSocket.enter(server.url, ROOM) as client:
        more = True
        while more:
            page = await client.ask(type="history", room=ROOM, after=max(found, default=0), limit=100)
            assert page["type"] == "history", page
            found |= {message["offset"]: message["text"] for message in page["messages"]}
            more = page["more"]
    return found


def figures(member: Member) -> dict[str, int]:
    """How one connection's messages differ from what was sent."""
    counted = Counter(member.offsets)
    return {
        "got": len(member.offsets),
        "missing": MESSAGES - len(counted),
        "doubled": sum(times - 1 for times in counted.values()),
        "disordered": sum(a > b for a, b in zip(member.offsets, member.offsets[1:], strict=False)),
    }
