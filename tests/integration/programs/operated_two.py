"""As `operated.py`, with two Workers: the second one listens on $SECOND_PORT."""

import os

from workers import Connection, Worker

first = Worker("websocket://127.0.0.1:8000", name="first")
second = Worker(f"websocket://127.0.0.1:{os.environ['SECOND_PORT']}", name="second")
second.count = 1


async def enter(connection: Connection) -> None:
    await connection.join("hall")
    await connection.bind(connection.query.partition("user=")[2])
    connection.send("entered")


first.on_connect(enter)
second.on_connect(enter)

if __name__ == "__main__":
    Worker.run_all()
