"""An application's say in the chat: each hook accepts, refuses, changes, fails; and the bot among the examples."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import jwt
import pytest

from chatmaster.settings import AskedHooks
from tests.support.server import ROOT, Chatmaster
from tests.support.ws import ChatSocket
from workers import Gateway
from workers.asked_backend import AskedBackend
from workers.bus.port import Placed
from workers.chat.hook_runner import HookRunner
from workers.chat.hooks import Hooks, Kept, Refuse
from workers.chat.rules import commands, effects
from workers.chat.rules.identity import Identity
from workers.chat.rules.request_error import RequestError
from workers.handshake_request import ConnectionRequest
from workers.node.counters import Counters
from workers.tasks import Tasks

WHO = Identity("u", "U")


class Anybody:
    """As much of a connection as a hook is told of."""

    remote_ip = "192.0.2.1"
    request = ConnectionRequest("/ws", "a=b", {"cookie": "sid=s1"})


def runner(hooks: Hooks) -> HookRunner:
    return HookRunner(hooks, Tasks(), Counters(), AskedBackend(AskedHooks(), "chat"))


async def ask(hook: str, callback: Any, command: commands.Command) -> str | None:
    hooks = Hooks()
    getattr(hooks, f"on_{hook}")(callback)
    return await runner(hooks).ask(Anybody(), effects.Consult(hook, command, WHO))  # type: ignore[arg-type]


SAY = commands.decode('{"type":"say","room":"r","text":"hello"}')


async def test_a_hook_accepts_by_saying_nothing_and_changes_by_giving_a_text():
    assert await ask("say", lambda request: None, SAY) is None
    assert await ask("say", lambda request: request.text.upper(), SAY) == "HELLO"

    async def slowly(request: Any) -> str:
        await asyncio.sleep(0)
        return f"{request.person.name}@{request.person.address}: {request.room}"

    assert await ask("say", slowly, SAY) == "U@192.0.2.1: r"


def raises(request: Any) -> None:
    raise Refuse("not here", code="banned")


@pytest.mark.parametrize("callback", [lambda request: Refuse("not here", code="banned"), raises])
async def test_a_hook_refuses_by_returning_or_raising(callback: Any):
    with pytest.raises(RequestError) as refused:
        await ask("say", callback, SAY)
    assert (refused.value.code, str(refused.value)) == ("banned", "not here")


async def test_a_hook_that_fails_refuses_with_internal_and_says_nothing_of_why(caplog: pytest.LogCaptureFixture):
    with pytest.raises(RequestError) as refused:
        await ask("say", lambda request: 1 / 0, SAY)
    assert refused.value.code == "internal" and "division" not in str(refused.value)
    assert "ZeroDivisionError" in caplog.text


async def test_a_hook_cannot_invent_error_codes(caplog: pytest.LogCaptureFixture):
    with pytest.raises(ValueError, match="teapot"):
        Refuse("no coffee", code="teapot")
    with pytest.raises(RequestError) as refused:
        await ask("say", lambda request: Refuse("no coffee", code="teapot"), SAY)
    assert refused.value.code == "internal" and "teapot" in caplog.text


async def test_on_hello_is_asked_about_new_names_too():
    seen: list[Any] = []
    await ask("hello", seen.append, commands.decode('{"type":"rename","name":"Ada"}'))
    assert [one.person.name for one in seen] == ["U"]  # the identity that the session would have
    assert [one.request.cookies for one in seen] == [{"sid": "s1"}]


async def test_what_is_not_text_is_asked_about_as_data_and_edits_with_their_offset():
    seen: list[Any] = []
    await ask("say", seen.append, commands.decode('{"type":"say","room":"r","data":{"a":[1]}}'))
    await ask("say", seen.append, commands.decode('{"type":"edit","room":"r","offset":3,"text":"x"}'))
    await ask("say", seen.append, commands.decode('{"type":"direct","to":"bob","text":"x"}'))
    assert [(one.room, one.to, one.text, one.data, one.offset) for one in seen] == [
        ("r", "", None, {"a": [1]}, None),
        ("r", "", "x", None, 3),
        ("", "bob", "x", None, None),
    ]


async def test_a_failing_on_kept_costs_nobody_anything(caplog: pytest.LogCaptureFixture):
    hooks = Hooks()
    seen: list[Kept] = []

    @hooks.on_kept
    def fails(message: Kept) -> None:
        seen.append(message)
        raise RuntimeError("the archive is full")

    runner(hooks).notify_kept("r", Placed("e", 1, 2), b'{"type":"message","text":"a"}')
    assert seen == [Kept("r", "e", 1, 2, {"type": "message", "text": "a"})] and "the archive is full" in caplog.text


def test_a_hook_must_be_callable():
    with pytest.raises(TypeError):
        Hooks().on_say("polite")  # type: ignore[call-overload]


@pytest.fixture(scope="module")
def bot() -> Iterator[Chatmaster]:
    made = Chatmaster(str(ROOT / "etc/examples/bot.py"), workers=2)
    try:
        yield made.start()
    finally:
        made.close()


async def test_the_bot_answers_and_the_filter_filters(bot: Chatmaster):
    async with await ChatSocket.enter(bot.url, "lobby") as one, await ChatSocket.enter(bot.url, "lobby") as other:
        await one.ask(type="say", room="lobby", text="oh darn")
        assert (await other.expect("message"))["text"] == "oh d***"
        await one.ask(type="say", room="lobby", text="!time")
        assert (await other.expect("message"))["text"] == "!time"
        answer = await other.expect("message")
        assert answer["from"] == {"user": "bot:clock", "name": "Clock"} and answer["text"].endswith("UTC")
        await one.ask(type="edit", room="lobby", offset=1, text="heck")
        assert (await other.expect("edited"))["text"] == "h***"


async def test_a_hook_on_join_is_asked_for_every_way_in(bot: Chatmaster):
    async with await ChatSocket.enter(bot.url, "lobby", "members-1") as guest:
        assert [room["room"] for room in guest.welcome["rooms"]] == [f"@{guest.user}", "lobby"]
        error = await guest.expect("error")
        assert (error["message"], error["field"]) == ("this room is for members", "rooms[1].room")
        assert (await guest.ask(type="join", room="members-2"))["code"] == "forbidden"


async def test_what_a_hook_on_join_keeps_somebody_out_of_cannot_be_had_by_any_verb(bot: Chatmaster):
    room = "members-a"
    with Gateway(bot.status()["store"]["url"]) as gateway:
        gateway.say(room, "the secret", user="boss", name="Boss")
    requests: list[dict[str, Any]] = [
        {"type": "join"}, {"type": "join", "since": {"epoch": "e", "offset": 0}}, {"type": "history"},
        {"type": "history", "after": 0}, {"type": "members"}, {"type": "read", "offset": 1}, {"type": "typing"},
        {"type": "say", "text": "x"}, {"type": "edit", "offset": 1, "text": "x"}, {"type": "delete", "offset": 1},
        {"type": "react", "offset": 1, "emoji": "+"}, {"type": "leave"},
    ]  # fmt: skip
    async with await ChatSocket.enter(bot.url, "lobby", room) as guest:
        assert [one["room"] for one in guest.welcome["rooms"]] == [f"@{guest.user}", "lobby"]
        answers = [await guest.ask(room=room, **one) for one in requests]
    codes = [(one["type"], one.get("code")) for one in answers]
    assert codes == [("error", "forbidden")] * 4 + [("error", "not_joined")] * 8
    assert "secret" not in json.dumps([answers, guest.passed])


async def test_a_role_that_is_taken_away_takes_the_rooms_of_the_hook_with_it(tmp_path: Path):
    program = tmp_path / "program.py"
    program.write_text(
        "from workers.chat import Chat, Refuse\n"
        "chat = Chat()\n\n"
        "@chat.on_join\n"
        "def staff(request):\n"
        "    if request.room == 'staff' and request.person.role == 'user':\n"
        "        return Refuse('for the staff')\n\n"
        "worker = chat.worker\n"
    )
    secret = "a secret of more than thirty-two characters"

    def token(role: str) -> str:
        return jwt.encode({"sub": "ada", "role": role, "exp": time.time() + 60}, secret, algorithm="HS256")

    with closing(Chatmaster(str(program), workers=1, settings={"auth.secret": secret})) as server:
        server.start()
        async with await ChatSocket.enter(server.url, "staff", token=token("moderator")) as ada:
            assert [one["room"] for one in ada.welcome["rooms"]] == ["@ada", "staff"]
            again = await ada.ask(type="hello", token=token("user"))
            assert [one["room"] for one in again["rooms"]] == ["@ada"]
            assert (await ada.ask(type="history", room="staff"))["code"] == "forbidden"
