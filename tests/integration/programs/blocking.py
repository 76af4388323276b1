"""Plain functions that block: in threads, or, where a client asks for it, on the worker's loop."""

import re
import threading
import time

from workers import Connection, Timer, Worker

worker = Worker(name="blocking")
worker.threads = 4
running: list[int] = []
most: list[int] = []


@worker.on_message(threaded=True)
def message(connection: Connection, data: str | bytes) -> None:
    what, _, rest = str(data).partition(" ")
    if what == "sleep":
        running.append(1)
        most.append(len(running))
        time.sleep(0.05)
        running.pop()
        worker.call_soon_threadsafe(connection.send, rest)
    elif what == "most":
        worker.call_soon_threadsafe(connection.send, str(max(most)))
    elif what == "send":
        try:
            connection.send("from a thread")
        except RuntimeError as error:
            worker.call_soon_threadsafe(connection.send, str(error))
    elif what == "broadcast":
        worker.run_threadsafe(worker.broadcast(rest), timeout=10)
    elif what == "stop":
        raise StopIteration
    elif what == "block":
        worker.call_soon_threadsafe(block_the_loop, float(rest))
    elif what == "timer":
        worker.call_soon_threadsafe(Timer.add, 0.01, block_the_loop, (float(rest),), False)
    elif what == "regex":
        worker.call_soon_threadsafe(keep_the_interpreter, float(rest))
    elif what == "thread":
        worker.call_soon_threadsafe(connection.send, threading.current_thread().name)


PATTERN = "(?:a|a)*b"


def keep_the_interpreter(seconds: float) -> None:
    began, length = time.monotonic(), 16
    while time.monotonic() - began < seconds:  # until one of them takes about as long
        length += 1
        text = "a" * length
        re.match(PATTERN, text)


def block_the_loop(seconds: float) -> None:
    time.sleep(seconds)  # the line that a warning names
