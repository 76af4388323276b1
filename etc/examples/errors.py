"""An error handler: on_error is called for lost connections, for clients that do not answer, and for bugs.

The handler logs each error and counts the errors of this process. A client that sends "errors" gets the counts; a
client that sends "fail" makes the callback raise.

    chatctl start etc/examples/errors.py --set limits.ping_interval=2 --set limits.ping_timeout=1
"""

import collections
import json
import logging

from chatmaster import Connection, ConnectionLost, ConnectionTimedOut, Worker

worker = Worker("websocket://127.0.0.1:8000", name="errors", count=4)
heard: collections.Counter[str] = collections.Counter()


@worker.on_error
def failed(connection: Connection, error: Exception) -> None:
    if isinstance(error, ConnectionLost):
        kind = "lost"
    elif isinstance(error, ConnectionTimedOut):
        kind = "timed out"
    else:
        kind = "bug"
    heard[kind] += 1
    logging.getLogger("errors").warning("%s: %s (%s)", kind, connection.id, error)


@worker.on_message
def message(connection: Connection, data: str | bytes) -> None:
    if data == "fail":
        raise ValueError("the client asked for it")
    if data == "errors":
        connection.send(json.dumps(heard))


if __name__ == "__main__":
    Worker.run_all()
