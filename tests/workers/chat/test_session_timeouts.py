"""Sessions are looked at when it is time, and who is gone long before is not kept until then."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import jwt

from tests.support.server import Chatmaster
from tests.support.wait import until_async
from tests.support.ws import ChatSocket
from workers.chat.session_timeouts import SPARE, DeadlineQueue

SECRET = "a secret of more than thirty-two characters"
PROGRAM = '''
"""A chat that says how many connections it keeps, garbage left out, in answer to anything."""
import gc

from workers.chat import Chat

chat = Chat()
worker = chat.worker


@chat.on_say
def count(request):
    gc.collect()
    return str(sum(type(thing).__name__ == "ChatConnection" for thing in gc.get_objects()))
'''


def test_what_is_due_comes_in_order_of_its_time() -> None:
    queue: DeadlineQueue[str] = DeadlineQueue()
    for at, item in ((3.0, "c"), (1.0, "a"), (9.0, "z"), (1.0, "b")):
        queue.put(at, item)
    assert list(queue.due(0.9)) == []
    assert list(queue.due(3.0)) == ["a", "b", "c"]
    assert list(queue.due(3.0)) == []
    assert len(queue) == 1


def test_what_is_put_again_while_it_is_looked_at_comes_again() -> None:
    queue: DeadlineQueue[str] = DeadlineQueue()
    queue.put(1.0, "a")
    for item in queue.due(1.0):
        queue.put(2.0, item)
    assert list(queue.due(2.0)) == ["a"]


def test_what_is_not_wanted_any_longer_is_thrown_out_when_it_is_much() -> None:
    queue: DeadlineQueue[str] = DeadlineQueue()
    wanted = {"here": 5.0, "there": 7.0}
    names = ["here", "there", *(f"gone {number}" for number in range(SPARE))]
    for name in names:
        queue.put(wanted.get(name, 6.0), name)
    queue.tidy(1, lambda at, name: wanted.get(name) == at)
    assert len(queue) == len(names), "few are no trouble"
    for at in (4.0, 5.0):  # renewed, once to the same time
        queue.put(at, "here")
    queue.tidy(1, lambda at, name: wanted.get(name) == at)
    assert len(queue) == 2
    assert list(queue.due(8.0)) == ["here", "there"]


async def test_who_is_gone_is_not_kept_until_the_token_ends(
    chatmaster: Callable[..., Chatmaster], tmp_path: Path
) -> None:
    program = tmp_path / "counting.py"
    program.write_text(PROGRAM)
    server = chatmaster(str(program), workers=1, settings={"auth.secret": SECRET, "limits.rate": 0})
    lasting = {"sub": "ann", "exp": time.time() + 86_400}
    token = jwt.encode(lasting, SECRET, "HS256")
    for _ in range(2 * SPARE):
        async with await ChatSocket.enter(server.url, token=token):
            pass
    async with await ChatSocket.enter(server.url, "lobby", token=token) as ann:
        await until_async(partial(_few_are_kept, ann))


async def test_who_is_gone_is_not_kept_until_a_hello_would_be_late(
    chatmaster: Callable[..., Chatmaster], tmp_path: Path
) -> None:
    program = tmp_path / "counting.py"
    program.write_text(PROGRAM)
    server = chatmaster(str(program), workers=1, settings={"limits.hello_timeout": 3600.0, "limits.rate": 0})
    for at in range(20):
        async with await ChatSocket.open(server.url) as socket:
            if at % 2:  # the others leave without a word
                assert (await socket.ask(type="hello", rooms=[{"room": "lobby"}]))["type"] == "welcome"
    async with await ChatSocket.enter(server.url, "lobby") as ann:
        await until_async(partial(_nobody_else_is_kept, ann))


async def _nobody_else_is_kept(ann: ChatSocket) -> bool:
    await ann.ask(type="say", room="lobby", text="how many?")
    return bool((await ann.expect("message"))["text"] == "1")


async def _few_are_kept(ann: ChatSocket) -> bool:
    await ann.ask(type="say", room="lobby", text="how many?")
    return int((await ann.expect("message"))["text"]) <= SPARE + 3
