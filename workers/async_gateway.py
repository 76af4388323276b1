"""`AsyncGateway`: the verbs for programs that run an event loop, such as an async web application.

Each method does what the one of `Gateway` of the same name does, and is awaited. Many calls may wait at once; a store
that does not answer makes only those fail that ask it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, overload

import redis.asyncio as aioredis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from chatmaster.store.client import address_of_node
from chatmaster.store.url import StoreUrl
from workers.close_codes import CloseCode
from workers.gateway_calls import (
    STORE_ERRORS,
    Calls,
    Steps,
    content,
    deed,
    message,
    own_error,
    payload,
    sanction,
    unpacked_placed,
)
from workers.verbs.exchange import AwaitAnswer, FetchKey, LeaveCall, ListSet, Step, WithdrawCall
from workers.verbs.request import MOST_LISTED, PlacedAnswer

MOST_CONNECTIONS = 64  # to the store; a call that finds none free waits for one, `timeout` at most

Row = dict[str, Any]


@contextmanager
def own_errors() -> Iterator[None]:
    """Raise what a store, or the way there, raises as one of ours."""
    try:
        yield
    except STORE_ERRORS as error:
        raise own_error(error) from error


class AsyncGateway:
    """A way into a running server from an event loop. Arguments and errors are those of `Gateway`.

    It may be made anywhere, and belongs to the loop that awaits its first call.
    """

    def __init__(self, url: str, *, name: str = "chat", worker: str = "", timeout: float = 5.0) -> None:
        self._calls = Calls(url, name=name, worker=worker, timeout=timeout)
        self._client: Any = _connect(self._calls.where, timeout)
        self._script = self._client.register_script(self._calls.script.source)

    # ---- messages of the chat ------------------------------------------------------------------------

    async def say(
        self,
        room: str,
        text: str | None = None,
        *,
        user: str,
        name: str = "",
        data: Any = None,
        reply_to: int | None = None,
        key: str = "",
    ) -> PlacedAnswer:
        """Say something in a room of the chat, as `user`; `data` is any JSON instead of a text.

        Raises ValueError for what the chat would refuse as well: a name that no room or user can have, too much, a text
        of which nothing can be seen.
        """
        request = {"room": room, "user": user, **content(text, data, name), "reply_to": reply_to}
        return unpacked_placed(await self._call("say", request, key))

    async def notify(
        self, user: str, text: str | None = None, *, sender: str = "", name: str = "", data: Any = None, key: str = ""
    ) -> PlacedAnswer:
        """Send a message of the chat to a user's inbox: the user gets it now, or with the next hello."""
        request = {"user": user, "sender": sender or None, **content(text, data, name)}
        return unpacked_placed(await self._call("notify", request, key))

    async def edit(
        self, room: str, offset: int, text: str | None = None, *, user: str = "", data: Any = None, key: str = ""
    ) -> PlacedAnswer:
        """Give an earlier message another content; with a `user` only where that user wrote it."""
        request = {"room": room, "offset": offset, "user": user, **content(text, data, "")}
        return unpacked_placed(await self._call("edit", request, key))

    async def delete(self, room: str, offset: int, *, user: str = "", key: str = "") -> PlacedAnswer:
        """Delete an earlier message; with a `user` only where that user wrote it."""
        return unpacked_placed(await self._call("delete", {"room": room, "offset": offset, "user": user}, key))

    async def react(
        self, room: str, offset: int, emoji: str, *, user: str, remove: bool = False, key: str = ""
    ) -> PlacedAnswer:
        """Add a user's reaction to an earlier message, or remove it."""
        request = {"room": room, "offset": offset, "emoji": emoji, "user": user, "remove": remove}
        return unpacked_placed(await self._call("react", request, key))

    async def history(
        self, room: str, *, before: int | None = None, after: int | None = None, limit: int = 50
    ) -> list[Row]:
        """Messages of a room, or of an inbox (`@` and a user), as they stand now, oldest first: at most `limit`."""
        rows: list[Row] = []
        request = {"room": room, "before": before, "after": after}
        while True:
            size = min(MOST_LISTED, limit - len(rows))
            page = await self._call("history", {**request, "limit": size})
            found: list[Row] = page["messages"]
            rows = found + rows if after is None else rows + found
            if not page["more"] or not found or len(rows) >= limit:
                return rows
            request |= {"before": rows[0]["offset"]} if after is None else {"after": rows[-1]["offset"]}

    # ---- rooms -------------------------------------------------------------------------------------

    async def rooms(self, prefix: str = "", *, limit: int | None = None) -> list[Row]:
        """The rooms that somebody is in: `room`, `connections`."""
        return await self._all("rooms", "rooms", {"prefix": prefix}, limit)

    async def room(self, room: str) -> Row:
        """One room: `users`, `epoch`, `first` and `offset` of its log."""
        found: Row = await self._call("room", {"room": room})
        return found

    async def join(self, connection: str = "", room: str = "", *, user: str = "", key: str = "") -> None:
        """Bring a connection, or all of a `user`, into a room, wherever they are; in the chat where the user may join.

        Raises GatewayNotFound where there is none, GatewayRefused where the user may not join.
        """
        await self._call("join", {"connection": connection, "user": user, "room": room}, key)

    async def leave(self, connection: str = "", room: str = "", *, user: str = "", key: str = "") -> None:
        """Take a connection, or all of a `user`, out of a room, wherever they are.

        Raises GatewayNotFound where there is none.
        """
        await self._call("leave", {"connection": connection, "user": user, "room": room}, key)

    async def members(self, room: str, *, limit: int | None = None) -> list[Row]:
        """Who is in a room: `user`, `name`, `connections`; all of them, or the first ones.

        A program's connections without a user are one row together, of the user "".
        """
        return await self._all("members", "members", {"room": room}, limit)

    # ---- people ------------------------------------------------------------------------------------

    async def online(self) -> int:
        """Connections to all workers and machines."""
        return int((await self._call("online", {}))["connections"])

    async def is_online(self, user: str) -> bool:
        """Whether the user has a connection to any worker."""
        return bool((await self._call("is_online", {"user": user}))["online"])

    async def connections(self, *, user: str = "", room: str = "", limit: int | None = None) -> list[Row]:
        """The connections to all workers and machines: `id`, `user`, `address`, `since`, `rooms`."""
        return await self._all("connections", "connections", {"user": user, "room": room}, limit)

    async def bind(self, connection: str, user: str, *, key: str = "") -> None:
        """Say whose a connection of a program is, wherever it is."""
        await self._call("bind", {"connection": connection, "user": user}, key)

    async def unbind(self, connection: str, *, key: str = "") -> None:
        """Make a connection of a program nobody's, wherever it is."""
        await self._call("unbind", {"connection": connection}, key)

    async def disconnect(
        self, connection: str = "", *, user: str = "", code: int = CloseCode.REMOVED, reason: str = "", key: str = ""
    ) -> int:
        """Close one connection, or all of a user; returns how many. Raises GatewayNotFound where there is none."""
        request = {"connection": connection, "user": user, "code": code, "reason": reason}
        return int((await self._call("disconnect", request, key))["connections"])

    async def kick(
        self, connection: str = "", *, user: str = "", room: str = "", reason: str = "", key: str = ""
    ) -> None:
        """Close one connection with 4003, wherever it is; or put a `user` of the chat out of a room, or of all.

        Raises GatewayNotFound where there is no such connection or user.
        """
        if connection != "":
            await self._call("disconnect", {"connection": connection, "reason": reason}, key)
        else:
            await self._call("kick", deed(user, room, reason), key)

    async def ban(
        self, user: str, *, room: str = "", seconds: float = 0.0, reason: str = "", ahead: bool = False, key: str = ""
    ) -> None:
        """Keep a user out of the chat, or of one room; 0 seconds: without end.

        Raises GatewayNotFound where `user` is no connected user's id, but the name of one; `ahead`: it is an id
        all the same, of a user who is away.
        """
        await self._call("ban", sanction(user, room, reason, seconds, ahead=ahead), key)

    async def mute(
        self, user: str, *, room: str = "", seconds: float = 0.0, reason: str = "", ahead: bool = False, key: str = ""
    ) -> None:
        """Let a user of the chat only read, everywhere or in one room; 0 seconds: without end.

        Raises GatewayNotFound where `user` is no connected user's id, but the name of one; `ahead`: it is an id
        all the same, of a user who is away.
        """
        await self._call("mute", sanction(user, room, reason, seconds, ahead=ahead), key)

    async def unban(self, user: str, *, room: str = "", reason: str = "", key: str = "") -> bool:
        """Lift a ban; returns whether there was one."""
        return bool((await self._call("unban", deed(user, room, reason), key))["lifted"])

    async def unmute(self, user: str, *, room: str = "", reason: str = "", key: str = "") -> bool:
        """Lift a mute; returns whether there was one."""
        return bool((await self._call("unmute", deed(user, room, reason), key))["lifted"])

    async def sanctions(self, *, kind: str = "", room: str = "", user: str = "", limit: int | None = None) -> list[Row]:
        """The bans and mutes that hold, newest first."""
        return await self._all("sanctions", "sanctions", {"kind": kind, "room": room, "user": user}, limit)

    async def audit(self, *, room: str = "", user: str = "", since: float = 0.0, limit: int | None = 100) -> list[Row]:
        """What was done to people, newest first; `limit` None: all that is remembered."""
        return await self._all("audit", "deeds", {"room": room, "user": user, "since": since}, limit)

    # ---- a program's own clients -----------------------------------------------------------------------

    async def broadcast(self, data: str | bytes, *, exclude: str | Iterable[str] = (), key: str = "") -> None:
        """Send to every connection of a program (see `Worker.broadcast`). Raises WrongApplication for the chat."""
        await self._call("send_to_all", message(data, exclude), key)

    @overload
    async def send_to_room(  # type: ignore[overload-overlap]  # a string is one name, though it iterates
        self, room: str, data: str | bytes, *, exclude: str | Iterable[str] = (), key: str = ""
    ) -> PlacedAnswer: ...

    @overload
    async def send_to_room(
        self, room: Iterable[str], data: str | bytes, *, exclude: str | Iterable[str] = (), key: str = ""
    ) -> list[PlacedAnswer]: ...

    async def send_to_room(
        self, room: str | Iterable[str], data: str | bytes, *, exclude: str | Iterable[str] = (), key: str = ""
    ) -> PlacedAnswer | list[PlacedAnswer]:
        """Send to every member of a room, or of several: text for str and binary for bytes.

        It goes out as it is; `exclude` names connections. Raises WrongApplication for the chat, whose clients
        understand what `say` says.
        """
        rooms = [room] if isinstance(room, str) else room
        found = await self._call("send_to_room", {"rooms": rooms, **message(data, exclude)}, key)
        return unpacked_placed(found["sent"][0]) if isinstance(room, str) else list(map(unpacked_placed, found["sent"]))

    @overload
    async def send_to_user(  # type: ignore[overload-overlap]  # as above
        self, user: str, data: str | bytes, *, exclude: str | Iterable[str] = (), key: str = ""
    ) -> PlacedAnswer: ...

    @overload
    async def send_to_user(
        self, user: Iterable[str], data: str | bytes, *, exclude: str | Iterable[str] = (), key: str = ""
    ) -> list[PlacedAnswer]: ...

    async def send_to_user(
        self, user: str | Iterable[str], data: str | bytes, *, exclude: str | Iterable[str] = (), key: str = ""
    ) -> PlacedAnswer | list[PlacedAnswer]:
        """Send to every connection of a user, or of several. Raises WrongApplication for the chat."""
        users = [user] if isinstance(user, str) else user
        found = await self._call("send_to_user", {"users": users, **message(data, exclude)}, key)
        return unpacked_placed(found["sent"][0]) if isinstance(user, str) else list(map(unpacked_placed, found["sent"]))

    async def send_to_connection(
        self, connection: str | Iterable[str], data: str | bytes, *, key: str = ""
    ) -> list[str]:
        """Send to one connection, or several, wherever they are; returns those of several that are not open.

        Raises GatewayNotFound where none is, WrongApplication for the chat.
        """
        connections = [connection] if isinstance(connection, str) else connection
        found = await self._call("send_to_connection", {"connections": connections, **payload(data)}, key)
        absent: list[str] = found["absent"]
        return absent

    async def session_get(self, connection: str) -> Row:
        """The session of a program's connection, wherever it is."""
        session: Row = (await self._call("session_get", {"connection": connection}))["session"]
        return session

    async def session_set(self, connection: str, session: Row, *, key: str = "") -> Row:
        """Put a session in the place of that of a program's connection; returns it."""
        found: Row = (await self._call("session_set", {"connection": connection, "session": session}, key))["session"]
        return found

    async def session_update(self, connection: str, session: Row, *, key: str = "") -> Row:
        """Put some values into the session of a program's connection; returns all of it."""
        request = {"connection": connection, "session": session}
        found: Row = (await self._call("session_update", request, key))["session"]
        return found

    # ---- tokens ------------------------------------------------------------------------------------

    async def token(
        self,
        user: str,
        *,
        ttl: float = 3600.0,
        name: str = "",
        role: str = "user",
        rooms: Iterable[str] | None = None,
    ) -> str:
        """Sign a token with which a user can say hello to the chat; `ttl` in seconds."""
        patterns = None if rooms is None else list(rooms)
        request = {"user": user, "ttl": ttl, "name": name, "role": role, "rooms": patterns}
        return str((await self._call("token", request))["token"])

    # ---- life --------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Let go of the connections to the store."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    # ---- the store ---------------------------------------------------------------------------------

    async def _call(self, verb: str, request: Row, key: str = "") -> Any:
        """Call a verb; returns its answer."""
        steps: Steps = self._calls.steps(verb, request, key)
        reply: Any = None
        with own_errors():
            try:
                step = next(steps)
                while True:
                    reply = await self._do(step)
                    step = steps.send(reply)
            except StopIteration as end:
                return end.value

    async def _all(self, verb: str, field: str, request: Row, limit: int | None) -> list[Row]:
        """The rows of all pages, or the first ones."""
        rows: list[Row] = []
        cursor = ""
        while True:
            size = MOST_LISTED if limit is None else min(MOST_LISTED, limit - len(rows))
            page = await self._call(verb, {**request, "cursor": cursor, "limit": size})
            rows += page[field]
            cursor = page.get("cursor", "")
            if not cursor or (limit is not None and len(rows) >= limit):
                return rows

    async def _do(self, step: Step) -> Any:
        match step:
            case FetchKey(key):
                return await self._client.get(key)
            case ListSet(key):
                return await self._client.zrange(key, 0, -1)
            case LeaveCall(own, args):
                return await self._script(keys=own, args=args)
            case AwaitAnswer(key, seconds):
                found = await self._client.blpop([key], timeout=seconds)
                return found and found[1]
            case WithdrawCall(key):
                return await self._client.delete(key)


def _connect(url: StoreUrl, timeout: float) -> Any:
    """A client with a deadline of `timeout` seconds for each command, and without retries, which could write twice."""
    limits: dict[str, Any] = {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
    }
    if url.is_cluster:
        nodes = [ClusterNode(host, port) for host, port in url.hosts]
        remap = address_of_node(url)
        return RedisCluster(
            startup_nodes=nodes, address_remap=remap, ssl=url.scheme == "rediss+cluster", **url.options(), **limits
        )
    if url.service:
        sentinel = aioredis.Sentinel(  # type: ignore[no-untyped-call]  # redis-py leaves this class unannotated
            list(url.hosts), sentinel_kwargs={**limits, **url.sentinel_login}, **url.options(), **limits
        )
        return sentinel.master_for(url.service)
    kind: type[Any] = aioredis.Connection
    if url.path:
        kind = aioredis.UnixDomainSocketConnection
    elif url.scheme == "rediss":
        kind = aioredis.SSLConnection
    pool = aioredis.BlockingConnectionPool(
        max_connections=MOST_CONNECTIONS, timeout=timeout, connection_class=kind, **url.options(), **limits
    )
    return aioredis.Redis.from_pool(pool)
