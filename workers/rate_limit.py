"""Rate limits of connections and users: token buckets, and the tokens that a worker has leased. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from chatmaster.settings import Limits

if TYPE_CHECKING:
    from asyncio import Future

BYTES_A_TOKEN: Final = 16_384  # a larger request costs more than one token
_ONE: Final = 0.999  # Unix time in a float is good for a microsecond only
WARN_EVERY: Final = 60.0  # seconds
FLOOD_FACTOR: Final = 5  # after this many bursts of refused requests the connection is closed (4009)


class TokenBucket(Struct, gc=False):
    """Holds up to `limits.burst` tokens and gains `limits.rate` a second; times are in seconds of any one clock."""

    tokens: float
    at: float
    refused: int = 0  # requests refused since the bucket was last full

    def take(self, limits: Limits, now: float, size: int) -> float:
        """Take the tokens for a request of `size` bytes. Returns 0, or the seconds until there are enough tokens.

        A single request may leave the bucket in debt, so that a request which costs more than a burst is possible.
        """
        elapsed = now - self.at
        if elapsed > 0:
            self.tokens += elapsed * limits.rate
        self.at = now
        if self.tokens >= limits.burst:
            self.tokens = limits.burst
            self.refused = 0
        if self.tokens < _ONE:
            self.refused += 1
            return (1.0 - self.tokens) / limits.rate
        self.tokens -= 1.0 if size <= BYTES_A_TOKEN else size / BYTES_A_TOKEN
        return 0.0

    def charge(self, tokens: float) -> None:
        """Take tokens for a request that turned out to be costly."""
        self.tokens -= tokens

    def flooded(self, limits: Limits) -> bool:
        """Return whether so many requests were refused that the client cannot be honouring the limit."""
        return self.refused > FLOOD_FACTOR * limits.burst


class ProgramBucket(TokenBucket, gc=False):
    """The bucket of a program's connection, which is read more slowly instead of refused; logged once a minute."""

    warned_at: float = float("-inf")  # seconds of the same clock

    def should_warn(self, now: float) -> bool:
        """Return whether a warning is due, at most one in WARN_EVERY seconds; count it as logged."""
        if now - self.warned_at < WARN_EVERY:
            return False
        self.warned_at = now
        return True


class TokenAccount:
    """Tokens that this worker may spend for one user; kept while a connection of the user that used it is open."""

    __slots__ = ("__weakref__", "blocked_until", "expires", "leasing", "tokens", "user")

    def __init__(self, user: str) -> None:
        self.user = user
        self.tokens = 0.0
        self.expires = 0.0  # when the leased tokens expire; Unix time, like all times here
        self.blocked_until = 0.0  # until then the store has no token
        self.leasing: Future[None] | None = None

    def spend(self, size: int, now: float) -> bool:
        """Take the tokens for a request of `size` bytes; a large one may leave a debt. False if there is no token."""
        if self.tokens < _ONE or now > self.expires:
            return False
        self.tokens -= 1.0 if size <= BYTES_A_TOKEN else size / BYTES_A_TOKEN
        return True

    def borrow(self, size: int, now: float) -> float:
        """Return the debt that the next lease owes for a request that need not wait; 0 if the request has to wait."""
        if self.leasing is not None or now <= self.expires:
            return 0.0
        debt, self.tokens = min(0.0, self.tokens), 0.0
        return _price(size) - debt


def _price(size: int) -> float:
    """Tokens for a request of `size` bytes."""
    return 1.0 if size <= BYTES_A_TOKEN else size / BYTES_A_TOKEN
