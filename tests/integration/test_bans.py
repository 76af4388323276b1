"""A ban holds from the moment it is acknowledged, and a kick reaches also those who are just coming in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import jwt
import pytest

from tests.support.server import Chatmaster
from tests.support.wait import until_async
from tests.support.ws import ChatSocket

SECRET = "0123456789abcdef0123456789abcdef"
PROGRAM = """
import asyncio, os
from pathlib import Path
from workers.chat import Chat

chat = Chat()

@chat.on_join
async def wait(request):
    Path(os.environ["CAME"]).touch()
    while not Path(os.environ["GATE"]).exists():
        await asyncio.sleep(0.01)

worker = chat.worker
"""


def token(user: str, **claims: str) -> str:
    return jwt.encode({"sub": user, "exp": time.time() + 600, **claims}, SECRET, algorithm="HS256")


@pytest.mark.parametrize("verb", ["ban", "kick"])
@pytest.mark.parametrize("room", ["", "hall"])
async def test_whoever_is_banned_or_kicked_while_coming_in_is_put_out(
    chatmaster: Callable[..., Chatmaster], tmp_path: Path, room: str, verb: str
) -> None:
    program, came, gate = tmp_path / "program.py", tmp_path / "came", tmp_path / "gate"
    program.write_text(PROGRAM)
    environment = {"CAME": str(came), "GATE": str(gate)}
    server = await asyncio.to_thread(
        chatmaster, str(program), workers=2, settings={"auth.secret": SECRET}, environment=environment
    )
    coming = asyncio.create_task(ChatSocket.enter(server.url, "hall", token=token("eve")))
    await until_async(came.exists, what="the hook is asked")
    assert not coming.done()
    done = await asyncio.to_thread(server.ctl, verb, "eve", *(["--room", room] if room else []))
    assert done.returncode == 0, done.stderr
    gate.touch()
    client = await coming
    if room:
        assert (await client.expect("left", room="hall"))["reason"]
        assert (await client.ask(type="say", room="hall", text="still here"))["code"] == "not_joined"
    else:
        assert (await client.expect("bye"))["code"] == 4003
        assert (await client.wait_closed()).code == 4003
    client.abort()


async def test_whoever_is_kicked_while_joining_is_put_out_and_may_come_again(
    chatmaster: Callable[..., Chatmaster], tmp_path: Path
) -> None:
    program, came, gate = tmp_path / "program.py", tmp_path / "came", tmp_path / "gate"
    program.write_text(PROGRAM.replace("while not", "while request.room == 'yard' and not"))
    environment = {"CAME": str(came), "GATE": str(gate)}
    server = await asyncio.to_thread(
        chatmaster, str(program), workers=1, settings={"auth.secret": SECRET}, environment=environment
    )
    async with await ChatSocket.enter(server.url, "hall", token=token("eve")) as client:
        came.unlink()
        joining = asyncio.create_task(client.ask(type="join", room="yard"))
        await until_async(came.exists, what="the hook is asked")
        # It is not in the room yet, as far as anybody can see.
        done = await asyncio.to_thread(server.ctl, "kick", "eve", "--room", "yard")
        assert done.returncode == 1 and "eve is connected, but not in yard" in done.stderr
        async with await ChatSocket.enter(server.url, "hall", token=token("mod", role="moderator")) as moderator:
            assert (await moderator.ask(type="kick", user="eve", room="yard", reason="no"))["type"] == "ack"
        gate.touch()
        assert (await joining)["type"] == "joined"
        assert (await client.expect("left", room="yard"))["reason"] == "no"
        assert (await client.ask(type="join", room="yard"))["type"] == "joined"
