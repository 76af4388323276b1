"""An echo: returns text as text and binary as binary. Conformance suites test it.

chatctl start etc/examples/echo.py
"""

from chatmaster import Connection, Worker

worker = Worker("websocket://127.0.0.1:8000", name="echo")


@worker.on_message
def echo(connection: Connection, data: str | bytes) -> None:
    connection.send(data)


if __name__ == "__main__":
    Worker.run_all()
