"""What a handover cannot move: connections whose TLS ends in the worker. They are told, and everybody else stays."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.support import processes
from tests.support.server import Chatmaster
from tests.support.ws import ChatSocket

Make = Callable[..., Chatmaster]


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[str, str]:
    cert, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", key, "-out", cert, "-days", "1", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key


async def test_a_connection_with_tls_is_sent_away_with_its_own_time_to_come_back(
    chatmaster: Make, certificate: tuple[str, str]
) -> None:
    port = processes.free_port()
    server = chatmaster(
        workers=1,
        settings={"server.tls_cert": certificate[0], "server.tls_key": certificate[1]},
        arguments=("-b", f"wss://127.0.0.1:{port}"),
    )
    trusting = ssl.create_default_context(cafile=certificate[0])
    async with (
        await ChatSocket.enter(server.url, "lobby") as plain,
        connect(f"wss://127.0.0.1:{port}/", ssl=trusting, server_hostname="localhost") as secure,
    ):
        await secure.send(json.dumps({"type": "hello", "rooms": [{"room": "lobby"}]}))
        assert json.loads(await secure.recv())["type"] == "welcome"
        reload = asyncio.create_task(asyncio.to_thread(server.ctl, "reload"))
        heard = []
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                heard.append(json.loads(await asyncio.wait_for(secure.recv(), 20)))
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        assert heard[-1]["type"] == "bye"
        assert heard[-1]["retry_after_ms"] >= 0
        assert (await reload).returncode == 0
        plain.send_json({"type": "say", "room": "lobby", "text": "still here", "id": 1})
        while (await plain.receive_json())["type"] != "ack":
            pass
    assert "could not be handed over: its TLS ends in this process" in server.log()
    assert "handed 1 of 2 connections over" in server.log()
    moved = "1 connection moved to another worker, 1 could not and had to connect again"
    assert "reloaded, as chatctl asked: 1 worker of generation 2, after " in server.log() and moved in server.log()
    with await asyncio.to_thread(urllib.request.urlopen, f"{server.http}/metrics") as response:
        metrics = response.read().decode()
    failures = [line for line in metrics.splitlines() if line.startswith("chatmaster_hand_over_failures")]
    assert sum(float(line.rpartition(" ")[2]) for line in failures) == 1
