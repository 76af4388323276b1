"""`chatctl demo`: nobody is dropped by its reloads, what would be lost is told, and nothing of it stays."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chatmaster.cli.demo_crowd import Crowd
from tests.integration.test_top import Terminal
from tests.support.server import ROOT
from tests.support.wait import until

COMMAND = [sys.executable, "-P", "-m", "chatmaster", "demo"]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path, whose configuration would break the server."""
    with tempfile.TemporaryDirectory(prefix="d-") as name:
        (Path(name) / "chatmaster.toml").write_text("[server]\nworkers = 'none'\n")
        yield Path(name)


@pytest.fixture
def environment(folder: Path) -> dict[str, str]:
    """One in which a setting of the user would break the server."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder), "CHATMASTER_STORE_URL": "redis://nowhere:1"}


def test_reloads_drop_nobody_and_nothing_stays(environment: dict[str, str], folder: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "--connections", "60", "--seconds", "3", "--json"],
        env=environment, cwd=folder, capture_output=True, text=True, timeout=50,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    facts: dict[str, Any] = json.loads(done.stdout)
    assert (facts["connections"], facts["dropped"], facts["missing"], facts["doubled"]) == (60, 0, 0, 0)
    assert facts["reloads"] >= 1 and facts["deliveries"] == 60 * facts["said"] > 0
    assert "reload 1: generation 2" in done.stderr
    assert [path.name for path in folder.iterdir()] == ["chatmaster.toml"]


def test_the_picture_is_live_and_q_ends_it(environment: dict[str, str], folder: Path) -> None:
    terminal = Terminal([*COMMAND, "--connections", "20", "--seconds", "600"], environment, width=100, height=30)
    try:
        terminal.expect("\x1b[?1049h")
        terminal.expect("connected 20")
        terminal.expect("connections move")
        terminal.expect("generation 2")
        terminal.type("q")
        terminal.expect("\x1b[?1049l")
        terminal.expect("20 connections, ")
        assert terminal.process.wait(30) == 0
        until(lambda: [path.name for path in folder.iterdir()] == ["chatmaster.toml"])
    finally:
        terminal.close()


def test_the_server_ends_with_a_demonstration_that_is_killed(environment: dict[str, str], folder: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "--connections", "10", "--seconds", "600"],
        env=environment, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        first = process.stderr.readline()
        assert re.search(r"http://127\.0\.0\.1:(\d+)/", first), first
        state = next(path for path in folder.iterdir() if path.name.startswith("cm-")) / "state"
        master = int((state / "demo.pid").read_text())
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        process.stderr.close()
    until(lambda: not Path(f"/proc/{master}").exists(), timeout=30)


async def test_a_lost_connection_and_a_lost_message_are_counted() -> None:
    """Two connections of a stand-in that sends an offset too few, one twice, and drops a connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 101 x\r\nSec-WebSocket-Protocol: chat.v1.json\r\n\r\n")
            for text in (
                b'{"type":"welcome","rooms":[{"room":"lobby","offset":3}]}',
                b'{"type":"message","offset":4}',
                b'{"type":"message","offset":7}',
                b'{"type":"message","offset":7}',
            ):
                writer.write(bytes((0x81, len(text))) + text)
            await writer.drain()
            await reader.read(64)  # its hello
        finally:
            writer.close()

    from chatmaster import addresses

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        crowd = Crowd(addresses.parse(f"ws://127.0.0.1:{port}"))
        await crowd.open(6)
        async with asyncio.timeout(20):
            while crowd.tally.dropped < 6:
                await asyncio.sleep(0.02)
        crowd.close()
    tally = crowd.tally
    assert (tally.dropped, tally.missing, tally.doubled, tally.deliveries) == (6, 12, 6, 18)
    assert not tally.is_clean and crowd.states() == [False] * 6
