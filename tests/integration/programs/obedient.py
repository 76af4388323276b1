"""Does to itself what a client asks for: for tests of how the master sees it."""

import os
import signal
import time

import workers.node.node
from workers import Connection, Worker
from workers.callbacks.application import CallbackApplication
from workers.node.client_connection import ClientConnection

ROOMS, LONG = 90, 64  # what it joins at "join", and the length of their names
LOUD = 150_000  # characters

vars(workers.node.node)["MEMBERS_MOST"] = 2  # so that nobody need bring a thousand


class Buggy(CallbackApplication):
    """With a bug at "bug"."""

    def on_message(self, connection: ClientConnection, data: str | bytes) -> None:
        if data == "bug":
            raise RuntimeError("a bug of the application itself")
        super().on_message(connection, data)


worker = Worker(name="obedient")
worker.application = lambda _, node: Buggy(node)


@worker.on_message
async def obey(connection: Connection, data: str | bytes) -> None:
    match data:
        case "join":
            for number in range(ROOMS):
                await connection.join(f"{number:0{LONG}}")
            connection.send("joined")
        case "sit":
            await connection.bind(connection.id)
            await connection.join("hall")
            connection.send("seated")
        case "shout":
            await worker.send_to_room("loud", "x" * LOUD)
        case "pid":
            connection.send(str(os.getpid()))
        case "hang":
            hang_here()
        case "exit":
            os._exit(3)
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)


def hang_here() -> None:
    time.sleep(3600)


if __name__ == "__main__":
    Worker.run_all()
