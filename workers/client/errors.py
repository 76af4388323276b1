"""What can go wrong for somebody who uses the client.

::

    ClientError
    ├── CannotConnect     the first connection cannot be made: a wrong address, or nobody is there
    ├── RequestRefused    the server answered a request with `error`: nothing was done
    ├── OutcomeUnknown    no answer in time: it may be done or not; a retry with the same key is safe
    └── ConnectionEnded   the server closed with a code that says not to come back, or `close` was called
"""

from __future__ import annotations


class ClientError(Exception):
    """Any of them."""


class CannotConnect(ClientError):
    """There never was a connection."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"cannot connect to {url}: {reason}")
        self.url = url
        self.reason = reason


class RequestRefused(ClientError):
    """The server said no."""

    def __init__(self, code: str, message: str, field: str | None = None) -> None:
        """`code` is one of the protocol's error codes; `field` the member of the request that is to blame."""
        super().__init__(f"{code}: {message}" + (f" ({field})" if field else ""))
        self.code = code
        self.message = message
        self.field = field


class OutcomeUnknown(ClientError):
    """No answer in time."""

    def __init__(self, kind: str, timeout: float, key: str | None) -> None:
        """`key`: say the same with it again, and it is kept once; None where that cannot be promised any more."""
        super().__init__(f"no answer to {kind} within {timeout:g} s")
        self.kind = kind
        self.key = key


class ConnectionEnded(ClientError):
    """The connection is over and does not come back by itself."""

    def __init__(self, code: int, reason: str) -> None:
        """`code` is the close code; 1000 after `close`."""
        super().__init__(f"{code} {reason}".rstrip())
        self.code = code
        self.reason = reason
