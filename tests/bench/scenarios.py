"""What is measured: each row of the table, the load behind it, and what it may cost at most.

Every scenario runs through the whole chat path: parsed, checked, stored with an offset, acknowledged, delivered in
order, with presence, limits and metrics on. Only the limit on a connection's requests is too high to be reached.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Kind = Literal["cpu", "memory", "connects", "latency", "lag"]

SERVERS = ("chatmaster", "bound", "floor", "baseline", "centrifugo")
PADDING = 100  # bytes; below the threshold of compression, which only the last scenario goes beyond


class Scenario(Struct, frozen=True, kw_only=True):
    """One row."""

    name: str
    title: str
    unit: str
    kind: Kind = "cpu"
    workers: int = 1
    connections: int = 1000
    each_room: int = 0  # members of a room; 0: one room for all
    senders: int = 10
    window: int = 0  # messages in flight
    rate: float = 0.0  # messages a second; half of what saturates where it is 0
    hello: bool = True
    keys: bool = False  # whether every message has an idempotency key
    compressed: bool = False
    history_size: int = 1000
    padding: int = PADDING

    @property
    def servers(self) -> tuple[str, ...]:
        """What is measured beside ours: what does the same work in a way that can be compared."""
        if self.kind == "lag":  # by the server's own word, which only ours says
            return ("chatmaster",)
        if self.compressed:
            return ("chatmaster", "bound", "floor")
        return SERVERS[:-1] if self.keys else SERVERS  # a client of Centrifugo sends no keys

    @property
    def more_is_better(self) -> bool:
        return self.kind == "connects"


US = "µs CPU / delivery"

SCENARIOS: tuple[Scenario, ...] = (
    Scenario(name="room-16", title="1 worker, room of 1,000, 16 in flight", unit=US, window=16),
    Scenario(
        name="room-16-keys",
        title="the same, every message with an idempotency key",
        unit=US,
        window=16,
        keys=True,
    ),
    Scenario(name="room-1", title="1 worker, room of 1,000, 1 in flight", unit=US, window=1),
    Scenario(
        name="two-16",
        title="2 workers, room of 1,000, 16 in flight",
        unit=US,
        window=16,
        workers=2,
    ),
    Scenario(
        name="two-small",
        title="2 workers, 1 room of 10, 32 in flight",
        unit=US,
        window=32,
        workers=2,
        connections=10,
    ),
    Scenario(
        name="two-rooms",
        title="2 workers, 100 rooms of 10, 200 in flight",
        unit=US,
        window=200,
        workers=2,
        each_room=10,
        senders=100,
    ),
    Scenario(
        name="idle",
        title="an idle connection in one room",
        unit="KiB",
        kind="memory",
        connections=5000,
    ),
    Scenario(
        name="connect",
        title="connects up to the 101, a core",
        unit="1/s",
        kind="connects",
        connections=5000,
        hello=False,
    ),
    Scenario(
        name="welcome",
        title="connects up to `welcome` with one room, a core",
        unit="1/s",
        kind="connects",
        connections=5000,
    ),
    Scenario(
        name="half-load",
        title="p99 at half of the throughput that saturates, room of 1,000",
        unit="ms",
        kind="latency",
        window=16,
    ),
    Scenario(
        name="rate-50",
        title="p99 of 50 messages/s to 1,000 members",
        unit="ms",
        kind="latency",
        rate=50,
    ),
    Scenario(
        name="deflate",
        title="a message of 800 bytes to 1,000 members, compressed, 16 in flight",
        unit=US,
        window=16,
        compressed=True,
        padding=600,
    ),
    Scenario(
        name="large",
        title="longest loop lag, 15,000 members on one worker, 50 messages/s",
        unit="ms",
        kind="lag",
        connections=15_000,
        rate=50,
    ),
)
