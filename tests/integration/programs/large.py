"""Sends one large message, and a line whenever the client's buffer is full or empty again."""

from workers import Connection, Worker

worker = Worker(name="large")
worker.max_send_buffer = 24 * 2**20


@worker.on_message
def message(connection: Connection, data: str | bytes) -> None:
    connection.send("x" * int(data))
    connection.send("after it")


@worker.on_buffer_full
def full(connection: Connection) -> None:
    connection.session["full"] = connection.buffered


@worker.on_buffer_drain
def drain(connection: Connection) -> None:
    connection.send(f"drained, it was full with {connection.session['full']}")
