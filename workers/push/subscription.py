"""PushSubscription: where a browser wants to be told of what, and whether its push service may be asked. Pure."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

KEY_SIZE: Final = 65  # bytes of a point of P-256, uncompressed
AUTH_SIZE: Final = 16

# The push services of Chrome and its relatives, Firefox, Safari and Edge.
PUBLIC: Final = ("fcm.googleapis.com", "*.push.services.mozilla.com", "*.push.apple.com", "*.notify.windows.com")


class PushSubscription(Struct, frozen=True, omit_defaults=True):
    """A browser's subscription (Push API), and what its user wants to be told of."""

    endpoint: str
    p256dh: str  # the browser's public key, base64url
    auth: str  # the shared secret, base64url
    rooms: tuple[str, ...] = ()  # whose mentions are told
    silent: tuple[str, ...] = ()  # users whose direct messages are not told
    quiet_until: int = 0  # ms since 1970

    @property
    def name(self) -> str:
        """The name of the endpoint in the store."""
        return blake2b(self.endpoint.encode(), digest_size=16).hexdigest()

    def wants(self, room: str, sender: str, now: float) -> bool:
        """Whether a mention in `room`, or with room "" a direct message of `sender`, is told at `now` (seconds)."""
        if self.quiet_until > now * 1000:
            return False
        return room in self.rooms if room else sender not in self.silent


def complaint(endpoint: str, p256dh: str, auth: str, hosts: Sequence[str]) -> tuple[str, str] | None:
    """The field of a subscription that is wrong, and why; None: it can be used.

    The server sends requests to endpoints that browsers name: none but to the push services that are allowed.
    """
    if not _is_allowed(endpoint, hosts):
        return "endpoint", "this is no https address of a push service that the server may ask"
    if (key := decoded(p256dh)) is None or len(key) != KEY_SIZE or key[0] != 4:
        return "p256dh", "this is no public key of P-256"
    if (secret := decoded(auth)) is None or len(secret) != AUTH_SIZE:
        return "auth", "this is no secret of 16 bytes"
    return None


def decoded(text: str) -> bytes | None:
    """Bytes from base64url with or without padding; None where it is none."""
    try:
        return urlsafe_b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4))
    except ValueError:
        return None


def _is_allowed(endpoint: str, hosts: Sequence[str]) -> bool:
    if not endpoint.isascii() or not endpoint.isprintable() or any(one in endpoint for one in " \\#"):
        return False
    try:
        parts = urlsplit(endpoint)
        port = parts.port or 443
    except ValueError:
        return False
    if parts.scheme != "https" or not parts.hostname or parts.username is not None:
        return False
    return any(_fits(parts.hostname, port, host) for host in hosts or PUBLIC)


def _fits(host: str, port: int, allowed: str) -> bool:
    name, colon, wanted = allowed.partition(":")
    if port != (int(wanted) if colon else 443):
        return False
    if name.startswith("*."):
        return host.endswith(name[1:]) and len(host) > len(name) - 1
    return host == name
