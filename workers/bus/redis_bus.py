"""Owns the Redis adapter of the bus: the three connections, the scripts, and how a call becomes a command.

Commands (publications, notes, other modules' scripts), reads and the subscription each have a connection, so that a
page of history never delays an ack, and a burst of messages neither.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence
from typing import Any

from chatmaster.settings import Settings
from chatmaster.stats import STORE_STATES, STORE_WHY_BYTES, Field, WorkerStats
from chatmaster.store.refusals import explained, is_transient
from workers.bus import keys
from workers.bus.connection import StoreConnection, pack
from workers.bus.health import DEAF_AFTER, HealthProbe
from workers.bus.outage_log import Outage
from workers.bus.pipeline import BATCH, PATIENCE, Pipeline
from workers.bus.port import BusError, Sink, StoreRefused, Unavailable
from workers.bus.publisher import Publisher, Retention
from workers.bus.reconnect import Reconnector
from workers.bus.script import Script, load_own
from workers.bus.store_bus import State, StoreBus
from workers.bus.store_url import Opener
from workers.bus.subscription import Subscription

logger = logging.getLogger(__name__)

READS = 16  # reads in one batch: a page may be 256 KiB
REFUSED_AFTER = 1.0  # seconds for which a start waits while the store refuses what will not change by itself
# What a worker wants of the store: the three connections, and that it writes.
FOR_COMMANDS, FOR_READING, FOR_PUBLISHED = "for commands", "for reading", "for what is published"
FOR_WRITING = "for writing"


class RedisBus(StoreBus):
    """The bus over Redis 6.2 or later, or Valkey. Made inside the running loop.

    `retention` gives a room's history size and ttl where they differ from the settings; `on_deaf` is called when only
    a new process can help.
    """

    def __init__(
        self,
        url: str,
        settings: Settings,
        sink: Sink,
        *,
        retention: Retention | None = None,
        on_deaf: Callable[[], None] | None = None,
    ) -> None:
        self._refusal = ""  # the store's words when it last refused everything
        self._opener = Opener(url, timeout=settings.store.timeout, name=settings.master.name)
        self._outage = Outage()
        timeout = settings.store.timeout
        self._commands = self._pipeline(self._reconnect_all, timeout, atomic=True, patience=PATIENCE)
        self._reads = self._pipeline(self._reconnect_reads, timeout, atomic=False, batch=READS)
        super().__init__(settings, self._opener.database, retention)
        self._publisher = Publisher(
            self._commands,
            sink,
            name=self._name,
            database=self._opener.database,
            seed=self._seed,
            retention=self._retention,
            key_ttl=settings.limits.key_ttl,
        )
        self.publish = self._publisher.publish  # see the port
        self._probe_script = self._commands.register(load_own("probe"))
        self._probe_keys = keys.probe(self._name)
        self._probe_channel = keys.probe_channel(self._name, self._opener.database, secrets.token_hex(8)).encode()
        self._probe = HealthProbe(
            publish=self._publish_probe,
            reconnect=self._reconnect_all,
            store_answers=self._store_answers,
            deaf=on_deaf or _nobody_to_tell,
        )
        self._subscription = self._make_subscription(sink)
        self._lines = (
            self._reconnector(FOR_COMMANDS, up=self._commands_up, down=self._commands.down),
            self._reconnector(FOR_READING, up=self._reads.up, down=self._reads.down),
            self._reconnector(FOR_PUBLISHED, up=self._subscription_up, down=self._subscription.down),
        )

    def _pipeline(
        self,
        reconnect: Callable[[], None],
        timeout: float,
        *,
        atomic: bool,
        batch: int = BATCH,
        patience: float = 0.0,
    ) -> Pipeline:
        return Pipeline(
            atomic=atomic,
            timeout=timeout,
            reconnect=reconnect,
            refused=self._takes_nothing,
            batch=batch,
            patience=patience,
        )

    def _make_subscription(self, sink: Sink) -> Subscription:
        return Subscription(
            self._name,
            self._opener.database,
            sink,
            probe_channel=self._probe_channel,
            probed=self._probe.returned,
            reconnect=self._reconnect_subscription,
            refused=self._takes_nothing,
        )

    def _reconnector(
        self, what: str, *, up: Callable[[StoreConnection], None], down: Callable[[], None]
    ) -> Reconnector:
        return Reconnector(what, self._opener, self._outage, up=up, down=down)

    # ---- life --------------------------------------------------------------------------------------

    def start(self) -> None:
        """Connect, and stay connected."""
        self._commands.start()
        self._reads.start()
        for line in self._lines:
            line.start()
        self._probe.start()

    async def stop(self) -> None:
        """Close the connections; what was not answered gets Unavailable."""
        await self._probe.stop()
        for line in self._lines:
            await line.stop()
        self._commands.stop()
        self._reads.stop()
        await self._opener.close()

    def descriptors(self) -> list[int]:
        """Of the connections that are open now."""
        links = [line.link for line in self._lines if line.link is not None]
        sockets = [link.transport.get_extra_info("socket") for link in links]
        return [sock.fileno() for sock in sockets if sock is not None]

    async def ready(self, timeout: float) -> None:
        """Wait until a message would come back to us. Raises Unavailable after `timeout` seconds."""
        began = asyncio.get_running_loop().time()
        while self.state != "ready":
            waited = asyncio.get_running_loop().time() - began
            if waited > timeout or (waited > REFUSED_AFTER and self._refusal and not is_transient(self._refusal)):
                raise Unavailable(self.why or "the store did not answer in time")
            await asyncio.sleep(0.01)

    @property
    def state(self) -> State:
        """`ready`: what is published now would come back; `starting`: nothing has come back yet.

        `refusing`: the store answers, and writes nothing.
        """
        if self._probe.refusal:
            return "refusing"
        if not self._probe.back_at:
            return "starting"
        connected = self._commands.usable and self._subscription.usable
        return "ready" if connected and self._probe.age < DEAF_AFTER else "away"

    @property
    def why(self) -> str:
        """Why it is not ready, in the words of the store or the system; "" where that is not known."""
        return self._outage.why

    @property
    def probe_age(self) -> float:
        """Seconds since something published came back; infinite before the first time."""
        return self._probe.age

    @property
    def publish_failures(self) -> int:
        """Publications that the store refused or did not answer."""
        return self._publisher.failures

    def copy_to(self, row: WorkerStats) -> None:
        """Write the bus's counters into the worker's row."""
        row[Field.STORE_PROBE] = int(self._probe.back_at * 1e9)
        row[Field.STORE_PROBE_RTT] = int(self._probe.rtt * 1e9)
        row[Field.STORE_STATE] = STORE_STATES.index(self.state)
        row[Field.STORE_TROUBLE] = int((self._outage.since or 0.0) * 1e9)
        row.write_text(Field.STORE_WHY, STORE_WHY_BYTES, self.why)
        row[Field.DEAF] = self._probe.reconnects
        row[Field.PUBLISH_FAILURES] = self.publish_failures

    # ---- where commands go; one store takes all --------------------------------------------------------

    def _commands_of(self, name: str) -> Pipeline:
        return self._commands

    def _reads_of(self, name: str) -> Pipeline:
        return self._reads

    def script(self, script: Script) -> Script:
        """Register a script, for both connections; use what is returned with `call`."""
        self._commands.register(script)
        self._reads.register(script)
        return script

    def together(self, rooms: Sequence[str]) -> list[list[str]]:
        """See the port."""
        return [list(rooms)]

    def split(self, script_keys: Sequence[str]) -> list[list[int]]:
        """One script may take all."""
        return [list(range(len(script_keys)))] if script_keys else []

    @property
    def losses(self) -> int:
        """One store says of itself when it has forgotten something: by its reign."""
        return 0

    # ---- subscribing -------------------------------------------------------------------------------

    def subscribe(self, room: str) -> None:
        """See the port."""
        self._subscription.subscribe(room)

    def unsubscribe(self, room: str) -> None:
        """See the port."""
        self._subscription.unsubscribe(room)

    # ---- connections -------------------------------------------------------------------------------

    def _commands_up(self, link: StoreConnection) -> None:
        self._reads_follow()
        self._commands.up(link)
        if self._subscription.usable:
            self._probe.send()

    def _subscription_up(self, link: StoreConnection) -> None:
        self._reads_follow()
        self._subscription.up(link)
        self._probe.send()

    def _reads_follow(self) -> None:
        """What is read must not come from a store that was deposed: the probe does not pass through that connection."""
        if self._probe.back_at:  # else this is the beginning, and all three are being opened
            self._reconnect_reads()

    def _reconnect_all(self) -> None:
        for line in self._lines:
            line.reconnect()

    def _reconnect_reads(self) -> None:
        self._lines[1].reconnect()

    def _reconnect_subscription(self) -> None:
        self._lines[2].reconnect()

    # ---- the probe ---------------------------------------------------------------------------------

    def _publish_probe(self, stamp: bytes) -> None:
        self.send(self._probe_script, self._probe_keys, [self._probe_channel, stamp], self._probe_answered, again=True)

    def _probe_answered(self, reply: Any) -> None:
        if isinstance(reply, StoreRefused):
            self._probe.refused(str(reply))
            self._refusal = str(reply)
            why = f"the store writes nothing: {explained(self._refusal, self._name)}"
            self._outage.failed(FOR_WRITING, StoreRefused(why))
        elif not isinstance(reply, BusError):
            self._probe.taken()
            self._outage.over(FOR_WRITING)

    def _takes_nothing(self, words: str) -> None:
        """The store refuses whatever comes by one of the connections."""
        self._refusal = words
        self._outage.refused(explained(words, self._name))

    async def _store_answers(self) -> bool:
        try:
            link = await self._opener.open()
        except Unavailable:
            return False
        replies: asyncio.Queue[Any] = asyncio.Queue()
        link.replied = replies.put_nowait
        link.write(pack("PING"))  # a store that still loads its data takes connections, but refuses this
        try:
            async with asyncio.timeout(self._settings.store.timeout):
                return bool(await replies.get() == b"PONG")
        except TimeoutError:
            return False
        finally:
            link.abort()
            await link.closed


def _ignore(reply: Any) -> None:
    """Ignore the reply to a note, which may be lost, or to a probe, whose absence is noticed elsewhere."""


def _nobody_to_tell() -> None:
    logger.error("no callback to replace this worker is set")
