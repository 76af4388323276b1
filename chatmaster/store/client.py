"""A synchronous client of a store for programs that are not workers: the store check of the master, and `Gateway`.

The import of redis takes 0.1 s or more, so only code that asks a store may import this file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.retry import Retry
from redis.sentinel import Sentinel

from chatmaster.store.url import StoreUrl


def words_of(error: Exception) -> str:
    """The error text of the store, with the code that redis-py removes; "" for an error of another origin."""
    if not isinstance(error, redis.RedisError):
        return ""
    code: str | None = getattr(error, "status_code", None)
    if code is not None:
        return f"{code} {error}"
    return str(error) if isinstance(error, redis.ResponseError) else ""


def limits_of(timeout: float) -> dict[str, Any]:
    """A deadline of `timeout` seconds for each command, and no retries, which could write twice."""
    return {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
    }


def address_of_node(url: StoreUrl) -> Callable[[tuple[str | None, int]], tuple[str, int]]:
    """For redis-py: a node that does not say its own host is looked for at the host that the URL names first."""
    first = url.hosts[0][0]

    def address(told: tuple[str | None, int]) -> tuple[str, int]:
        host, port = told
        return (first if host in (None, "", "?") else str(host)), port

    return address


class LateCluster:
    """A client of a cluster that connects at the first command; redirections are followed, since nothing was done."""

    def __init__(self, url: StoreUrl, timeout: float) -> None:
        self._url, self._timeout = url, timeout
        self._made: RedisCluster | None = None

    def _client(self) -> RedisCluster:
        if self._made is None:
            node: Callable[..., ClusterNode] = ClusterNode  # unannotated in redis-py
            self._made = RedisCluster(
                startup_nodes=[node(host, port) for host, port in self._url.hosts],
                address_remap=address_of_node(self._url),
                **_encryption(self._url),
                **self._url.options(),
                **limits_of(self._timeout),
            )
        return self._made

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client(), name)

    def register_script(self, source: str) -> Callable[..., Any]:
        """As that of redis."""
        return lambda **call: self._client().register_script(source)(**call)

    def close(self) -> None:
        """Let go of the connections."""
        if self._made is not None:
            self._made.close()


def _encryption(url: StoreUrl) -> dict[str, Any]:
    return {"ssl": True} if url.scheme == "rediss+cluster" else {}


def connect_node(url: StoreUrl, address: tuple[str, int], timeout: float) -> redis.Redis:
    """A client of one node of a cluster, as `connect`."""
    kind: type[Any] = redis.SSLConnection if _encryption(url) else redis.Connection
    host, port = address
    options = {**url.options(), **limits_of(timeout)}
    return redis.Redis.from_pool(redis.ConnectionPool(connection_class=kind, host=host, port=port, **options))


def connect(url: StoreUrl, timeout: float) -> redis.Redis:
    """A client with a deadline of `timeout` seconds for each command, and without retries, which could write twice.

    The client connects at the first command, which raises the errors of redis.
    """
    limits = limits_of(timeout)
    if url.is_cluster:
        return cast(redis.Redis, LateCluster(url, timeout))
    if url.service:
        sentinel = Sentinel(  # type: ignore[no-untyped-call]  # redis-py leaves this class unannotated
            list(url.hosts), sentinel_kwargs={**limits, **url.sentinel_login}, **url.options(), **limits
        )
        return cast(redis.Redis, sentinel.master_for(url.service))  # type: ignore[no-untyped-call]  # the same
    kind: type[Any] = redis.Connection
    if url.path:
        kind = redis.UnixDomainSocketConnection
    elif url.scheme == "rediss":
        kind = redis.SSLConnection
    return redis.Redis.from_pool(redis.ConnectionPool(connection_class=kind, **url.options(), **limits))
