"""One server of the store as a worker uses it: three connections, and the probe that shows whether the server serves
this worker. A single store is one such server, and so is each node of a cluster.

Commands (publications, notes, other modules' scripts), reads and the subscription each have a connection, so that a
page of history never delays an ack, and a burst of messages neither.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final, Literal, Protocol

from chatmaster.store.refusals import code_of, explained
from workers.bus.connection import StoreConnection, pack
from workers.bus.health import DEAF_AFTER, HealthProbe
from workers.bus.outage_log import Outage
from workers.bus.port import BusError, StoreRefused, Unavailable
from workers.bus.reconnect import Reconnector
from workers.bus.store_url import Opener

logger = logging.getLogger(__name__)

State = Literal["starting", "ready", "away", "refusing"]

# What a worker wants of a server: the three connections, and that it writes.
FOR_COMMANDS: Final = "for commands"
FOR_READING: Final = "for reading"
FOR_PUBLISHED: Final = "for what is published"
FOR_WRITING: Final = "for writing"
FOR_SUBSCRIBING: Final = "for subscribing"


class ConnectionUser(Protocol):
    """What has one of the connections. `up` and `down` alternate."""

    @property
    def usable(self) -> bool:
        """Whether the connection takes commands."""

    def up(self, link: StoreConnection) -> None:
        """A connection is there."""

    def down(self) -> None:
        """The connection is gone."""


class SubscriptionUser(ConnectionUser, Protocol):
    """What has the connection for what is published."""

    def ask_again(self) -> None:
        """Ask for the stamps of the probe once more, which shows whether the server still allows it."""


class StoreServer:
    """The connections to one server. `publish_probe(stamp)` publishes what must come back to `stamp_returned`.

    `whole` judges the server's answer to `question` on a connection of its own: whether it serves others. `deaf` is
    called when only a new process can help.
    """

    def __init__(
        self,
        opener: Opener,
        *,
        name: str,
        publish_probe: Callable[[bytes], None],
        question: tuple[str, ...],
        whole: Callable[[bytes], bool],
        timeout: float,
        deaf: Callable[[], None],
    ) -> None:
        self._opener = opener
        self._name = name
        self._question, self._whole = question, whole
        self._timeout = timeout
        self._publish_probe = publish_probe
        self.outage = Outage()
        self.refusal = ""  # the server's words when it last refused everything
        self.probe = HealthProbe(
            publish=self._send_probe, reconnect=self.reconnect_all, store_answers=self._answers, deaf=deaf
        )

    def serve(
        self,
        commands: ConnectionUser,
        reads: ConnectionUser,
        subscription: SubscriptionUser,
        *,
        where: str = "",
        gone: Callable[[], None] | None = None,
    ) -> None:
        """Say what has the connections, before `start`. `gone` hears of each connection that broke, after its user.

        `where` names the server in the log where there are several.
        """

        def line(what: str, user: ConnectionUser, up: Callable[[StoreConnection], None]) -> Reconnector:
            def down() -> None:
                user.down()
                if gone is not None:
                    gone()

            return Reconnector(f"{what} at {where}" if where else what, self._opener, self.outage, up=up, down=down)

        self._commands, self._subscription = commands, subscription
        self._lines = (
            line(FOR_COMMANDS, commands, self._commands_up),
            line(FOR_READING, reads, reads.up),
            line(FOR_PUBLISHED, subscription, self._subscription_up),
        )

    # ---- life --------------------------------------------------------------------------------------

    def start(self) -> None:
        """Connect, and stay connected."""
        for line in self._lines:
            line.start()
        self.probe.start()

    async def stop(self) -> None:
        """Close the connections."""
        await self.probe.stop()
        for line in self._lines:
            await line.stop()

    def descriptors(self) -> list[int]:
        """Of the connections that are open now."""
        links = [line.link for line in self._lines if line.link is not None]
        sockets = [link.transport.get_extra_info("socket") for link in links]
        return [sock.fileno() for sock in sockets if sock is not None]

    @property
    def state(self) -> State:
        """`ready`: what is published now would come back; `starting`: nothing has come back yet.

        `refusing`: the server answers, and writes nothing.
        """
        if self.probe.refusal:
            return "refusing"
        if not self.probe.back_at:
            return "starting"
        connected = self._commands.usable and self._subscription.usable
        return "ready" if connected and self.probe.age < DEAF_AFTER else "away"

    def refused(self, words: str) -> None:
        """The server refuses whatever comes by one of the connections."""
        self.refusal = words
        self.outage.refused(explained(words, self._name))

    def subscription_refused(self, words: str) -> None:
        """The server refuses a subscription. Those that it took before are kept where it forbids new ones."""
        if code_of(words) != "NOPERM":
            self.refused(words)
            self.reconnect_subscription()
            return
        self.refusal = words
        self.probe.unheard(words)
        why = f"the store allows no subscription: {explained(words, self._name)}"
        self.outage.failed(FOR_SUBSCRIBING, StoreRefused(why))

    # ---- connections -------------------------------------------------------------------------------

    def reconnect_all(self) -> None:
        """Open every connection anew."""
        for line in self._lines:
            line.reconnect()

    def reconnect_reads(self) -> None:
        """Open the connection for reading anew."""
        self._lines[1].reconnect()

    def reconnect_subscription(self) -> None:
        """Open the connection for what is published anew."""
        self._lines[2].reconnect()

    def _commands_up(self, link: StoreConnection) -> None:
        self._reads_follow()
        self._commands.up(link)
        if self._subscription.usable:
            self.probe.send()

    def _subscription_up(self, link: StoreConnection) -> None:
        self._reads_follow()
        self._subscription.up(link)
        self.probe.send()

    def _reads_follow(self) -> None:
        """Read from no server that was deposed: the probe does not pass through the connection for reading."""
        if self.probe.back_at:  # else this is the beginning, and all three are being opened
            self.reconnect_reads()

    # ---- the probe ---------------------------------------------------------------------------------

    def _send_probe(self, stamp: bytes) -> None:
        self._subscription.ask_again()
        self._publish_probe(stamp)

    def stamp_returned(self, stamp: bytes) -> None:
        """A stamp came by the subscription."""
        self.probe.returned(stamp)
        if not self.probe.unheard_words:
            self.outage.over(FOR_SUBSCRIBING)

    def probe_answered(self, reply: Any) -> None:
        """The server's answer to the publication of a stamp, or a BusError."""
        if isinstance(reply, StoreRefused):
            self.refusal = str(reply)
            self.probe.refused(self.refusal)
            why = f"the store writes nothing: {explained(self.refusal, self._name)}"
            self.outage.failed(FOR_WRITING, StoreRefused(why))
        elif not isinstance(reply, BusError):
            self.probe.taken()
            self.outage.over(FOR_WRITING)

    async def _answers(self) -> bool:
        """Whether the server answers a new connection, and in the way of one that serves."""
        try:
            link = await self._opener.open()
        except Unavailable:
            return False
        replies: asyncio.Queue[Any] = asyncio.Queue()
        link.replied = replies.put_nowait
        link.write(pack(*self._question))
        try:
            async with asyncio.timeout(self._timeout):
                answer = await replies.get()
                return isinstance(answer, bytes) and self._whole(answer)
        except TimeoutError:
            return False
        finally:
            link.abort()
            await link.closed


def nobody_to_tell() -> None:
    """In place of `deaf` where no callback was given."""
    logger.error("no callback to replace this worker is set")
