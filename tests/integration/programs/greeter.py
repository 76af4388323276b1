"""Makes a connection ready in a coroutine, which takes a turn of the store; messages rely on it."""

from workers import Connection, ConnectionRequest, Worker

worker = Worker(name="greeter")


@worker.on_connect
async def connected(connection: Connection) -> None:
    await connection.join("hall")
    connection.session["count"] = 0


@worker.on_websocket_connect
async def opened(connection: Connection, request: ConnectionRequest) -> None:
    await connection.leave("hall")
    connection.session["count"] += 10


@worker.on_message
def message(connection: Connection, data: str | bytes) -> None:
    connection.session["count"] += 1
    connection.send(str(connection.session["count"]))
