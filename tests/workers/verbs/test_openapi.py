"""Schemathesis against the OpenAPI document: whatever it allows is taken, and whatever it forbids is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.server import Chatmaster
from workers.verbs.openapi import document
from workers.verbs.table import of_application

EXAMPLES = 5  # of each verb, beside the cases that its schema names

PROGRAM = """
from workers import Worker

worker = Worker("websocket://127.0.0.1:8000")
"""


@pytest.mark.timeout(240)
@pytest.mark.parametrize("application", ["chat", "program"])
def test_schemathesis_finds_nothing(chatmaster: Callable[..., Chatmaster], tmp_path: Path, application: str) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    server = chatmaster("" if application == "chat" else str(program), workers=1, settings={"auth.secret": "s" * 40})
    key = server.ctl("apikey", "add", "fuzz", "--rate", "0").stdout.strip()
    words = ["run", f"{server.http}/api/v1/openapi.json", "--header", f"Authorization: Bearer {key}"]
    words += ["--url", f"{server.http}/api/v1", "--max-examples", str(EXAMPLES), "--seed", "1", "--no-color"]
    words += ["--continue-on-failure", "--generation-database", "none"]
    done = subprocess.run(
        [str(Path(sys.executable).with_name("schemathesis")), *words],
        cwd=tmp_path, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr
    assert "the verb" not in server.log()  # of a bug, which would be answered by 500


def test_a_number_without_a_fraction_is_an_integer_and_other_values_are_not(
    chatmaster: Callable[..., Chatmaster],
) -> None:
    server = chatmaster(workers=1)

    def call(verb: str, request: str) -> Any:
        done = server.ctl("call", verb, request)
        return json.loads(done.stdout) if done.returncode == 0 else done.stderr

    assert call("history", '{"room": "hall", "limit": 5.0}')["messages"] == []
    assert call("history", '{"room": "hall", "limit": 5e0, "after": null}')["messages"] == []
    assert "limit" in call("history", '{"room": "hall", "limit": 5.5}')
    assert "limit" in call("history", '{"room": "hall", "limit": "5"}')
    assert "limit" in call("history", '{"room": "hall", "limit": 1e300}')
    assert call("say", '{"room": "hall", "data": 5.0, "reply_to": null}')["offset"] == 1
    assert call("history", '{"room": "hall"}')["messages"][0]["data"] == 5.0


@pytest.mark.parametrize("application", ["chat", "program"])
def test_the_document_says_what_goes_together(application: Any) -> None:
    verbs = of_application(application)
    schemas = document(verbs, "0")["components"]["schemas"]
    for one in verbs:
        fields = set(schemas[one.request.__name__].get("properties", {}))
        assert one.request.rule or not fields >= {"text"}, one.name
        assert fields == set(one.request.__struct_fields__), one.name
    assert msgspec.json.encode(schemas)
