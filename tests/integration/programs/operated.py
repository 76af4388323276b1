"""A program for the operator's verbs: `?user=ann` is bound, everybody is in the room "hall", nobody is answered."""

from workers import Connection, Worker

worker = Worker("websocket://127.0.0.1:8000", name="operated")


@worker.on_connect
async def enter(connection: Connection) -> None:
    await connection.join("hall")
    if user := connection.query.partition("user=")[2]:
        await connection.bind(user)
    connection.send("entered")


if __name__ == "__main__":
    Worker.run_all()
