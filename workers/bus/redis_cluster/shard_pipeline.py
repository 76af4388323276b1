"""The commands of one shard: a pipeline that follows its shard from node to node.

Theory of operation. One batch of a shard is under way at a time, all of it in one slot, so a batch is a MULTI/EXEC as
on a single store. A node that does not have the slot refuses the whole batch: nothing was done, the commands go back
to the head of the queue, and leave again in the same order for the node that has it.

While the keys of a slot are being moved, its old node has some of them and the new node the others. Then commands go
one by one: the old node refuses with ASK what is only at the new one, and either refuses with TRYAGAIN what is in
part here and in part there, which is most of what concerns a room, since a room has keys that do not exist. That is
tried again until the slot has moved.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from chatmaster.store.cluster_map import Address, Redirect, redirect_of
from workers.bus.connection import pack
from workers.bus.errors import StoreFault, fault_of
from workers.bus.pipeline import Pipeline, StoreCommand
from workers.bus.redis_cluster.node_link import NodeLink, ReplyReceiver
from workers.bus.script import Script

AGAIN: Final = 0.02  # seconds until what was refused for now is tried again
AGAIN_LATER: Final = 0.1  # the same where the whole cluster or node refuses
CAREFUL: Final = 1.0  # seconds after ASK or TRYAGAIN in which commands go one by one
_ASKING: Final = pack("ASKING")


class ShardPipeline(Pipeline, ReplyReceiver):
    """The commands, or the questions, of one shard; `links` has the connection of that kind to a node.

    `moved(shard, address)` is told that another node has the shard, `unsure` that the map may be old, `register`
    knows the script that a cluster runs in place of another.
    """

    def __init__(
        self,
        shard: int,
        *,
        atomic: bool,
        timeout: float,
        batch: int,
        links: Callable[[Address], NodeLink],
        moved: Callable[[int, Address], None],
        unsure: Callable[[str], None],
        register: Callable[[Script], Script],
    ) -> None:
        super().__init__(atomic=atomic, timeout=timeout, reconnect=self._break, refused=unsure, batch=batch)
        self.node: NodeLink | None = None  # of the node that has the shard
        self.address: Address = ("", 0)
        self._shard = shard
        self._usual = batch
        self._links = links
        self._moved = moved
        self._register = register
        self._flight_on: NodeLink | None = None
        self._ask: Address | None = None  # the node that takes the next command, once
        self._careful_until = 0.0
        self._held: asyncio.TimerHandle | None = None

    def register(self, script: Script) -> Script:
        """See ScriptTable."""
        return self._register(script)

    @property
    def usable(self) -> bool:
        return self.node is not None and self.node.usable

    def follow(self, node: NodeLink, address: Address) -> None:
        """Send what is queued, and what comes, to a node."""
        self.node, self.address = node, address
        self.wake()

    def wake(self) -> None:
        """The shard has a node that takes commands."""
        self._flush()

    def down(self) -> None:
        """The connection under the batch under way is gone."""
        self._flight_on = None
        super().down()
        self._hold(AGAIN)

    def stop(self) -> None:
        if self._held is not None:
            self._held.cancel()
        super().stop()

    def replied(self, reply: Any) -> None:
        self._replied(reply)

    def _break(self) -> None:
        if self._flight_on is not None:
            self._flight_on.reconnect()

    # ---- out ---------------------------------------------------------------------------------------

    def _flush(self) -> None:
        self._scheduled = False
        if self._flight or not self._queue or self._held is not None or not self.usable:
            return
        self._batch = 1 if self._loop.time() < self._careful_until else self._usual
        self._send_batch(self._next_batch())

    def _write(self, data: bytes, replies: int) -> None:
        assert self.node is not None
        self._expected = replies
        link, ask, self._ask = self.node, self._ask, None
        if ask is not None and (other := self._links(ask)).usable:
            self._flight_on = other
            other.write(_ASKING + data, replies, self, skip=1)
            return
        self._flight_on = link
        link.write(data, replies, self)

    def _put_back(self, commands: list[StoreCommand]) -> None:
        for command in commands:
            command.refusal = command.refusal and ""  # that a node cannot take it says nothing about the store
        super()._put_back(commands)

    def _hold(self, seconds: float) -> None:
        if self._held is None:
            self._held = self._loop.call_later(seconds, self._let_go)

    def _let_go(self) -> None:
        self._held = None
        self._flush()

    # ---- in ----------------------------------------------------------------------------------------

    def _fault_of(self, words: str) -> StoreFault:
        return StoreFault.WRONG_SERVER if redirect_of(words, self.address) else fault_of(words)

    def _heal(self, faults: Mapping[StoreFault, str]) -> None:
        words = faults.get(StoreFault.WRONG_SERVER)
        if words is None:
            if self.node is not None:
                self.node.load_all()
            self._hold(0.0)
        elif redirect := redirect_of(words, self.address):
            self._redirected(redirect)
        elif words.startswith("TRYAGAIN"):
            self._careful_until = self._loop.time() + CAREFUL
            self._hold(AGAIN)
        else:
            self._refused(words)
            self._hold(AGAIN_LATER)

    def _redirected(self, redirect: Redirect) -> None:
        if redirect.ask:
            self._careful_until = self._loop.time() + CAREFUL
            self._ask = redirect.address
            self._hold(0.0 if self._links(redirect.address).usable else AGAIN)
        else:
            self._moved(self._shard, redirect.address)
            self._hold(AGAIN)
