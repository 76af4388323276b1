"""Does what it is told with the public API, and answers with what came of it."""

from __future__ import annotations

import json
from typing import Any

from workers import Connection, Worker

worker = Worker("websocket://127.0.0.1:8000")


@worker.on_message
async def told(connection: Connection, data: str | bytes) -> None:
    verb, *arguments = json.loads(data)
    try:
        answer: Any = await _done(connection, verb, arguments)
    except (TypeError, ValueError) as error:
        answer = {"error": type(error).__name__, "says": str(error)}
    connection.send(json.dumps({verb: answer}))


async def _done(connection: Connection, verb: str, arguments: list[Any]) -> Any:
    target, _, method = verb.rpartition(".")
    owner: Any = connection if target == "connection" else worker
    options = arguments.pop() if arguments and isinstance(arguments[-1], dict) and "exclude" in arguments[-1] else {}
    found = getattr(owner, method)
    result = found(*arguments, **options) if callable(found) else found
    return await result if hasattr(result, "__await__") else result
