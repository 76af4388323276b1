"""Owns how a connection to the store comes about: URL forms, TLS, passwords, Sentinel. redis-py does all of it.

URL forms: `redis://` `rediss://` `unix://` as redis-py reads them, and
`redis+sentinel://[user:password@]host:port[,host:port…]/service[/db]`, where the password is the store's and
`?sentinel_password=` the Sentinels' own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from redis.asyncio import Sentinel
from redis.asyncio.connection import Connection, parse_url
from redis.exceptions import RedisError

from workers.bus.link import Link
from workers.bus.port import Unavailable

SENTINEL = "redis+sentinel"
SENTINEL_PORT = 26379


class Opener:
    """Opens links to one store. Raises ValueError for a URL that is none of the forms."""

    def __init__(self, url: str, *, timeout: float, client_name: str) -> None:
        self._timeout = timeout
        # RESP2 is pinned: RESP3 changes the shapes of pub/sub messages.
        self._options: dict[str, Any] = {
            "protocol": 2,
            "socket_timeout": timeout,
            "socket_connect_timeout": timeout,
            "client_name": client_name,
        }
        self._sentinel: Sentinel | None = None
        self._service = ""
        if urlsplit(url).scheme == SENTINEL:
            self._through_sentinel(url)
            self._class: type[Any] = Connection
        else:
            parsed: dict[str, Any] = dict(parse_url(url))
            self._class = parsed.pop("connection_class", Connection)
            self._options = {**parsed, **self._options}

    def _through_sentinel(self, url: str) -> None:
        parts = urlsplit(url)
        login, _, hosts = parts.netloc.rpartition("@")
        service, _, db = parts.path.strip("/").partition("/")
        if not service or not hosts:
            raise ValueError("a Sentinel URL is redis+sentinel://host:port[,host:port]/service")
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        user, _, password = login.partition(":")
        if password:
            self._options["password"] = unquote(password)
        if user:
            self._options["username"] = unquote(user)
        if db:
            self._options["db"] = int(db)
        options: dict[str, Any] = {"socket_timeout": self._timeout, "socket_connect_timeout": self._timeout}
        if "sentinel_password" in query:
            options["password"] = query["sentinel_password"]
        self._service = service
        make: Callable[..., Sentinel] = Sentinel  # untyped in redis-py
        self._sentinel = make([_host_port(one) for one in hosts.split(",")], **options)

    async def open(self) -> Link:
        """A link to the store that is master now. Raises Unavailable."""
        try:
            async with asyncio.timeout(self._timeout):
                return await self._open()
        except (RedisError, OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            raise Unavailable(f"cannot connect to the store: {error or type(error).__name__}") from error

    async def _open(self) -> Link:
        options = dict(self._options)
        if self._sentinel is not None:
            options["host"], options["port"] = await self._sentinel.discover_master(self._service)
        connection = self._class(**options)
        try:
            await connection.connect()
            link = Link(asyncio.get_running_loop())
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


def _host_port(one: str) -> tuple[str, int]:
    host, _, port = one.rpartition(":")
    return (host, int(port)) if host else (port, SENTINEL_PORT)
