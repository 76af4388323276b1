"""A client's mistake: raised where a rule finds it, and turned into an `error` where the request came in."""

from __future__ import annotations

import math

from workers.chat.rules import replies
from workers.chat.rules.commands import RequestId
from workers.chat.rules.effects import Reply


class RequestError(Exception):
    """It becomes an `error` in answer to the request, and nothing else happens.

    `code` is one of the protocol's error codes, `retry_after` in seconds.
    """

    def __init__(self, code: str, message: str, *, field: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.field = field
        self.retry_after = retry_after

    def reply(self, request: RequestId) -> Reply:
        """The answer, repeating the request's id."""
        wait = None if self.retry_after is None else max(1, math.ceil(self.retry_after * 1000))
        return Reply(replies.error(self.code, str(self), request=request, retry_after_ms=wait, field=self.field))
