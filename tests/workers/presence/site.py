"""A worker as far as presence and registry are concerned: a real bus, a lease, and the two of them."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from chatmaster.settings import Chat, Limits, Master, Settings
from workers.bus.port import Placed, Publication
from workers.bus.redis_bus import RedisBus
from workers.cluster.lease import Lease
from workers.presence import Presence, PresenceChange
from workers.registry import Registry

GRACE = 0.4  # seconds; the real one is longer than a test has patience for
RENEW, LEASE = 0.1, 0.5


class Site:
    """One process. `told` collects what its members were told."""

    presence: Presence
    registry: Registry
    lease: Lease

    def __init__(
        self, url: str, name: str, process: str, *, grace: float = GRACE, renew: float = RENEW, **limits: Any
    ) -> None:
        self.settings = Settings(
            master=Master(name=name), limits=Limits(**limits), chat=Chat(presence_interval=0.1, presence_names=100)
        )
        self.process = process
        self.told: list[tuple[str, PresenceChange]] = []
        self.bus = RedisBus(url, self.settings, self)
        self._grace = grace
        self._renew = renew
        self.gone = False

    async def start(self) -> Site:
        self.bus.start()
        await self.bus.ready(5.0)
        name = self.settings.master.name
        self.lease = Lease(self.bus, name, self.process, renew=self._renew, duration=LEASE / RENEW * self._renew)
        self.presence = Presence(self.bus, self.lease, self.settings, self._announce, grace=self._grace)
        self.registry = Registry(self.bus, self.lease, self.settings)
        await self.lease.start()
        await self.presence.start()
        await self.registry.start()
        return self

    async def stop(self) -> None:
        """Leave in order, once."""
        if self.gone:
            return
        self.gone = True
        await self.presence.stop()
        await self.registry.stop()
        await self.lease.stop(after=self.presence.grace_left)
        await self.bus.stop()

    async def die(self) -> None:
        """End without a word."""
        self.gone = True
        await self.bus.stop()
        await self.lease.stop_renewing()

    def _announce(self, room: str, change: PresenceChange) -> None:
        self.told.append((room, change))

    def joined(self) -> list[str]:
        """Everyone that the members were told to have joined, in order."""
        return [user for _, change in self.told for user, _ in change.joined]

    def left(self) -> list[str]:
        return [user for _, change in self.told for user, _ in change.left]

    async def users(self, room: str = "lobby") -> dict[str, int]:
        """Who is there over all workers, with their connections."""
        found = await self.presence.members(room, 10_000)
        return {member.user: member.connections for member in found.members}

    # ---- told by the bus ---------------------------------------------------------------------------

    def received(self, room: str, publication: Publication) -> None:
        raise AssertionError("nothing is published here")

    def placed(self, room: str, last: Placed, count: int, seconds: float) -> None:
        raise AssertionError("nothing is published here")

    def received_note(self, room: str, note: bytes) -> None:
        assert self.presence.received_note(room, note)

    def subscribed(self, room: str) -> None:
        self.presence.resubscribed(room)

    def unsubscribed(self, room: str) -> None: ...

    def wants(self, room: str) -> bool:
        return False

    def shared_subscribed(self, shards: frozenset[int] | None = None) -> None: ...

    def disconnected(self, shards: frozenset[int] | None = None) -> None: ...


def encoded(value: Any) -> Any:
    """A struct as the control room carries it, and back."""
    return msgspec.json.decode(msgspec.json.encode(value), type=type(value))


async def a_moment() -> None:
    """Several turns of the loop: for what must not happen."""
    for _ in range(10):
        await asyncio.sleep(0.01)
