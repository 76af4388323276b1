"""A synchronous client of a store for programs that are not workers: the store check of the master, and `Gateway`.

The import of redis takes 0.1 s or more, so only code that asks a store may import this file.
"""

from __future__ import annotations

from typing import Any, cast

import redis
from redis.backoff import NoBackoff
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


def connect(url: StoreUrl, timeout: float) -> redis.Redis:
    """A client with a deadline of `timeout` seconds for each command, and without retries, which could write twice.

    The client connects at the first command, which raises the errors of redis.
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
