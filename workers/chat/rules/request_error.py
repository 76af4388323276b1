"""RequestError: why a request is refused. A rule raises it, and the connection answers `error`."""

from __future__ import annotations

import math
from typing import Final

from workers.bus.port import BusError, KeyConflict, NoTarget, NotAuthor, StoreRefused, TooMany
from workers.chat.rules import replies
from workers.chat.rules.commands import RequestId
from workers.chat.rules.effects import Reply

RETRY_STORE: Final = 1.0  # seconds after which a client may ask again what the store did not do


class RequestError(Exception):
    """A request that is refused: it becomes an `error` in answer, and has no other effect.

    `code` is one of the protocol's error codes, `retry_after` in seconds; `until` (Unix time; inf: without end) and
    `reason` are those of a ban or a mute.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        field: str | None = None,
        retry_after: float | None = None,
        until: float | None = None,
        reason: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.field = field
        self.retry_after = retry_after
        self.until = until
        self.reason = reason

    def reply(self, request: RequestId) -> Reply:
        """The answer, repeating the request's id."""
        wait = None if self.retry_after is None else max(1, math.ceil(self.retry_after * 1000))
        return Reply(
            replies.error(
                self.code, str(self), request=request, retry_after_ms=wait, field=self.field,
                until=self.until, reason=self.reason,
            )
        )  # fmt: skip


def from_bus_error(error: BusError) -> RequestError:
    """What a client is told when the store did not do what was asked."""
    if isinstance(error, KeyConflict):
        return RequestError("bad_request", "this key was used with other content", field="key")
    if isinstance(error, NoTarget):
        return RequestError("not_found", "there is no such message any more", field="offset")
    if isinstance(error, NotAuthor):
        return RequestError("forbidden", "somebody else wrote this message", field="offset")
    if isinstance(error, TooMany):
        return RequestError("limit_reached", "this message has reactions enough", field="offset")
    if isinstance(error, StoreRefused):
        return RequestError("refused", "the store takes nothing now; this was not done", retry_after=RETRY_STORE)
    return RequestError("unavailable", "the store did not answer; the outcome is unknown", retry_after=RETRY_STORE)
