"""Tells each client which address it comes from, and answers with the process that serves it."""

import os

from workers import Connection, Worker

worker = Worker("websocket://127.0.0.1:8000")


@worker.on_connect
def connected(connection: Connection) -> None:
    connection.send(connection.remote_ip)


@worker.on_message
def message(connection: Connection, data: str | bytes) -> None:
    connection.send(str(os.getpid()))
