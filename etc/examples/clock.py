"""A clock: every connection receives the time once a second.

Start it with `chatctl start etc/examples/clock.py`, or as a script: `bin/python etc/examples/clock.py start -d`.
"""

import time

from chatmaster import Timer, Worker

worker = Worker("websocket://127.0.0.1:8000", name="clock", count=4)


@worker.on_worker_start
def started(worker: Worker) -> None:
    Timer.add(1, tell_the_time, (worker,))


def tell_the_time(worker: Worker) -> None:
    # Each process has its own timer and sends to its own connections, so no message passes through the store.
    now = time.strftime("%H:%M:%S")
    for connection in list(worker.connections.values()):
        connection.send(now)


if __name__ == "__main__":
    Worker.run_all()
