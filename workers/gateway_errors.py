"""Owns what `Gateway` raises beside TypeError and ValueError for wrong arguments: one tree.

::

    GatewayError
    ├── GatewayUnavailable      the store did not answer; of what was sent nobody knows whether it is kept
    ├── GatewayRefused          the store refused: wrong password, no memory, a key that was used with other content
    ├── InstanceNotRunning      nobody runs an instance of that name in this store
    └── WrongApplication        what runs there would misunderstand it
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import redis

from workers.bus.port import BusError


class GatewayError(Exception):
    """A `Gateway` could not do it; the message says why, in one sentence."""


class GatewayUnavailable(GatewayError):
    """The store did not answer. Of what was sent nobody knows whether it is kept; with a `key` it can be repeated."""


class GatewayRefused(GatewayError):
    """The store refused; nothing was done."""


class InstanceNotRunning(GatewayError):
    """Nobody runs an instance of that name in this store; nothing was sent."""


class WrongApplication(GatewayError):
    """What runs there would misunderstand it; nothing was sent."""


@contextmanager
def own_errors() -> Iterator[None]:
    """Raise what a store, or the way there, raises as one of ours."""
    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
        if isinstance(error, redis.AuthenticationError):
            raise GatewayRefused(f"the store refused: {error}") from error
        raise GatewayUnavailable(f"the store did not answer: {error}") from error
    except redis.RedisError as error:
        raise GatewayRefused(f"the store refused: {error}") from error
    except BusError as error:
        raise GatewayRefused(str(error) or type(error).__name__) from error
