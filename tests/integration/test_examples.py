"""The example programs, each with four workers, over real sockets."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack

from chatmaster.contract import ExitCode
from chatmaster.testing import LocalServer
from tests.support import processes
from tests.support.server import ROOT
from tests.support.wait import until_async
from tests.support.ws import RawSocket

Serve = Callable[..., LocalServer]


def example(name: str) -> str:
    return str(ROOT / "etc" / "examples" / f"{name}.py")


async def clients(stack: AsyncExitStack, server: LocalServer, count: int, query: str = "") -> list[RawSocket]:
    return [await stack.enter_async_context(await RawSocket.open(f"{server.url}/{query}")) for _ in range(count)]


def workers_used(server: LocalServer) -> Counter[int]:
    return Counter(row["slot"] for row in json.loads(server.chatctl("connections", "--json")))


async def test_the_clock_tells_every_connection_of_every_worker_the_time(serve: Serve) -> None:
    server = serve(example("clock"), workers=4)
    async with AsyncExitStack() as stack:
        sockets = await clients(stack, server, 40)
        for _ in range(2):
            times = await asyncio.gather(*(socket.read_message() for socket in sockets))
            assert all(isinstance(time, str) and len(time) == len("00:00:00") for time in times)
        assert set(workers_used(server)) == {0, 1, 2, 3}


async def test_the_relay_carries_every_message_to_everyone_once_and_in_one_order(serve: Serve) -> None:
    server = serve(example("relay"), workers=4, settings={"limits.rate": 0})
    async with AsyncExitStack() as stack:
        sockets = await clients(stack, server, 40)
        assert set(workers_used(server)) == {0, 1, 2, 3}
        said = [f"{number}" for number in range(100)] + [bytes([number]) for number in range(20)]
        for number, data in enumerate(said):
            speaker = sockets[number % 5]
            if isinstance(data, str):
                speaker.send_text(data)
            else:
                speaker.send_frame(2, data)
        heard = [[await socket.read_message() for _ in said] for socket in sockets]
    assert sorted(map(repr, heard[0])) == sorted(map(repr, said))
    assert all(one == heard[0] for one in heard)


async def test_the_online_list_follows_who_comes_and_goes_over_all_workers(serve: Serve) -> None:
    server = serve(example("online"), workers=4)

    async def shows(socket: RawSocket, names: set[str]) -> None:
        shown: set[str] = set()
        while shown != names:
            shown = set(json.loads(await socket.read_message(15))["online"])

    async with AsyncExitStack() as stack:
        ada = await stack.enter_async_context(await RawSocket.open(server.url + "/?name=ada"))
        async with AsyncExitStack() as others:
            for number in range(8):
                await clients(others, server, 1, f"?name=user{number}")
            await shows(ada, {"ada", *(f"user{number}" for number in range(8))})
        await shows(ada, {"ada"})


async def test_on_error_hears_of_a_lost_connection_a_timeout_and_a_bug(serve: Serve) -> None:
    server = serve(example("errors"), workers=4, settings={"limits.ping_interval": 0.3, "limits.ping_timeout": 0.3})
    async with await RawSocket.open(server.url + "/") as lost:
        lost.abort()
    async with await RawSocket.open(server.url + "/") as bug:
        bug.send_text("fail")
        assert (await bug.wait_closed()).code == 1011
    async with await RawSocket.open(server.url + "/") as silent:  # it answers no ping: nobody reads from it
        kinds = ("lost: ", "timed out: ", "bug: ")
        await until_async(lambda: all(kind in server.log() for kind in kinds), what="on_error has heard of all three")
        assert (await silent.wait_closed()).code == 4010


async def test_the_echo_answers_text_with_text_and_binary_with_binary(serve: Serve) -> None:
    server = serve(example("echo"), workers=4)
    async with await RawSocket.open(server.url + "/any/path") as socket:
        socket.send_text("häh?")
        assert await socket.read_message() == "häh?"
        socket.send_frame(2, b"\x00\xff")
        assert await socket.read_message() == b"\x00\xff"


def test_a_program_starts_and_stops_as_a_script() -> None:
    port = str(processes.free_port())
    with tempfile.TemporaryDirectory(prefix="cm-") as state_dir:  # short: a unix socket's path ends at 107 bytes

        def run(*words: str) -> subprocess.CompletedProcess[str]:
            environment = {**os.environ, "PYTHONPATH": str(ROOT), "CHATMASTER_MASTER_STATE_DIR": state_dir}
            return subprocess.run(
                [sys.executable, example("clock"), *words],
                cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60,
            )  # fmt: skip

        started = run("start", "-d", "-n", "1", "-b", f"ws://127.0.0.1:{port}")
        assert started.returncode == ExitCode.DONE, started.stderr
        try:
            assert run("status").returncode == ExitCode.DONE
        finally:
            stopped = run("stop")
        assert stopped.returncode == ExitCode.DONE, stopped.stderr
        assert run("status").returncode == ExitCode.NOT_RUNNING
