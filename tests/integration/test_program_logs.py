"""An application may set up logging as it likes: what the worker has to say stays in the worker's log."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial

import pytest

from tests.support.server import Chatmaster
from tests.support.wait import until
from tests.support.ws import RawSocket

Make = Callable[..., Chatmaster]
PROGRAM = "tests/integration/programs/django_like.py"


def said(server: Chatmaster, text: str) -> bool:
    return text in server.log()


@pytest.mark.timeout(120)
async def test_tracebacks_and_the_stack_of_a_hang_survive_whatever_is_done_to_logging(chatmaster: Make) -> None:
    assert "are enabled again" not in chatmaster(workers=1).log()  # nobody has silenced anything
    server = chatmaster(PROGRAM, workers=1, settings={"master.hang_timeout": 2.0})
    for way in ("dict", "basic", "disable", "silence", "remove", "filter", "shutdown", "faults"):
        async with await RawSocket.open(server.url) as client:
            client.send_text(f"set {way}")
            assert await client.read_message() == "set"
            client.send_text(f"fail {way}")
            assert (await client.wait_closed()).code == 1011
            until(partial(said, server, f"on purpose after {way}"), what=f"the failure after {way} is logged")
    async with await RawSocket.open(server.url) as client:
        client.send_text("set dict")
        assert await client.read_message() == "set"
        client.send_text("hang")
        until(lambda: "hang_here" in server.log(), 30, "the stack of the hang is in the log")
    assert "the application has configured logging: the log of the worker goes on beside it" in server.log()


async def test_a_json_log_holds_nothing_but_json_also_where_the_program_prints(chatmaster: Make) -> None:
    server = chatmaster(PROGRAM, workers=1, settings={"log.format": "json"})
    async with await RawSocket.open(server.url) as client:
        client.send_text("say hello")
        until(lambda: "printed hello" in server.log(), what="it is printed")
    assert server.stop() == 0
    rows = [json.loads(line) for line in server.log().splitlines()]
    (printed,) = [row for row in rows if row["message"] == "printed hello"]
    assert (printed["logger"], printed["level"]) == ("stdout", "info")
    (said,) = [row for row in rows if row["message"] == "the program says hello"]
    assert said["logger"] == "django_like"  # the file's name
