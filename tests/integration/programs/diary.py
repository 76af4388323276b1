"""Writes down which callbacks came, one a line, in the file that DIARY names; "flood" fills the client's buffer."""

import asyncio
import os
from pathlib import Path
from typing import Any

from workers import Connection, Worker

worker = Worker(name="diary")
full = asyncio.Event()


def note(text: str) -> None:
    with Path(os.environ["DIARY"]).open("a") as file:
        file.write(f"{text}\n")


def noting(event: str) -> Any:
    return lambda *_: note(event)


worker.on_worker_start = noting("worker_start")
worker.on_worker_stop = noting("worker_stop")
worker.on_connect = noting("connect")
worker.on_websocket_connect = noting("websocket_connect")
worker.on_buffer_drain = noting("buffer_drain")
worker.on_close = noting("close")


@worker.on_buffer_full
def stop_flooding(connection: Connection) -> None:
    note("buffer_full")
    full.set()


@worker.on_message
async def message(connection: Connection, data: str | bytes) -> None:
    if data == "join":
        await connection.join("hall")
        connection.send("joined")
    elif data == "flood":
        await flood(connection)
    else:
        await worker.send_to_room("hall", data)


async def flood(connection: Connection) -> None:
    while not full.is_set():
        connection.send("x" * 10_000)
        await asyncio.sleep(0)
    connection.send("that was it")


if __name__ == "__main__":
    Worker.run_all()
