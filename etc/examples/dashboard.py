"""A dashboard: every browser sees load, memory and connections of the server, each second.

    chatctl start etc/examples/dashboard.py
    (then open http://127.0.0.1:8000/)

The page is `dashboard.html` beside this file. A browser that comes gets the last minute at once.
"""

import collections
import json
import os
import time
from pathlib import Path

from starlette.applications import Starlette
from starlette.responses import FileResponse
from starlette.routing import Route

from chatmaster import Connection, Timer, Worker

KEPT = 60  # seconds

page = FileResponse(Path(__file__).with_name("dashboard.html"))
worker = Worker(
    "websocket://127.0.0.1:8000", name="dashboard", count=2, http=Starlette(routes=[Route("/", lambda request: page)])
)
history: collections.deque[dict[str, float]] = collections.deque(maxlen=KEPT)


@worker.on_worker_start
def started(worker: Worker) -> None:
    # Each process measures by itself and sends to its own connections, so nothing passes through the store.
    Timer.add(1, measure, (worker,))


async def measure(worker: Worker) -> None:
    sample = {
        "time": round(time.time()),
        "load": os.getloadavg()[0],
        "memory": memory_used(),
        "connections": await worker.online(),  # of all processes and machines
    }
    history.append(sample)
    for connection in list(worker.connections.values()):
        connection.send(json.dumps([sample]))


def memory_used() -> float:
    """The part of the machine's memory that is in use, from 0 to 1."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    found = {key: int(value.split()[0]) for key, value in (line.split(":") for line in lines)}
    return 1 - found["MemAvailable"] / found["MemTotal"]


@worker.on_connect
def came(connection: Connection) -> None:
    connection.send(json.dumps(list(history)))


if __name__ == "__main__":
    Worker.run_all()
