"""Every verb of the table through all four doors: the same answer, the same effect, the same kind of refusal.

A verb that is added to the table needs a `Call` in `scenes.py`, a method in both gateways, and a place in HTTP and
chatctl, or this fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chatmaster.cli import main as chatctl
from chatmaster.contract import ExitCode
from tests.support.server import Chatmaster
from tests.support.wait import until_async
from tests.workers.verbs import scenes
from tests.workers.verbs.scenes import Call, Json, Scene
from workers import AsyncGateway, Gateway
from workers.chat.rules.identity import OPERATOR
from workers.gateway_calls import GatewayError, error_of
from workers.verbs.request import STATUS
from workers.verbs.table import TABLE

PROGRAM_TEXT = """
from urllib.parse import parse_qs
from workers import Worker

worker = Worker("websocket://127.0.0.1:8000")

@worker.on_connect
async def came(connection):
    await connection.bind(parse_qs(connection.query)["user"][0])
    connection.send(connection.id)
"""
# What no two calls have in common.
VOLATILE = frozenset({"time", "since", "until", "epoch", "address", "edited"})


@dataclass(frozen=True)
class Failure:
    """How a door refuses: its code as far as the door shows it, and its sentence."""

    code: str
    text: str


class Refused(Exception):
    """A door refused a call."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.text)
        self.failure = failure


@dataclass
class Doors:
    """One server and the four ways in."""

    server: Chatmaster
    calls: dict[str, Call]
    application: str
    store: str
    key: str

    async def by_http(self, verb: str, request: Json) -> Any:
        return await asyncio.to_thread(self._post, verb, request)

    def _post(self, verb: str, request: Json) -> Any:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.key}"}
        url = f"{self.server.http}/api/v1/{verb}"
        try:
            with urllib.request.urlopen(
                urllib.request.Request(url, json.dumps(request).encode(), headers), timeout=30
            ) as response:
                return json.loads(response.read())
        except urllib.error.HTTPError as error:
            with error:
                problem = json.loads(error.read())
            assert STATUS[problem["code"]] == error.code == problem["status"]
            assert error.headers["content-type"] == "application/problem+json"
            place = f" ({problem['field']})" if problem.get("field") else ""
            raise Refused(Failure(problem["code"], problem["detail"] + place)) from None

    async def by_chatctl(self, verb: str, request: Json) -> Any:
        """The command itself, without the start of a process for each."""
        out, err = io.StringIO(), io.StringIO()
        words = ["--config", str(self.server.config_path), "--state-dir", str(self.server.state_dir)]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = await asyncio.to_thread(chatctl.run, [*words, "call", verb, json.dumps(request)])
        if code:
            text = err.getvalue().strip().removeprefix("chatctl: ")
            raise Refused(Failure("usage" if code == ExitCode.USAGE else "failed", text))
        return json.loads(out.getvalue())

    async def by_gateway(self, method: Callable[[Any], Any]) -> Any:
        def call() -> Any:
            with Gateway(self.store, timeout=20.0) as gateway:
                return method(gateway)

        return await self._of_gateway(asyncio.to_thread(call))

    async def by_async_gateway(self, method: Callable[[Any], Any]) -> Any:
        async with AsyncGateway(self.store, timeout=20.0) as gateway:
            return await self._of_gateway(method(gateway))

    async def _of_gateway(self, answer: Any) -> Any:
        try:
            return msgspec.to_builtins(await answer)
        except (GatewayError, ValueError) as error:
            raise Refused(Failure(type(error).__name__, str(error))) from None

    async def scene(self, stack: AsyncExitStack, probe: AsyncGateway, name: str) -> Scene:
        make = scenes.chat_scene if self.application == "chat" else scenes.program_scene
        return await make(stack, self.server, probe, name)


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Doors]]:
    """The doors of a server with the chat, and of one with a program; each started when first asked for."""
    made: dict[str, Doors] = {}

    def of(application: str) -> Doors:
        if application not in made:
            made[application] = _open(application, tmp_path_factory.mktemp("parity"))
        return made[application]

    with contextlib.ExitStack() as stack:
        stack.callback(lambda: _close(made))
        yield of


def _close(made: dict[str, Doors]) -> None:
    for one in made.values():
        one.server.close()


def _open(application: str, folder: Path) -> Doors:
    program = folder / "program.py"
    program.write_text(PROGRAM_TEXT)
    settings = {"auth.secret": scenes.SECRET, "limits.ping_interval": 600.0, "limits.message_size": 1024}
    server = Chatmaster("" if application == "chat" else str(program), workers=2, settings=settings)
    try:
        server.start()
        made = server.ctl("apikey", "add", "parity", "--rate", "0")
        assert made.returncode == 0, made.stderr
        calls = {**scenes.BOTH, **(scenes.CHAT if application == "chat" else scenes.PROGRAM)}
        return Doors(server, calls, application, str(server.status()["store"]["url"]), made.stdout.strip())
    except BaseException:
        server.close()
        raise


def everywhere() -> list[tuple[str, str]]:
    """Each verb with each application that has it."""
    return [
        (verb.name, application)
        for verb in TABLE.values()
        for application in ("chat", "program")
        if verb.application in ("", application)
    ]


def common(value: Any, scene: Scene, caller: str) -> Any:
    """An answer without what is the scene's own."""
    if isinstance(value, dict):
        return {
            name: "…" if _is_volatile(name, one, caller) else common(one, scene, caller) for name, one in value.items()
        }
    if isinstance(value, list | tuple):
        return [common(one, scene, caller) for one in value]
    if isinstance(value, str):
        names = (scene.connection, "CONNECTION"), (scene.room, "ROOM"), (scene.user, "USER")
        for name, word in names:
            value = value.replace(name, word)
    return value


def _is_volatile(name: str, value: Any, caller: str) -> bool:
    if name == "by":
        return bool(value == caller)
    return name == "slot" or (name in VOLATILE and bool(value))  # a time of 0 says that there is none


@pytest.mark.parametrize(("verb", "application"), everywhere())
async def test_every_door_gives_the_same_answer_and_has_the_same_effect(
    doors: Callable[[str], Doors], verb: str, application: str
) -> None:
    found = doors(application)
    call = found.calls[verb]
    results = []
    async with AsyncExitStack() as stack:
        probe = await stack.enter_async_context(AsyncGateway(found.store, timeout=20.0))
        if verb == "online":
            await until_async(partial(_only, probe, 0), 30.0, what="the connections of other tests are gone")
        names = [f"{verb}-{number}" for number in range(4)]
        places = [await found.scene(stack, probe, name) for name in names]
        ways: list[tuple[str, Callable[[Scene], Any]]] = [
            ("key:parity", lambda one: found.by_http(verb, call.request(one))),
            (OPERATOR, lambda one: found.by_chatctl(verb, call.request(one))),
            ("gateway", lambda one: found.by_gateway(lambda gateway: call.method(gateway, one))),
            ("gateway", lambda one: found.by_async_gateway(lambda gateway: call.method(gateway, one))),
        ]
        if verb == "online":
            await until_async(partial(_only, probe, len(places)), 30.0, what="all connections are counted")
        for (caller, way), scene in zip(ways, places, strict=True):
            if call.before is not None:
                await call.before(scene)
            answer = await way(scene)
            whole = caller != "gateway"
            shown = call.part(answer) if whole else _shown(verb, answer)
            effect = await call.effect(scene) if call.effect is not None else None
            results.append(common([shown, effect], scene, caller if call.before is None else "gateway"))
    assert all(one == results[0] for one in results), "\n".join(map(json.dumps, results))
    assert TABLE[verb].reads or call.effect is not None or verb == "token", "what does it do?"


async def _only(probe: AsyncGateway, count: int) -> bool:
    """Whether every worker counts so many; each learns of the others' connections a moment later."""
    for _ in range(12):  # any of them answers
        if await probe.online() != count:
            return False
        await asyncio.sleep(0.01)
    return True


def _shown(verb: str, answer: Any) -> Any:
    """A gateway's answer, as `Call.part` shows that of the other doors."""
    if verb == "token":
        return scenes._claims(answer)
    if verb == "send_to_room":
        return [row | {"offset": 0} for row in answer]
    return answer


@pytest.mark.parametrize(("verb", "application"), everywhere())
async def test_every_door_refuses_the_same_in_the_same_way(
    doors: Callable[[str], Doors], verb: str, application: str
) -> None:
    found = doors(application)
    call = found.calls[verb]
    if call.refused is None or call.refused_method is None:
        assert not TABLE[verb].request.__struct_fields__, "what can be wrong with it?"
        return
    by_http = await _failure(found.by_http(verb, call.refused))
    by_chatctl = await _failure(found.by_chatctl(verb, call.refused))
    by_gateway = await _failure(found.by_gateway(call.refused_method))
    by_async = await _failure(found.by_async_gateway(call.refused_method))
    assert by_http.code == call.code
    assert by_gateway.code == by_async.code == error_of(call.code).__name__
    assert by_chatctl.code == ("usage" if call.code in ("bad_request", "too_large") else "failed")
    assert by_gateway.text == by_async.text
    text = re.sub(r"^(\w+): (.*)$", r"\2 (\1)", by_chatctl.text, flags=re.DOTALL)
    assert by_http.text in (by_chatctl.text, text)
    if "no room!" not in str(call.refused) and "nobody!" not in str(call.refused):  # which a gateway refuses by itself
        assert by_gateway.text == by_http.text


@pytest.mark.parametrize("application", ["chat", "program"])
async def test_what_the_application_has_not_is_refused_by_every_door(
    doors: Callable[[str], Doors], application: str
) -> None:
    found, others = doors(application), scenes.PROGRAM if application == "chat" else scenes.CHAT
    scene = Scene(found.server, None, "hall", "ada", scenes.NOWHERE, None)  # type: ignore[arg-type]
    foreign = [verb.name for verb in TABLE.values() if verb.application not in ("", application)]
    assert foreign
    for verb in foreign:
        call = others[verb]
        request = call.request(scene)
        failures = [
            await _failure(found.by_http(verb, request)),
            await _failure(found.by_chatctl(verb, request)),
            await _failure(found.by_gateway(partial(_called, call, scene))),
            await _failure(found.by_async_gateway(partial(_called, call, scene))),
        ]
        codes = [one.code for one in failures]
        assert codes == ["wrong_application", "usage", "WrongApplication", "WrongApplication"], (verb, failures)
        assert len({one.text for one in failures}) == 1, (verb, failures)


def _called(call: Call, scene: Scene, gateway: Any) -> Any:
    return call.method(gateway, scene)


async def _failure(call: Any) -> Failure:
    with pytest.raises(Refused) as refused:
        await call
    return refused.value.failure
