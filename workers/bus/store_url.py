"""Opens connections to the store: TLS, passwords, Sentinel. redis-py does all of this.

The forms of the URL are in `chatmaster/store/url.py`.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from typing import Any, Final

from redis.asyncio import Sentinel
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import RedisError

from chatmaster.store import client, refusals
from chatmaster.store import url as store_url
from workers.bus.connection import StoreConnection
from workers.bus.port import Unavailable
from workers.bus.sentinels import find_master


class Opener:
    """Opens links to one store. Raises ValueError for a URL that is none of the forms."""

    def __init__(self, url: str, *, timeout: float, name: str) -> None:
        """`name` is the instance's."""
        where = store_url.parse(url)
        self.database: Final = where.database
        self._timeout = timeout
        self._name = name
        limits: dict[str, Any] = {"socket_timeout": timeout, "socket_connect_timeout": timeout}
        # RESP2 is pinned: RESP3 changes the shapes of pub/sub messages.
        self._options: dict[str, Any] = {"protocol": 2, "client_name": f"chatmaster-{name}"}
        self._options |= {**limits, **where.options()}
        self._class: type[Any] = Connection
        if where.path:
            self._class = UnixDomainSocketConnection
        elif where.scheme in ("rediss", "rediss+cluster"):
            self._class = SSLConnection
        self._service, self._hosts = where.service, where.hosts
        make: Callable[..., Sentinel] = Sentinel  # untyped in redis-py
        sentinel_limits = {**limits, **where.sentinel_login}
        self._sentinel = make(list(where.hosts), sentinel_kwargs=sentinel_limits) if where.service else None

    @property
    def hosts(self) -> tuple[tuple[str, int], ...]:
        """Of a cluster: the nodes that the URL names."""
        return self._hosts

    def at(self, address: tuple[str, int]) -> Opener:
        """The opener of links to one node of a cluster, with the same login."""
        opener = copy.copy(self)
        opener._options = {**self._options, "host": address[0], "port": address[1]}
        return opener

    async def open(self) -> StoreConnection:
        """A link to the store that is master now. Raises Unavailable."""
        try:
            async with asyncio.timeout(self._timeout):
                return await self._open()
        except (RedisError, OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            words = client.words_of(error)
            why = refusals.explained(words, self._name) if words else str(error) or type(error).__name__
            raise Unavailable(f"cannot connect to the store: {why}") from error

    async def _open(self) -> StoreConnection:
        options = dict(self._options)
        if self._sentinel is not None:
            options["host"], options["port"] = await find_master(self._sentinel.sentinels, self._service)
        connection = self._class(**options)
        try:
            await connection.connect()
            link = StoreConnection(asyncio.get_running_loop())
            link.take_over(connection)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return link

    async def close(self) -> None:
        """Close what Sentinel keeps open."""
        if self._sentinel is not None:
            for sentinel in self._sentinel.sentinels:
                await sentinel.aclose()
