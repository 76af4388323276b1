"""How fast one connection, or one user, may ask: token buckets, and the tokens that a worker has leased. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from chatmaster.settings import Limits

if TYPE_CHECKING:
    from asyncio import Future

BYTES_A_TOKEN: Final = 16_384  # a larger request costs more than one
_ONE: Final = 0.999  # Unix time in a float is good for a microsecond only
WARN_EVERY: Final = 60.0  # seconds
FLOOD_FACTOR: Final = 5  # so many bursts of refused requests end the connection (4009)


class TokenBucket(Struct, gc=False):
    """Holds up to `limits.burst` tokens and gains `limits.rate` a second; times are in seconds of any one clock."""

    tokens: float
    at: float
    refused: int = 0  # since it was last full

    def take(self, limits: Limits, now: float, size: int) -> float:
        """Take what a request of `size` bytes costs. Returns 0, or in how many seconds there will be enough.

        A single request may leave the bucket in debt, so that one which costs more than a burst is possible.
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
        self.tokens -= max(1.0, size / BYTES_A_TOKEN)
        return 0.0

    def charge(self, tokens: float) -> None:
        """Take tokens for what turned out to be costly."""
        self.tokens -= tokens

    def flooded(self, limits: Limits) -> bool:
        """Whether it was refused so often that this is no mistake any more."""
        return self.refused > FLOOD_FACTOR * limits.burst


class ProgramBucket(TokenBucket, gc=False):
    """That of a program's connection, whose client is only read more slowly: that is said once a minute."""

    warned_at: float = float("-inf")  # when, in seconds of the same clock

    def should_warn(self, now: float) -> bool:
        """Whether the log has not been told for a minute; it counts as told then."""
        if now - self.warned_at < WARN_EVERY:
            return False
        self.warned_at = now
        return True


class TokenAccount:
    """What this worker may spend for one user; it lives as long as a connection of the user that has asked."""

    __slots__ = ("__weakref__", "blocked_until", "expires", "leasing", "tokens", "user")

    def __init__(self, user: str) -> None:
        self.user = user
        self.tokens = 0.0
        self.expires = 0.0  # when what was leased is lost; Unix time, as all here
        self.blocked_until = 0.0  # the store has no token before
        self.leasing: Future[None] | None = None

    def spend(self, size: int, now: float) -> bool:
        """Take what a request of `size` bytes costs; a large one may leave a debt. False: there is no token here."""
        if self.tokens < _ONE or now > self.expires:
            return False
        self.tokens -= _price(size)
        return True

    def borrow(self, size: int, now: float) -> float:
        """What the next lease owes the bucket for a request that does not wait for it; 0: this one has to wait."""
        if self.leasing is not None or now <= self.expires:
            return 0.0
        debt, self.tokens = min(0.0, self.tokens), 0.0
        return _price(size) - debt


def _price(size: int) -> float:
    """Tokens for a request of so many bytes."""
    return max(1.0, size / BYTES_A_TOKEN)
