"""A game lobby: players meet in rooms and play noughts and crosses; whoever comes third watches.

    chatctl start etc/examples/lobby.py
    (then open http://127.0.0.1:8000/ in two windows)

The page is `lobby.html` beside this file. Requests and answers are JSON with a `type`. Everything about a game is in
the sessions of its players, and sessions survive a reload, so a game goes on under new code. All players are in one
process (`count=1`): where that is not enough, games belong into a database.
"""

import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.responses import FileResponse
from starlette.routing import Route

from chatmaster import Connection, Worker

SIDES = ("X", "O")
LINES = [{0, 1, 2}, {3, 4, 5}, {6, 7, 8}, {0, 3, 6}, {1, 4, 7}, {2, 5, 8}, {0, 4, 8}, {2, 4, 6}]

page = FileResponse(Path(__file__).with_name("lobby.html"))
worker = Worker(
    "websocket://127.0.0.1:8000", name="lobby", count=1, http=Starlette(routes=[Route("/", lambda request: page)])
)


@worker.on_connect
async def came(connection: Connection) -> None:
    connection.session.update(name="", room="", side="", moves=[])
    await connection.join("lobby")


@worker.on_message
async def message(connection: Connection, data: str | bytes) -> None:
    try:
        request = json.loads(data)
        await REQUESTS[request["type"]](connection, request)
    except (ValueError, KeyError, TypeError) as error:  # the client's mistake; anything else is a bug
        connection.send(json.dumps({"type": "error", "message": str(error)}))


async def enter(connection: Connection, request: dict[str, Any]) -> None:
    """Take a seat in a room, or watch where both are taken."""
    name, room = str(request["name"]), f"game-{request['room']}"
    if not re.fullmatch(r"\w{1,20}", name):
        raise ValueError("a name has 1 to 20 letters and digits")
    await leave(connection, {})
    await connection.join(room)  # raises ValueError for a name that no room can have
    others = inside(room)
    taken = {other.session["side"] for other in others}
    side = next((side for side in SIDES if side not in taken), "")
    moves = list(others[0].session["moves"]) if others else []
    connection.session.update(name=name, room=room, side=side, moves=moves)
    connection.send(json.dumps({"type": "entered", "side": side}))
    await show(room)


async def play(connection: Connection, request: dict[str, Any]) -> None:
    """Put one's sign into a cell, 0 to 8."""
    room, moves, cell = connection.session["room"], list(connection.session["moves"]), request["cell"]
    if not room or connection.session["side"] != SIDES[len(moves) % 2]:
        raise ValueError("it is not your turn")
    if cell not in range(9) or cell in moves or winner(moves):
        raise ValueError("this cell cannot be taken")
    for player in inside(room):
        player.session["moves"] = [*moves, cell]
    await show(room)


async def leave(connection: Connection, request: dict[str, Any]) -> None:
    """Leave the game that the connection is in, if any."""
    if room := connection.session["room"]:
        connection.session.update(room="", side="")
        await connection.leave(room)
        await show(room)


@worker.on_close
async def went(connection: Connection, code: int, reason: str) -> None:
    if room := connection.session["room"]:  # the connection has left the room already
        connection.session["room"] = ""
        await show(room)


async def show(room: str) -> None:
    """Tell the players and watchers of a room how the game stands, and the lobby who plays there."""
    players = inside(room)
    moves = list(players[0].session["moves"]) if players else []
    names = {player.session["side"]: player.session["name"] for player in players if player.session["side"]}
    game = {"type": "game", "players": names, "moves": moves, "winner": winner(moves)}
    await worker.send_to_room(room, json.dumps(game))
    await worker.send_to_room("lobby", json.dumps({"type": "room", "room": room, "players": sorted(names.values())}))


def inside(room: str) -> list[Connection]:
    """The connections of a game, the players and who watches."""
    return [one for one in worker.connections.values() if one.session.get("room") == room]


def winner(moves: list[int]) -> str:
    """The side that has won; "" while there is none."""
    return next((side for at, side in enumerate(SIDES) if any(line <= set(moves[at::2]) for line in LINES)), "")


REQUESTS: dict[str, Callable[[Connection, dict[str, Any]], Awaitable[None]]] = {
    "enter": enter,
    "play": play,
    "leave": leave,
}

if __name__ == "__main__":
    Worker.run_all()
