"""Does to itself what a client asks for: for tests of how the master sees it."""

import os
import signal
import time

from workers import Connection, Worker

worker = Worker(name="obedient")


@worker.on_message
def obey(connection: Connection, data: str) -> None:
    match data:
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
