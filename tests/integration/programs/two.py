"""Two Workers: each client has either of them do something, and hears what came of it."""

from __future__ import annotations

import json
import os

from workers import Connection, Worker

front = Worker("websocket://127.0.0.1:8000", name="front", count=2)
admin = Worker(os.environ.get("ADMIN_ADDRESS", "ws://127.0.0.1:8001"), name="admin", count=1)
WORKERS = {"front": front, "admin": admin}


async def told(connection: Connection, data: str | bytes) -> None:
    verb, *arguments = json.loads(data)
    who, _, method = verb.rpartition(".")
    try:
        answer = await getattr(WORKERS.get(who, connection), method)(*arguments)
    except Exception as error:
        answer = f"{type(error).__name__}: {error}"
    connection.send(json.dumps({verb: answer}))


front.on_message = told
admin.on_message = told
