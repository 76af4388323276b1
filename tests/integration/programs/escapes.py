"""Raises what is no Exception, wherever a client says: awaits what was cancelled, exits, is interrupted."""

import asyncio
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from workers import Connection, Timer, Worker

worker = Worker(name="escapes")


async def await_cancelled() -> None:
    job = asyncio.ensure_future(asyncio.sleep(60))
    job.cancel()
    await job


async def cancel_oneself() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(60)


def leave() -> NoReturn:
    sys.exit("a message of argparse")


def interrupt() -> NoReturn:
    raise KeyboardInterrupt


def generator_exit() -> NoReturn:
    raise GeneratorExit


async def leave_later() -> NoReturn:
    await asyncio.sleep(0)
    sys.exit(2)


WAYS: dict[str, Callable[[], Any]] = {
    function.__name__: function
    for function in (await_cancelled, cancel_oneself, leave, interrupt, generator_exit, leave_later)
}


async def fail(way: str) -> None:
    result = WAYS[way]()
    if result is not None:
        await result


def start_failing(worker: Worker) -> Any:
    return fail(os.environ["FAIL_AT_START"]) if "FAIL_AT_START" in os.environ else None


worker.on_worker_start = start_failing


@worker.on_worker_reload
async def reloaded(worker: Worker) -> None:
    await await_cancelled()


@worker.on_worker_stop
def stopped(worker: Worker) -> None:
    leave()


@worker.on_connect
async def connected(connection: Connection) -> None:
    if connection.query.startswith("connect="):
        await fail(connection.query.removeprefix("connect="))


@worker.on_close
async def closed(connection: Connection, code: int, reason: str) -> None:
    if connection.query.startswith("close="):
        await fail(connection.query.removeprefix("close="))


@worker.on_error
async def failed(connection: Connection, error: Exception) -> None:
    await cancel_oneself()


@worker.on_message
async def message(connection: Connection, data: str | bytes) -> None:
    what, _, way = str(data).partition(" ")
    match what:
        case "echo":
            connection.send(way)
        case "pid":
            connection.send(str(os.getpid()))
        case "fail":
            await fail(way)
        case "task":  # of the program's own: nobody here sees it end
            connection.session["task"] = None
            tasks.append(asyncio.ensure_future(fail(way)))
        case "soon":
            asyncio.get_running_loop().call_soon(WAYS[way])
        case "stop":
            asyncio.get_running_loop().stop()
        case "timer":
            Timer.add(0.02, fail, (way,))


tasks: list[Any] = []
