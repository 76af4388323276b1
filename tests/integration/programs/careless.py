"""Does to its process what careless programs do; what, the environment or a client says."""

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from workers import Connection, Timer, Worker

worker = Worker(name="careless")
kept: list[Any] = []


class Tee:
    """What a program may put into the place of a stream: it has no `flush`."""

    def write(self, text: str) -> int:
        return len(text)


def replace_streams() -> None:
    sys.stdout = Tee()
    sys.stderr = None


def leave(number: int, frame: object) -> NoReturn:
    sys.exit(3)


async def tidy(path: str) -> None:
    try:
        await asyncio.sleep(600)
    finally:
        await asyncio.sleep(0)
        Path(path).write_text("tidied up")


async def endless() -> None:
    while True:
        with contextlib.suppress(BaseException):
            await asyncio.sleep(60)


def no_request(*args: Any, **kwargs: Any) -> NoReturn:
    raise LookupError("there is no request")


async def do(what: str) -> None:
    if what.startswith("/"):
        kept.append(asyncio.create_task(tidy(what)))
    match what:
        case "streams":
            replace_streams()
        case "die of SIGTERM":
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            kept.append(subprocess.Popen(["sleep", "600"]))
        case "exit by SIGTERM":
            signal.signal(signal.SIGTERM, leave)
            kept.append(subprocess.Popen(["sleep", "600"]))
        case "stop by SIGTERM":
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asyncio.get_running_loop().stop)
            kept.append(subprocess.Popen(["sleep", "600"]))
        case "a thread":
            kept.append(asyncio.get_running_loop().run_in_executor(None, time.sleep, 600))
        case "an endless task":
            kept.append(asyncio.create_task(endless()))
        case "an endless timer":
            Timer.add(0.01, endless, persistent=False)
        case "cancel all":
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
        case "formatter":
            for handler in logging.getLogger().handlers:
                handler.setFormatter(logging.Formatter("%(request)s %(message)s"))
        case "factory":
            logging.setLogRecordFactory(no_request)
        case "fail":
            raise ValueError("on purpose")


def generated(connection: Connection) -> Iterator[None]:
    connection.send("never")
    yield


if os.environ.get("CARELESS") == "streams":
    replace_streams()
if os.environ.get("CARELESS") == "generator":
    worker.on_connect = lambda connection: generated(connection)


@worker.on_message
async def message(connection: Connection, data: str | bytes) -> None:
    await do(str(data))
    connection.send("done")
