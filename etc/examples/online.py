"""An online list: the users of all workers.

A client may give its name in the URL, e.g. ws://127.0.0.1:8000/?name=ada. Whenever the list changes, every client
receives the list as one line of JSON.

    chatctl start etc/examples/online.py -n 4
"""

import json
from urllib.parse import parse_qs

from chatmaster import Connection, Timer, Worker

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
    """Nothing to do: the presence of a connection ends with the connection."""


@worker.on_worker_start
def started(worker: Worker) -> None:
    Timer.add(0.5, show, (worker,))


async def show(worker: Worker) -> None:
    """Send the list to each connection of this process that has an older list."""
    names = sorted(member["user"] for member in await worker.members(ROOM))
    line = json.dumps({"online": names, "count": len(names)})
    for connection in list(worker.connections.values()):
        if "shown" in connection.session and connection.session["shown"] != line:
            connection.session["shown"] = line
            connection.send(line)


if __name__ == "__main__":
    Worker.run_all()
