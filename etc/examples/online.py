"""The online list: who is here, over all workers, kept by on_connect and on_close.

A client may give its name with the address, such as ws://127.0.0.1:8000/?name=ada. Whenever the list changes,
everyone gets it as one line of JSON.

    chatctl start etc/examples/online.py -n 4
"""

import json
from urllib.parse import parse_qs

from workers import Connection, Timer, Worker

ROOM = "everyone"

worker = Worker("websocket://127.0.0.1:8000", name="online", count=4)


@worker.on_connect
async def came(connection: Connection) -> None:
    names = parse_qs(connection.query).get("name", [f"guest-{connection.id[:6]}"])
    await connection.bind(names[0])
    await connection.join(ROOM)
    connection.session["shown"] = None


@worker.on_close
def went(connection: Connection, code: int, reason: str) -> None:
    """Its place in the room ends by itself: presence belongs to the connection."""


@worker.on_worker_start
def started(worker: Worker) -> None:
    Timer.add(0.5, show, (worker,))


async def show(worker: Worker) -> None:
    """Tell each of this process's connections the list, where it is another than the one it has."""
    names = sorted(member["user"] for member in await worker.members(ROOM))
    line = json.dumps({"online": names, "count": len(names)})
    for connection in list(worker.connections.values()):
        if "shown" in connection.session and connection.session["shown"] != line:
            connection.session["shown"] = line
            connection.send(line)


if __name__ == "__main__":
    Worker.run_all()
