"""A plain, synchronous client of a store, for who is no worker: the master's look at it, and `Gateway`.

Imports redis, which takes 0.1 s and more: import this file only where a store is asked.
"""

from __future__ import annotations

from typing import Any, cast

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from chatmaster.store.url import StoreUrl


def words_of(error: Exception) -> str:
    """What the store said, with the code in front that redis-py takes away; "" for an error that is not the store's."""
    if not isinstance(error, redis.RedisError):
        return ""
    code: str | None = getattr(error, "status_code", None)
    if code is not None:
        return f"{code} {error}"
    return str(error) if isinstance(error, redis.ResponseError) else ""


def connect(url: StoreUrl, timeout: float) -> redis.Redis:
    """A client with deadlines of `timeout` seconds and without retries, which would write twice.

    It connects with the first command, which raises what redis raises.
    """
    limits: dict[str, Any] = {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
    }
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
