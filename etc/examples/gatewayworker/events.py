"""The port of Events.php: a client logs in, joins a room, and talks to the room or to one user.

    chatctl start etc/examples/gatewayworker/events.py

The protocol is the same, so the same clients work. Register, Gateway and BusinessWorker are one program here.
"""

import json
from typing import Any

from chatmaster import Connection, Worker

worker = Worker("websocket://127.0.0.1:8000", name="rooms", count=4)


@worker.on_connect
def came(connection: Connection) -> None:
    connection.send(json.dumps({"type": "welcome", "client_id": connection.id}))


@worker.on_message
async def message(connection: Connection, data: str | bytes) -> None:
    request, session = json.loads(data), connection.session
    match request["type"]:
        case "login":
            await connection.bind(request["user"])
            session.update(user=request["user"], room=request["room"])
            await connection.join(request["room"])
            await tell_room(request["room"], {"type": "came", "user": request["user"]})
        case "say":
            await tell_room(session["room"], {"type": "said", "user": session["user"], "text": request["text"]})
        case "whisper":
            answer = {"type": "whispered", "user": session["user"], "text": request["text"]}
            await worker.send_to_user(request["to"], json.dumps(answer))
        case "who":
            users = sorted(member["user"] for member in await worker.members(session["room"]))
            connection.send(json.dumps({"type": "who", "users": users}))


@worker.on_close
async def went(connection: Connection, code: int, reason: str) -> None:
    if "room" in connection.session:
        await tell_room(connection.session["room"], {"type": "went", "user": connection.session["user"]})


async def tell_room(room: str, answer: dict[str, Any]) -> None:
    await worker.send_to_room(room, json.dumps(answer))


if __name__ == "__main__":
    Worker.run_all()
