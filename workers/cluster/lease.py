"""Owns this process's incarnation: the name under which it writes to the store, and the lease that keeps it alive.

Theory of operation. What a process writes about its users belongs to an incarnation. It renews the lease of that every
few seconds; the store's clock alone decides whether it is over, and then anyone may reap what it left. A process
that finds its own gone (it was stopped for too long, the store was wiped) begins a new one: a new name, everything
written again, and only then the old one reaped, so that nobody seems to have left. It does the same when the store's
reign changes, since a store that restarted may have forgotten the last of what it had taken; of a cluster's other nodes
the bus counts the losses.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workers.bus.port import BusError
from workers.bus.script import Argument, ScriptRunner, scripts_of
from workers.cluster import keys

logger = logging.getLogger(__name__)

RENEW = 3.0  # seconds between two renewals
LEASE = 10.0  # seconds: three renewals may fail
RETRY = 0.5  # seconds between two tries to register
PATIENCE = 1.0  # seconds that starting and stopping wait for a store that may be away


class Lease:
    """The incarnation of this process and what it knows of the others. Shared by presence and registry.

    `process` is unique among all processes: `Launch.incarnation`.
    """

    def __init__(
        self, calls: ScriptRunner, name: str, process: str, *, renew: float = RENEW, duration: float = LEASE
    ) -> None:
        self._calls = calls
        self._name = name
        self._process = process
        self._renew_every, self._duration = renew, duration
        self._loop = asyncio.get_running_loop()
        (self._renew_script,) = map(calls.script, scripts_of(Path(__file__).parent, "renew"))
        self._life = 0
        self._reign = ""
        self._losses = calls.losses
        self._alive: frozenset[str] = frozenset()
        self._gone: set[str] = set()  # incarnations known to be dead that the store may still count
        self._lost_early: set[str] = set()  # processes reported dead before the live ones were known
        self._task: asyncio.Task[None] | None = None
        self._reborn: list[Callable[[str], None]] = []
        self.registered = False
        self.suspected: Callable[[str], None] = _ignore  # an incarnation that may have to be reaped
        self.renewed: Callable[[], None] = _nothing
        self.store_changed: Callable[[], None] = _nothing  # the store may have forgotten what it had taken

    @property
    def incarnation(self) -> str:
        """The present name."""
        return f"{self._process}.{self._life}"

    def live(self) -> list[str]:
        """The incarnations that counted as alive at the last renewal, this one first."""
        return [self.incarnation, *(self._alive - self._gone - {self.incarnation})]

    async def lives(self, process: str) -> bool:
        """Whether a process has an incarnation that counts as alive now. Raises BusError."""
        if process == self._process:
            return True
        await self.renew()
        return any(_process_of(one) == process for one in self.live())

    def when_reborn(self, callback: Callable[[str], None]) -> None:
        """Have `callback(old)` called when a new incarnation has begun: everything must be written again."""
        self._reborn.append(callback)

    def mark_lost(self, process: str) -> None:
        """The master says that a sibling is dead."""
        if self._alive:
            self._gone |= {one for one in self._alive if _process_of(one) == process}
        else:
            self._lost_early.add(process)

    # ---- life --------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Register; without the store that happens as soon as it is there."""
        try:
            await asyncio.wait_for(self.renew(), PATIENCE)
        except (BusError, TimeoutError):
            logger.warning("the store does not answer yet: this worker registers with it later")
        self._task = self._loop.create_task(self._keep(), name="lease")

    async def stop(self, *, after: float) -> None:
        """Let the lease run out `after` seconds from now."""
        await self.stop_renewing()
        if self.registered:
            self.registered = False
            try:
                await asyncio.wait_for(self._call(after, ""), PATIENCE)
            except (BusError, TimeoutError):
                logger.info("the store cannot be reached: the lease expires by itself")

    async def stop_renewing(self) -> None:
        """Do nothing more for the lease."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _keep(self) -> None:
        while True:
            # Spread, so that a thousand workers do not come at once.
            every = self._renew_every if self.registered else min(self._renew_every, RETRY)
            await asyncio.sleep(every * random.uniform(0.8, 1.0))
            try:
                await self.renew()
            except BusError as error:
                logger.debug("the lease was not renewed: %s", error)

    async def renew(self) -> None:
        """Renew the lease, or register, and learn who else is alive. Raises BusError."""
        incarnation, registered, losses = self.incarnation, self.registered, self._calls.losses
        alive, _, reign, everyone, suspects = await self._call(self._duration, "" if registered else "new")
        self._alive = frozenset(one.decode() for one in everyone)
        self._gone |= {one for one in self._alive if _process_of(one) in self._lost_early}
        self._gone &= self._alive
        self._lost_early.clear()
        forgetful = self._reign not in ("", reign.decode()) or self._losses != losses
        changed = registered and forgetful
        self._reign, self._losses = reign.decode(), losses
        if forgetful:
            self.store_changed()
        if incarnation != self.incarnation:
            return  # a new incarnation began meanwhile
        if not alive:
            logger.warning(
                "the store counts this worker as dead (%s): it registers again and writes its presence again",
                self.incarnation,
            )
            await self.begin_anew()
        elif changed:
            logger.info("the store was restarted or lost data: this worker writes its presence again")
            await self.begin_anew()
        else:
            self.registered = True
            self.renewed()
        for suspect in suspects:
            if suspect.decode() != self.incarnation:
                self.suspected(suspect.decode())

    async def begin_anew(self) -> None:
        """Take a new name. Raises BusError: then it is registered at the next renewal."""
        old = self.incarnation
        self._life += 1
        self.registered = False
        for callback in self._reborn:
            callback(old)
        await self._call(self._duration, "new")
        self.registered = True
        self.renewed()

    async def _call(self, duration: float, kind: str) -> Any:
        args: list[Argument] = [self.incarnation, int(duration * 1000), kind]
        return await self._calls.call(self._renew_script, keys.of_incarnations(self._name), args, again=True)


def _process_of(incarnation: str) -> str:
    return incarnation.rpartition(".")[0]


def _ignore(incarnation: str) -> None:
    """Do nothing: no part reaps."""


def _nothing() -> None:
    """Do nothing: no part waits for renewals."""
