"""Shows the architecture from the running and the written code.

    python -m tests.trace say [--members N] [--calls]
    python -m tests.trace hello [--members N] [--calls]
    python -m tests.trace map

`map` draws `etc/doc/architecture.svg` from the real imports. `say` prints the way of one chat message through a worker:
its calls in order, and how many files and changes of file. `hello` prints the same of a newcomer, from the accept to
the `welcome`, with the tasks and the commands for the store.

A real server with one worker and the embedded store; N clients in one room, one of them says a message. The worker
profiles itself from before the message until everybody has it. What the worker does by the clock (its heartbeat) may
fall into that time: of several messages the one with the fewest calls is shown.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from tests.support.server import ROOT, Chatmaster
from tests.support.wait import until_async
from tests.support.ws import ChatSocket
from tests.trace import picture

MESSAGES = 8
PRESENCE_PAUSE = 0.3  # seconds
ROOM = "lobby"
Call = tuple[str, int, str]  # file, line, function


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.trace", description=__doc__)
    parser.add_argument("what", choices=["say", "hello", "map"], help="the request to follow, or the picture")
    parser.add_argument("--members", type=int, default=3, help="clients in the room (3)")
    parser.add_argument("--calls", action="store_true", help="print every call, not only the sums")
    options = parser.parse_args()
    if options.what == "map":
        picture.TARGET.write_text(picture.picture())
        return
    server = Chatmaster(str(ROOT / "tests/trace/program.py"), workers=1)
    target = server.directory / "trace.json"
    server.environment["TRACE_FILE"] = str(target)
    with server:
        traces = _traces if options.what == "say" else _newcomers
        calls = min(asyncio.run(traces(server, target, options.members)), key=len)
    if options.calls:
        for file, line, name in calls:
            print(f"{file}:{line} {name}")
    print(summary(calls, options.members, "one message" if options.what == "say" else "one newcomer"))
    if options.what == "hello":
        print(asked(calls))


def asked(calls: Sequence[Call]) -> str:
    """How many tasks a trace began, and how many commands it gave to the store."""
    names = [name for _, _, name in calls]
    tasks = sum(names.count(one) for one in ("Tasks.start", "Tasks.begin"))
    return f"{tasks} tasks or eager coroutines, {names.count('Pipeline.send')} commands for the store"


def summary(calls: Sequence[Call], members: int, what: str = "one message") -> str:
    """The sums of one trace, and its files in the order in which the message meets them."""
    files = list(dict.fromkeys(file for file, _, _ in calls))
    changes = sum(one[0] != other[0] for one, other in pairwise(calls))
    lines = sum((ROOT / file).read_text().count("\n") for file in files)
    head = f"{what}, {members} members: {len(calls)} calls, {len(files)} files ({lines} lines), {changes} changes"
    return "\n".join([head, *(f"  {file}" for file in files)])


async def _traces(server: Chatmaster, target: Path, members: int) -> list[list[Call]]:
    """The calls of MESSAGES messages."""
    pid = server.pids[0]
    clients = [await ChatSocket.enter(server.url, ROOM) for _ in range(members)]
    found = []
    for number in range(MESSAGES):
        target.unlink(missing_ok=True)
        os.kill(pid, signal.SIGUSR2)
        clients[0].send_json({"type": "say", "room": ROOM, "text": f"message {number}", "id": number})
        for client in clients:
            await client.expect("message", text=f"message {number}")
        os.kill(pid, signal.SIGUSR2)
        await until_async(target.exists, what="the trace is written")
        found.append([tuple(call) for call in json.loads(target.read_text())])
    for client in clients:
        await client.close()
    return found


async def _newcomers(server: Chatmaster, target: Path, members: int) -> list[list[Call]]:
    """The calls of MESSAGES newcomers to a room of `members`."""
    pid = server.pids[0]
    clients = [await ChatSocket.enter(server.url, ROOM) for _ in range(members)]
    found = []
    for _ in range(MESSAGES):
        await asyncio.sleep(PRESENCE_PAUSE)  # what the room is told of the last one is no part of this one
        target.unlink(missing_ok=True)
        os.kill(pid, signal.SIGUSR2)
        clients.append(await ChatSocket.enter(server.url, ROOM))
        os.kill(pid, signal.SIGUSR2)
        await until_async(target.exists, what="the trace is written")
        found.append([tuple(call) for call in json.loads(target.read_text())])
    for client in clients:
        await client.close()
    return found


if __name__ == "__main__":
    main()
