"""The port of chat.php: everybody hears everybody, over all processes, and the time every two seconds.

chatctl start etc/examples/workerman/chat.py
ws://127.0.0.1:8000/?name=ada
"""

import time
from urllib.parse import parse_qs

from chatmaster import Connection, ConnectionRequest, Timer, Worker

worker = Worker("websocket://127.0.0.1:8000", name="chat", count=4)  # `broadcast` reaches all four


@worker.on_worker_start
def started(worker: Worker) -> None:
    Timer.add(2, tell_the_time, (worker,))


def tell_the_time(worker: Worker) -> None:
    for connection in list(worker.connections.values()):  # those of this process
        connection.send(time.strftime("It is %H:%M:%S"))


@worker.on_websocket_connect
async def came(connection: Connection, request: ConnectionRequest) -> None:
    connection.session["name"] = parse_qs(request.query).get("name", ["guest"])[0]
    await worker.broadcast(f"{connection.session['name']} is here")


@worker.on_message
async def message(connection: Connection, data: str | bytes) -> None:
    await worker.broadcast(f"{connection.session['name']}: {data}")


@worker.on_close
async def went(connection: Connection, code: int, reason: str) -> None:
    await worker.broadcast(f"{connection.session['name']} has left")


if __name__ == "__main__":
    Worker.run_all()
