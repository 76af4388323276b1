"""Asks the nodes who has which shard: at the start, after every doubt, and from time to time."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable
from typing import Any, Final

import hiredis

from chatmaster.store.cluster_map import Address, ClusterMap, map_of
from workers.bus.connection import pack
from workers.bus.outage_log import Outage
from workers.bus.port import Unavailable
from workers.bus.reconnect import end
from workers.bus.store_url import Opener

logger = logging.getLogger(__name__)

EVERY: Final = 10.0  # seconds between two looks where nothing is in doubt
IN_DOUBT: Final = 0.3  # the same while a shard has no node that answers
APART: Final = 0.05  # the least
ANSWER_WITHIN: Final = 1.0  # seconds for one node, before the next one is asked
FOR_MAP: Final = "for the map of the cluster"


class Topology:
    """Keeps the map up to date. `apply(map)` gets each answer, `settled()` says whether every shard is served."""

    def __init__(
        self,
        opener: Opener,
        seeds: Iterable[Address],
        *,
        outage: Outage,
        apply: Callable[[ClusterMap], None],
        settled: Callable[[], bool],
    ) -> None:
        self._opener = opener
        self._seeds = tuple(seeds)
        self._outage = outage
        self._apply = apply
        self._settled = settled
        self._known: frozenset[Address] = frozenset()
        self._doubted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._follow(), name="store: map of the cluster")

    async def stop(self) -> None:
        if self._task is not None:
            await end(self._task)

    def doubt(self) -> None:
        """Look again at once."""
        self._doubted.set()

    async def _follow(self) -> None:
        while True:
            self._doubted.clear()
            try:
                found = await self._ask_somebody()
            except Unavailable as error:
                self._outage.failed(FOR_MAP, error)
            else:
                self._outage.over(FOR_MAP)
                self._known = found.nodes
                self._apply(found)
            await asyncio.sleep(APART)
            try:
                async with asyncio.timeout(EVERY if self._settled() else IN_DOUBT * random.uniform(0.7, 1.0)):
                    await self._doubted.wait()
            except TimeoutError:
                pass

    async def _ask_somebody(self) -> ClusterMap:
        """The map of the first node that answers. Raises Unavailable."""
        asked = [*self._known] or [*self._seeds]
        random.shuffle(asked)
        why: Exception = Unavailable("no node of the cluster is known")
        for address in dict.fromkeys([*asked, *self._seeds]):
            try:
                return await self._ask(address)
            except (Unavailable, ValueError) as error:
                why = error
        raise Unavailable(str(why))

    async def _ask(self, address: Address) -> ClusterMap:
        """The map of one node. Raises Unavailable, ValueError for an answer in an unknown form."""
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                slots, command = await self._answers(address, ("CLUSTER", "SLOTS"), ("COMMAND", "INFO", "SSUBSCRIBE"))
        except TimeoutError as error:
            raise Unavailable(f"{address[0]}:{address[1]} does not answer") from error
        if isinstance(slots, hiredis.ReplyError):
            raise Unavailable(f"{address[0]}:{address[1]}: {slots}")
        known = isinstance(command, list) and bool(command) and command[0] is not None
        found = map_of(slots, address, sharded=known)
        if not any(found.owners):
            raise Unavailable(f"{address[0]}:{address[1]} knows no node with a slot")
        return found

    async def _answers(self, address: Address, *commands: tuple[str, ...]) -> list[Any]:
        link = await self._opener.at(address).open()
        replies: asyncio.Queue[Any] = asyncio.Queue()
        link.replied = replies.put_nowait
        link.lost = lambda: replies.put_nowait(None)
        try:
            link.write(b"".join(pack(*command) for command in commands))
            found = []
            for _ in commands:
                reply = await replies.get()
                if reply is None:
                    raise Unavailable(f"{address[0]}:{address[1]} closed the connection")
                found.append(reply)
            return found
        finally:
            link.abort()
            await asyncio.shield(link.closed)
