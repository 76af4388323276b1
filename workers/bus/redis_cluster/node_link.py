"""One connection to a node, which the pipelines of all its shards share: replies come in the order of the commands."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import hiredis

from workers.bus.connection import StoreConnection, pack
from workers.bus.script import Script

logger = logging.getLogger(__name__)


class ReplyReceiver(ABC):
    """What gets the replies to the commands that it wrote."""

    __slots__ = ()

    @abstractmethod
    def replied(self, reply: Any) -> None:
        """The next reply."""

    @abstractmethod
    def down(self) -> None:
        """The connection broke, and the replies that are due never come."""


class _Due:
    """Replies that are due: so many to be dropped, then so many for the receiver."""

    __slots__ = ("count", "receiver", "skip")

    def __init__(self, skip: int, count: int, receiver: ReplyReceiver) -> None:
        self.skip, self.count, self.receiver = skip, count, receiver


class _Loading(ReplyReceiver):
    """Waits for the confirmations of scripts, after which the connection is usable."""

    __slots__ = ("_link", "left")

    def __init__(self, link: NodeLink, left: int) -> None:
        self._link, self.left = link, left

    def replied(self, reply: Any) -> None:
        self.left -= 1
        self._link.loaded(reply, last=not self.left)

    def down(self) -> None:
        """A new connection loads everything again."""


class NodeLink:
    """`usable` is called when the node has all scripts; `refused` with the words of a node that takes none."""

    def __init__(
        self,
        scripts: Iterable[Script],
        *,
        became_usable: Callable[[], None],
        refused: Callable[[str], None],
        reconnect: Callable[[], None],
    ) -> None:
        self._scripts = scripts
        self._became_usable = became_usable
        self._refused = refused
        self.reconnect = reconnect
        self.usable = False
        self._link: StoreConnection | None = None
        self._due: deque[_Due] = deque()

    def write(self, data: bytes, count: int, receiver: ReplyReceiver, *, skip: int = 0) -> None:
        """Send commands that get `skip` replies to be dropped, and `count` for the receiver."""
        assert self._link is not None
        self._due.append(_Due(skip, count, receiver))
        self._link.write(data)

    def load(self, scripts: Iterable[Script]) -> None:
        """Load scripts, in front of whatever is written from now on."""
        packed = [pack("SCRIPT", "LOAD", one.source) for one in scripts]
        if self._link is not None and packed:
            self.write(b"".join(packed), len(packed), _Loading(self, len(packed)))

    def load_all(self) -> None:
        """Load all scripts again: the node has lost them."""
        self.load(self._scripts)

    def loaded(self, reply: Any, *, last: bool) -> None:
        """The node has taken a script, or refused it."""
        if isinstance(reply, hiredis.ReplyError):
            self._refused(str(reply))
            self.reconnect()
        elif last and not self.usable:
            self.usable = True
            self._became_usable()

    # ---- the connection ----------------------------------------------------------------------------

    def up(self, link: StoreConnection) -> None:
        """A connection is there; the scripts go first."""
        self._link = link
        link.replied = self._replied
        self.load_all()

    def down(self) -> None:
        """The connection is gone."""
        self._link, self.usable = None, False
        due, self._due = self._due, deque()
        for receiver in dict.fromkeys(one.receiver for one in due):
            receiver.down()

    def _replied(self, reply: Any) -> None:
        if not self._due:
            logger.error("a node of the store sent an unexpected reply; the connection is dropped")
            self.reconnect()
            return
        due = self._due[0]
        if due.skip:
            due.skip -= 1
            return
        due.count -= 1
        if not due.count:
            self._due.popleft()
        due.receiver.replied(reply)
