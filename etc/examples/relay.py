"""A relay: a message of one client reaches every client of every worker.

chatctl start etc/examples/relay.py -n 4
"""

from chatmaster import Connection, Worker

worker = Worker("websocket://127.0.0.1:8000", name="relay", count=4)


@worker.on_message
async def relay(connection: Connection, data: str | bytes) -> None:
    await worker.broadcast(data)


if __name__ == "__main__":
    Worker.run_all()
