"""Calls of each verb, for the test that every door gives the same: the request, the method of a gateway, the effect.

A call is made once through each door, each time in a `Scene` with a room, a user and a connection of its own.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final

from chatmaster import tokens
from tests.support.server import Chatmaster
from tests.support.wait import until_async
from tests.support.ws import ChatSocket, RawSocket
from workers import AsyncGateway

SECRET: Final = "s" * 40
NOWHERE: Final = "0" * 24  # the id of no connection

Json = dict[str, Any]


@dataclass
class Scene:
    """What one call has to itself: `socket` is a connection of `user` to the server, and is in `room`."""

    server: Chatmaster
    probe: AsyncGateway  # looks at what the call did
    room: str
    user: str
    connection: str
    socket: Any

    async def told(self, kind: str) -> Json:
        """The next message of that type that the chat sends to the user."""
        message: Json = await self.socket.expect(kind)
        return message

    async def history(self) -> list[Json]:
        return await self.probe.history(self.room)

    async def closed(self) -> tuple[int, str]:
        """How the server closed the connection."""
        closed = await self.socket.wait_closed()
        return closed.code, closed.reason


async def chat_scene(stack: AsyncExitStack, server: Chatmaster, probe: AsyncGateway, name: str) -> Scene:
    """A user of the chat in a room with one message."""
    room, user = f"room-{name}", f"user-{name}"
    token = tokens.sign(user, secret=SECRET)
    socket = await stack.enter_async_context(await ChatSocket.enter(server.url, room, token=token))
    await probe.say(room, "first", user="bot")
    await socket.expect("message")
    return Scene(server, probe, room, user, str(socket.welcome["connection"]), socket)


async def program_scene(stack: AsyncExitStack, server: Chatmaster, probe: AsyncGateway, name: str) -> Scene:
    """A connection to a program, which binds it to the user of its address."""
    room, user = f"room-{name}", f"user-{name}"
    socket = await stack.enter_async_context(await RawSocket.open(f"{server.url}?user={user}"))
    connection = str(await socket.read_message())
    await probe.join(connection, room)
    await probe.session_set(connection, {"n": 1})
    return Scene(server, probe, room, user, connection, socket)


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call of a verb that succeeds, and one that is refused.

    `method` calls the same by a gateway, whose answer is `part` of the whole answer. `effect` tells what the call did.
    `refused` is a request that has to fail with `code`, and `refused_method` makes it by a gateway.
    """

    request: Callable[[Scene], Json]
    method: Callable[[Any, Scene], Any]
    part: Callable[[Json], Any] = lambda answer: answer
    before: Callable[[Scene], Awaitable[Any]] | None = None
    effect: Callable[[Scene], Awaitable[Any]] | None = None
    refused: Json | None = None
    refused_method: Callable[[Any], Any] | None = None
    code: str = "not_found"


def _nothing(answer: Json) -> None:
    assert answer == {}


def _field(name: str) -> Callable[[Json], Any]:
    return lambda answer: answer[name]


def _of(scene: Scene, **more: Any) -> Json:
    return {"user": scene.user, "reason": "why", **more}


async def _sanctions(scene: Scene) -> list[Json]:
    return await scene.probe.sanctions(user=scene.user)


async def _told_and_sanctions(scene: Scene, kind: str) -> Any:
    return await scene.told(kind), await _sanctions(scene)


async def _read(scene: Scene) -> Any:
    """The next message that begins with the room's name; others are of calls through the other doors."""
    while True:
        message = await scene.socket.read_message()
        text = message if isinstance(message, str) else message.decode()
        if scene.room in text:
            return [type(message).__name__, text]


async def _connection(scene: Scene) -> list[Json]:
    rows = await scene.probe.connections()
    return [row for row in rows if row["id"] == scene.connection]


async def _is_member(scene: Scene) -> None:
    """Wait until the store counts the user in the room, which presence writes a moment after the join."""

    async def present() -> bool:
        return scene.user in [row["user"] for row in await scene.probe.members(scene.room)]

    await until_async(present, 30.0, what="the user is a member")


async def _is_counted(scene: Scene) -> None:
    """Wait until every worker finds the user, whom the store counts a moment after the connection came."""

    async def counted() -> bool:
        return all([await scene.probe.is_online(scene.user) for _ in range(12)])  # any worker answers

    await until_async(counted, 30.0, what="the user is counted")


async def _gone(scene: Scene) -> Any:
    closed = await scene.closed()

    async def absent() -> bool:
        return not await scene.probe.is_online(scene.user)

    await until_async(absent, 30.0, what="the user is gone")
    return closed


CHAT: Final[dict[str, Call]] = {
    "say": Call(
        request=lambda one: {"room": one.room, "text": "hi", "user": "bot", "name": "Bot", "reply_to": 1},
        method=lambda gateway, one: gateway.say(one.room, "hi", user="bot", name="Bot", reply_to=1),
        effect=lambda one: one.told("message"),
        refused={"room": "hall", "text": "hi", "user": "bot", "reply_to": 99},
        refused_method=lambda gateway: gateway.say("hall", "hi", user="bot", reply_to=99),
    ),
    "notify": Call(
        request=lambda one: {"user": one.user, "data": {"build": 7}, "sender": "ci"},
        method=lambda gateway, one: gateway.notify(one.user, data={"build": 7}, sender="ci"),
        effect=lambda one: one.told("message"),
        refused={"user": "ada", "text": "\u200b", "sender": "ci"},
        refused_method=lambda gateway: gateway.notify("ada", "\u200b", sender="ci"),
        code="bad_request",
    ),
    "edit": Call(
        request=lambda one: {"room": one.room, "offset": 1, "text": "better", "user": "bot"},
        method=lambda gateway, one: gateway.edit(one.room, 1, "better", user="bot"),
        effect=lambda one: one.history(),
        refused={"room": "hall", "offset": 99, "text": "x"},
        refused_method=lambda gateway: gateway.edit("hall", 99, "x"),
    ),
    "delete": Call(
        request=lambda one: {"room": one.room, "offset": 1},
        method=lambda gateway, one: gateway.delete(one.room, 1),
        effect=lambda one: one.told("deleted"),
        refused={"room": "hall", "offset": 99},
        refused_method=lambda gateway: gateway.delete("hall", 99),
    ),
    "react": Call(
        request=lambda one: {"room": one.room, "offset": 1, "emoji": "+1", "user": "ada"},
        method=lambda gateway, one: gateway.react(one.room, 1, "+1", user="ada"),
        effect=lambda one: one.history(),
        refused={"room": "hall", "offset": 1, "emoji": "\u200b", "user": "ada"},
        refused_method=lambda gateway: gateway.react("hall", 1, "\u200b", user="ada"),
        code="bad_request",
    ),
    "join": Call(
        request=lambda one: {"user": one.user, "room": f"{one.room}-2"},
        method=lambda gateway, one: gateway.join(user=one.user, room=f"{one.room}-2"),
        part=_nothing,
        effect=lambda one: one.told("joined"),
        refused={"user": "nobody", "room": "hall"},
        refused_method=lambda gateway: gateway.join(user="nobody", room="hall"),
    ),
    "leave": Call(
        request=lambda one: {"connection": one.connection, "room": one.room},
        method=lambda gateway, one: gateway.leave(one.connection, one.room),
        part=_nothing,
        effect=lambda one: one.told("left"),
        refused={"connection": NOWHERE, "room": "hall"},
        refused_method=lambda gateway: gateway.leave(NOWHERE, "hall"),
    ),
    "kick": Call(
        request=lambda one: _of(one, room=one.room),
        method=lambda gateway, one: gateway.kick(user=one.user, room=one.room, reason="why"),
        part=_nothing,
        effect=lambda one: one.told("left"),
        refused={"user": "nobody"},
        refused_method=lambda gateway: gateway.kick(user="nobody"),
    ),
    "ban": Call(
        request=lambda one: _of(one, room=one.room, seconds=60.0),
        method=lambda gateway, one: gateway.ban(one.user, room=one.room, seconds=60.0, reason="why"),
        part=_nothing,
        effect=lambda one: _told_and_sanctions(one, "left"),
        refused={"user": "ada", "seconds": -1.0},
        refused_method=lambda gateway: gateway.ban("ada", seconds=-1.0),
        code="bad_request",
    ),
    "mute": Call(
        request=lambda one: _of(one),
        method=lambda gateway, one: gateway.mute(one.user, reason="why"),
        part=_nothing,
        effect=lambda one: _told_and_sanctions(one, "muted"),
        refused={"user": "ada", "seconds": -1.0},
        refused_method=lambda gateway: gateway.mute("ada", seconds=-1.0),
        code="bad_request",
    ),
    "unban": Call(
        before=lambda one: one.probe.ban(one.user, room="elsewhere"),
        request=lambda one: _of(one, room="elsewhere"),
        method=lambda gateway, one: gateway.unban(one.user, room="elsewhere", reason="why"),
        part=_field("lifted"),
        effect=_sanctions,
        refused={"user": "ada", "room": "no room!"},
        refused_method=lambda gateway: gateway.unban("ada", room="no room!"),
        code="bad_request",
    ),
    "unmute": Call(
        before=lambda one: one.probe.mute(one.user),
        request=lambda one: _of(one),
        method=lambda gateway, one: gateway.unmute(one.user, reason="why"),
        part=_field("lifted"),
        effect=lambda one: _told_and_sanctions(one, "unmuted"),
        refused={"user": "ada", "room": "no room!"},
        refused_method=lambda gateway: gateway.unmute("ada", room="no room!"),
        code="bad_request",
    ),
    "sanctions": Call(
        before=lambda one: one.probe.mute(one.user, reason="loud"),
        request=lambda one: {"kind": "mute", "user": one.user, "limit": 1000},
        method=lambda gateway, one: gateway.sanctions(kind="mute", user=one.user),
        part=_field("sanctions"),
        refused={"kind": "kick"},
        refused_method=lambda gateway: gateway.sanctions(kind="kick"),
        code="bad_request",
    ),
    "audit": Call(
        before=lambda one: one.probe.mute(one.user, reason="loud"),
        request=lambda one: {"user": one.user, "limit": 100},
        method=lambda gateway, one: gateway.audit(user=one.user),
        part=_field("deeds"),
        refused={"since": -1.0},
        refused_method=lambda gateway: gateway.audit(since=-1.0),
        code="bad_request",
    ),
    "token": Call(
        request=lambda one: {"user": one.user, "role": "moderator", "rooms": ["team-*"]},
        method=lambda gateway, one: gateway.token(one.user, role="moderator", rooms=["team-*"]),
        part=lambda answer: _claims(answer["token"]),
        refused={"user": "ada", "role": "king"},
        refused_method=lambda gateway: gateway.token("ada", role="king"),
        code="bad_request",
    ),
}

PROGRAM: Final[dict[str, Call]] = {
    "join": Call(
        request=lambda one: {"connection": one.connection, "room": f"{one.room}-2"},
        method=lambda gateway, one: gateway.join(one.connection, f"{one.room}-2"),
        part=_nothing,
        effect=_connection,
        refused={"connection": NOWHERE, "room": "hall"},
        refused_method=lambda gateway: gateway.join(NOWHERE, "hall"),
    ),
    "leave": Call(
        request=lambda one: {"connection": one.connection, "room": one.room},
        method=lambda gateway, one: gateway.leave(one.connection, one.room),
        part=_nothing,
        effect=_connection,
        refused={"connection": NOWHERE, "room": "hall"},
        refused_method=lambda gateway: gateway.leave(NOWHERE, "hall"),
    ),
    "bind": Call(
        request=lambda one: {"connection": one.connection, "user": f"{one.user}-2"},
        method=lambda gateway, one: gateway.bind(one.connection, f"{one.user}-2"),
        part=_nothing,
        effect=_connection,
        refused={"connection": NOWHERE, "user": "ada"},
        refused_method=lambda gateway: gateway.bind(NOWHERE, "ada"),
    ),
    "unbind": Call(
        request=lambda one: {"connection": one.connection},
        method=lambda gateway, one: gateway.unbind(one.connection),
        part=_nothing,
        effect=_connection,
        refused={"connection": NOWHERE},
        refused_method=lambda gateway: gateway.unbind(NOWHERE),
    ),
    "send_to_all": Call(
        request=lambda one: {"text": f"{one.room} to all", "exclude": [NOWHERE]},
        method=lambda gateway, one: gateway.broadcast(f"{one.room} to all", exclude=NOWHERE),
        part=lambda answer: None if len(answer["sent"]) == 1 else answer,
        effect=_read,
        refused={"text": "x" * 2000},
        refused_method=lambda gateway: gateway.broadcast("x" * 2000),
        code="too_large",
    ),
    "send_to_room": Call(
        request=lambda one: {"rooms": [one.room, "other"], "binary": _base64(one.room)},
        method=lambda gateway, one: gateway.send_to_room([one.room, "other"], one.room.encode()),
        part=lambda answer: [row | {"offset": 0} for row in answer["sent"]],
        effect=_read,
        refused={"rooms": ["hall"], "text": "x" * 2000},
        refused_method=lambda gateway: gateway.send_to_room("hall", "x" * 2000),
        code="too_large",
    ),
    "send_to_user": Call(
        request=lambda one: {"users": [one.user], "text": one.room},
        method=lambda gateway, one: gateway.send_to_user([one.user], one.room),
        part=_field("sent"),
        effect=_read,
        refused={"users": ["ada"], "text": "x" * 2000},
        refused_method=lambda gateway: gateway.send_to_user("ada", "x" * 2000),
        code="too_large",
    ),
    "send_to_connection": Call(
        request=lambda one: {"connections": [one.connection, NOWHERE], "text": one.room},
        method=lambda gateway, one: gateway.send_to_connection([one.connection, NOWHERE], one.room),
        part=_field("absent"),
        effect=_read,
        refused={"connections": [NOWHERE], "text": "x"},
        refused_method=lambda gateway: gateway.send_to_connection(NOWHERE, "x"),
    ),
    "session_get": Call(
        request=lambda one: {"connection": one.connection},
        method=lambda gateway, one: gateway.session_get(one.connection),
        part=_field("session"),
        refused={"connection": NOWHERE},
        refused_method=lambda gateway: gateway.session_get(NOWHERE),
    ),
    "session_set": Call(
        request=lambda one: {"connection": one.connection, "session": {"m": [1, None]}},
        method=lambda gateway, one: gateway.session_set(one.connection, {"m": [1, None]}),
        part=_field("session"),
        effect=lambda one: one.probe.session_get(one.connection),
        refused={"connection": NOWHERE, "session": {}},
        refused_method=lambda gateway: gateway.session_set(NOWHERE, {}),
    ),
    "session_update": Call(
        request=lambda one: {"connection": one.connection, "session": {"m": "x"}},
        method=lambda gateway, one: gateway.session_update(one.connection, {"m": "x"}),
        part=_field("session"),
        effect=lambda one: one.probe.session_get(one.connection),
        refused={"connection": NOWHERE, "session": {}},
        refused_method=lambda gateway: gateway.session_update(NOWHERE, {}),
    ),
}

BOTH: Final[dict[str, Call]] = {
    "history": Call(
        request=lambda one: {"room": one.room, "limit": 5},
        method=lambda gateway, one: gateway.history(one.room, limit=5),
        part=_field("messages"),
        refused={"room": "hall", "before": 2, "after": 1},
        refused_method=lambda gateway: gateway.history("hall", before=2, after=1),
        code="bad_request",
    ),
    "rooms": Call(
        request=lambda one: {"prefix": one.room},
        method=lambda gateway, one: gateway.rooms(one.room),
        part=_field("rooms"),
        refused={"prefix": "x" * 300},
        refused_method=lambda gateway: gateway.rooms("x" * 300),
        code="bad_request",
    ),
    "room": Call(
        before=_is_member,
        request=lambda one: {"room": one.room},
        method=lambda gateway, one: gateway.room(one.room),
        refused={"room": "no room!"},
        refused_method=lambda gateway: gateway.room("no room!"),
        code="bad_request",
    ),
    "members": Call(
        before=_is_member,
        request=lambda one: {"room": one.room},
        method=lambda gateway, one: gateway.members(one.room),
        part=_field("members"),
        refused={"room": "no room!"},
        refused_method=lambda gateway: gateway.members("no room!"),
        code="bad_request",
    ),
    "online": Call(
        request=lambda one: {},
        method=lambda gateway, one: gateway.online(),
        part=_field("connections"),
    ),
    "is_online": Call(
        before=_is_counted,
        request=lambda one: {"user": one.user},
        method=lambda gateway, one: gateway.is_online(one.user),
        part=_field("online"),
        refused={"user": "nobody!"},
        refused_method=lambda gateway: gateway.is_online("nobody!"),
        code="bad_request",
    ),
    "connections": Call(
        request=lambda one: {"user": one.user, "room": one.room},
        method=lambda gateway, one: gateway.connections(user=one.user, room=one.room),
        part=_field("connections"),
        refused={"room": "no room!"},
        refused_method=lambda gateway: gateway.connections(room="no room!"),
        code="bad_request",
    ),
    "disconnect": Call(
        request=lambda one: {"user": one.user, "code": 4123, "reason": "bye"},
        method=lambda gateway, one: gateway.disconnect(user=one.user, code=4123, reason="bye"),
        part=_field("connections"),
        effect=_gone,
        refused={"connection": NOWHERE},
        refused_method=lambda gateway: gateway.disconnect(NOWHERE),
    ),
}


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _claims(token: str) -> Json:
    """What a token says, without when."""
    body = token.split(".")[1]
    claims: Json = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return {name: value for name, value in claims.items() if name not in ("iat", "exp")}
