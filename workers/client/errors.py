"""The errors of the client.

::

    ClientError
    ├── CannotConnect     the first connection cannot be made: a wrong address, or nobody is there
    ├── RequestRefused    the server answered a request with `error`: nothing was done
    ├── OutcomeUnknown    no answer in time: it may be done or not; a retry with the same key is safe
    └── ConnectionEnded   the server closed with a code that says not to come back, or `close` was called
"""

from __future__ import annotations


class ClientError(Exception):
    """Base class of the client's errors."""


class CannotConnect(ClientError):
    """The first connection could not be opened."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"cannot connect to {url}: {reason}")
        self.url = url
        self.reason = reason


class RequestRefused(ClientError):
    """The server refused a request."""

    def __init__(self, code: str, message: str, field: str | None = None) -> None:
        """`code` is one of the protocol's error codes; `field` the faulty member of the request."""
        super().__init__(f"{code}: {message}" + (f" ({field})" if field else ""))
        self.code = code
        self.message = message
        self.field = field


class OutcomeUnknown(ClientError):
    """The server did not answer in time."""

    def __init__(self, kind: str, timeout: float, key: str | None) -> None:
        """`key`: a retry with it stores the message once; None if that can no longer be guaranteed."""
        super().__init__(f"no answer to {kind} within {timeout:g} s")
        self.kind = kind
        self.key = key


class ConnectionEnded(ClientError):
    """The connection has ended and the client does not reconnect."""

    def __init__(self, code: int, reason: str) -> None:
        """`code` is the close code; 1000 after `close`."""
        super().__init__(f"{code} {reason}".rstrip())
        self.code = code
        self.reason = reason
