"""PushSender: sends a note to a browser's push service, within a time and a size."""

from __future__ import annotations

import asyncio
import time
from base64 import urlsafe_b64encode
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Final

from workers.outgoing_http import OutgoingError, OutgoingHttp
from workers.push.subscription import PushSubscription, decoded

if TYPE_CHECKING:
    from workers.push.encryption import ServerKey

AT_ONCE: Final = 8  # requests
TIMEOUT: Final = 10.0  # seconds
MAX_ANSWER: Final = 16_384  # bytes
KEPT_FOR: Final = 86_400  # seconds that a push service keeps a note for a browser that is off
_GONE: Final = (404, 410)


class SubscriptionGone(Exception):
    """The browser's subscription is over, and should be forgotten."""


class PushSender:
    """The sender of one worker; `key_file` has the server's key, and is made where it is missing."""

    def __init__(self, key_file: Path, contact: str) -> None:
        self._key_file = key_file
        self._contact = contact
        self._key: ServerKey | None = None
        self._http = OutgoingHttp(max_connections=AT_ONCE, keep=True)

    async def prepare(self) -> str:
        """Read the key, in a thread; returns the public one, in base64url. Raises OSError, ValueError."""
        self._key = await asyncio.get_running_loop().run_in_executor(None, _load, self._key_file, self._contact)
        return self._key.public

    async def send(self, to: PushSubscription, note: bytes, topic: str) -> None:
        """Send a note; a newer one of the same topic takes its place while it waits.

        Raises SubscriptionGone, OutgoingError.
        """
        from workers.push.encryption import encrypted

        key, secret = decoded(to.p256dh), decoded(to.auth)
        if self._key is None or key is None or secret is None:
            return
        try:
            body = encrypted(note, key, secret)
        except ValueError:
            raise SubscriptionGone from None  # the point is not on the curve
        headers = {
            "authorization": self._key.authorization(to.endpoint, time.time()),
            "content-encoding": "aes128gcm",
            "content-type": "application/octet-stream",
            "ttl": str(KEPT_FOR),
            "urgency": "high",
            "topic": urlsafe_b64encode(blake2b(topic.encode(), digest_size=12).digest()).decode(),
        }
        answer = await self._http.request(
            "POST", to.endpoint, timeout=TIMEOUT, max_size=MAX_ANSWER, headers=headers, content=body
        )
        if answer.status in _GONE:
            raise SubscriptionGone
        if not 200 <= answer.status < 300:
            raise OutgoingError(f"answers with {answer.status}")

    async def close(self) -> None:
        """Close the kept connections."""
        await self._http.close()


def _load(path: Path, contact: str) -> ServerKey:
    from workers.push.encryption import server_key

    return server_key(path, contact)
