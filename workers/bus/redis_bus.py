"""Owns the Redis adapter of the bus: one server, its pipelines and its subscription."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from typing import Any

from chatmaster.settings import Settings
from chatmaster.store.refusals import is_transient
from workers.bus import keys
from workers.bus.batch_pause import CommandSource
from workers.bus.pipeline import PATIENCE, Pipeline
from workers.bus.port import Sink, Unavailable
from workers.bus.publisher import Publisher, Retention
from workers.bus.script import Script, load_own
from workers.bus.server import State, StoreServer, nobody_to_tell
from workers.bus.store_bus import StoreBus
from workers.bus.store_url import Opener
from workers.bus.subscription import Subscription

READS = 16  # reads in one batch: a page may be 256 KiB
REFUSED_AFTER = 1.0  # seconds for which a start waits while the store refuses what will not change by itself


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
        self._opener = Opener(url, timeout=settings.store.timeout, name=settings.master.name)
        self._server = StoreServer(
            self._opener,
            name=settings.master.name,
            publish_probe=self._publish_probe,
            question=("PING",),  # a store that still loads its data takes connections, but refuses this
            whole=lambda answer: answer == b"PONG",
            timeout=settings.store.timeout,
            deaf=on_deaf or nobody_to_tell,
        )
        server, timeout = self._server, settings.store.timeout
        self._commands = Pipeline(
            atomic=True, timeout=timeout, reconnect=server.reconnect_all, refused=server.refused, patience=PATIENCE
        )
        self._reads = Pipeline(
            atomic=False, timeout=timeout, reconnect=server.reconnect_reads, refused=server.refused, batch=READS
        )
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
        self._subscription = Subscription(
            self._name,
            self._opener.database,
            sink,
            probe_channel=self._probe_channel,
            probed=server.stamp_returned,
            reconnect=server.reconnect_subscription,
            refused=server.subscription_refused,
        )
        server.serve(self._commands, self._reads, self._subscription)

    # ---- life --------------------------------------------------------------------------------------

    def start(self) -> None:
        """Connect, and stay connected."""
        self._commands.start()
        self._reads.start()
        self._server.start()

    async def stop(self) -> None:
        """Close the connections; what was not answered gets Unavailable."""
        await self._server.stop()
        self._commands.stop()
        self._reads.stop()
        await self._opener.close()

    async def ready(self, timeout: float) -> None:
        """Wait until a message would come back to us. Raises Unavailable after `timeout` seconds."""
        began = asyncio.get_running_loop().time()
        while self.state != "ready":
            waited = asyncio.get_running_loop().time() - began
            if waited > timeout or (
                waited > REFUSED_AFTER and self._server.refusal and not is_transient(self._server.refusal)
            ):
                raise Unavailable(self.why or "the store did not answer in time")
            await asyncio.sleep(0.01)

    @property
    def state(self) -> State:
        """See the server's."""
        return self._server.state

    @property
    def servers(self) -> list[StoreServer]:
        """The one."""
        return [self._server]

    def descriptors(self) -> list[int]:
        """See the server's."""
        return self._server.descriptors()

    @property
    def publish_failures(self) -> int:
        """Publications that the store refused or did not answer."""
        return self._publisher.failures

    def hold_back(self, source: CommandSource) -> None:
        """Let a source of commands wait while the next batch waits for more."""
        self._commands.pause.sources.append(source)

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

    def follows(self, room: str) -> bool:
        """See the port."""
        return keys.shares_channel(room) and self._subscription.follows_shared

    def subscribe(self, room: str) -> None:
        """See the port."""
        self._subscription.subscribe(room)

    def unsubscribe(self, room: str) -> None:
        """See the port."""
        self._subscription.unsubscribe(room)

    def _publish_probe(self, stamp: bytes) -> None:
        args: list[Any] = [self._probe_channel, stamp]
        self.send(self._probe_script, self._probe_keys, args, self._server.probe_answered, again=True)
