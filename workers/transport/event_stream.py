"""EventStream: one answer of plain HTTP, which the server may end at a boundary where it streams events.

A stream of server-sent events has no end of its own, and would hold a worker that is being replaced until it is cut.
The server ends it between two events, as a whole response; the browser's `EventSource` asks again, with the last
event's id in `Last-Event-ID` (HTML, 9.2), and a new worker answers.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

RETRY: Final = (100, 1000)  # milliseconds until a client asks again: not all of them at once

_BOUNDARIES: Final = (b"\n\n", b"\r\n\r\n", b"\r\r")

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]


class EventStream:
    """Passes an application's messages on; after `end`, drops them. `ending`: a stream ends as soon as it begins."""

    __slots__ = ("_ending", "_send", "_whole", "ended", "streams")

    def __init__(self, send: Send, *, ending: bool) -> None:
        self._send = send
        self.streams = False  # the answer is a stream of events
        self.ended = False  # by the server
        self._whole = True  # no event has been sent in part
        self._ending = ending

    async def send(self, message: Message) -> None:
        """What the application calls."""
        if self.ended:
            return
        if message["type"] == "http.response.start":
            self.streams = _streams_events(message)
        elif message.get("body"):
            self._whole = bytes(message["body"]).endswith(_BOUNDARIES)
        await self._send(message)
        if self._ending and (message.get("more_body") or message["type"] == "http.response.start"):
            await self.end()

    async def end(self) -> None:
        """End the stream now, or after the event that is being sent."""
        self._ending = True
        if self.streams and self._whole and not self.ended:
            self.ended = True
            last = f": the server restarts\nretry: {random.randint(*RETRY)}\n\n".encode()
            await self._send({"type": "http.response.body", "body": last, "more_body": False})


def _streams_events(start: Message) -> bool:
    headers = {bytes(name).lower(): bytes(value).lower() for name, value in start.get("headers", ())}
    plain = b"content-encoding" not in headers and b"content-length" not in headers
    return plain and headers.get(b"content-type", b"").startswith(b"text/event-stream")
