"""Owns how questions and other packages' scripts become commands, for one store and for a cluster of them alike.

An adapter says which of its pipelines takes a command, by the name of the first key or of the channel.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from chatmaster.settings import Settings
from chatmaster.stats import STORE_STATES, STORE_WHY_BYTES, Field, WorkerStats
from workers.bus import keys
from workers.bus.batch_pause import CommandSource
from workers.bus.codec import pack_envelope, pack_note, unpack_page, unpack_placed, unpack_states
from workers.bus.connection import pack, pack_evalsha
from workers.bus.outage_log import Outage
from workers.bus.pipeline import Call, Pipeline
from workers.bus.port import LOSS, BusError, Change, LogState, Page, Placed, Position
from workers.bus.publisher import Retention
from workers.bus.script import Argument, Script, load_own
from workers.bus.server import State, StoreServer
from workers.tasks import answer_of


class StoreBus(ABC):
    """What every adapter of the bus is to a worker. `retention` is a room's history size and ttl."""

    publish: Callable[..., None]  # see the port
    publish_verb = "PUBLISH"

    def __init__(self, settings: Settings, database: int, retention: Retention | None) -> None:
        self._settings = settings
        self._name = settings.master.name
        self._database = database
        self._retention = retention or self._default_retention
        self._seed = secrets.token_hex(4)
        self._read_script = self.script(load_own("read"))
        self._states_script = self.script(load_own("states"))
        self._tops_script = self.script(load_own("tops"))
        self._missing_script = self.script(load_own("missing"))
        self._loss_script = self.script(load_own("loss"))

    def _default_retention(self, room: str) -> tuple[int, int]:
        return self._settings.store.history_size, self._settings.store.history_ttl

    # ---- what an adapter has to have ---------------------------------------------------------------

    @abstractmethod
    def _commands_of(self, name: str) -> Pipeline:
        """The pipeline for commands about a key or channel."""

    @abstractmethod
    def _reads_of(self, name: str) -> Pipeline:
        """The pipeline for questions about a key."""

    @abstractmethod
    def script(self, script: Script) -> Script:
        """Register a script, for commands and questions; use what is returned with `call`."""

    @abstractmethod
    def together(self, rooms: Sequence[str]) -> list[list[str]]:
        """See the port."""

    @abstractmethod
    def split(self, script_keys: Sequence[str]) -> list[list[int]]:
        """The places of keys of many rooms, in groups that one script may take."""

    @abstractmethod
    def hold_back(self, source: CommandSource) -> None:
        """Let a source of commands wait while the next batch waits for more; nothing where batches do not wait."""

    @property
    @abstractmethod
    def losses(self) -> int:
        """Grows where a part of the store may have forgotten what it had taken, and the rest does not know."""

    @abstractmethod
    def start(self) -> None:
        """Connect, and stay connected."""

    @abstractmethod
    async def stop(self) -> None:
        """Close the connections; what was not answered gets Unavailable."""

    @abstractmethod
    async def ready(self, timeout: float) -> None:
        """Wait until a message would come back to us. Raises Unavailable after `timeout` seconds."""

    @property
    @abstractmethod
    def state(self) -> State:
        """`ready`: what is published now would come back; `starting`: nothing has come back yet.

        `refusing`: the store answers, and writes nothing.
        """

    @property
    @abstractmethod
    def servers(self) -> list[StoreServer]:
        """Those that have a part of what is stored."""

    @abstractmethod
    def descriptors(self) -> list[int]:
        """Of the connections that are open now."""

    @property
    @abstractmethod
    def publish_failures(self) -> int:
        """Publications that the store refused or did not answer."""

    @abstractmethod
    def follows(self, room: str) -> bool:
        """See the port."""

    @abstractmethod
    def subscribe(self, room: str) -> None:
        """See the port."""

    @abstractmethod
    def unsubscribe(self, room: str) -> None:
        """See the port."""

    # ---- health ------------------------------------------------------------------------------------

    def _outages(self) -> list[Outage]:
        return [server.outage for server in self.servers]

    @property
    def why(self) -> str:
        """Why it is not ready, in the words of the store or the system; "" where that is not known."""
        return next((outage.why for outage in self._outages() if outage.why), "")

    @property
    def probe_age(self) -> float:
        """Seconds since something published came back, from the server that has been silent for longest.

        Infinite before the first time.
        """
        return max((server.probe.age for server in self.servers), default=float("inf"))

    def copy_to(self, row: WorkerStats) -> None:
        """Write the bus's counters into the worker's row; of several servers the worst value, or the sum."""
        probes = [server.probe for server in self.servers]
        since = [outage.since for outage in self._outages() if outage.since]
        row[Field.STORE_PROBE] = int(min((probe.back_at for probe in probes), default=0.0) * 1e9)
        row[Field.STORE_PROBE_RTT] = int(max((probe.rtt for probe in probes), default=0.0) * 1e9)
        row[Field.STORE_STATE] = STORE_STATES.index(self.state)
        row[Field.STORE_TROUBLE] = int(min(since, default=0.0) * 1e9)
        row.write_text(Field.STORE_WHY, STORE_WHY_BYTES, self.why)
        row[Field.DEAF] = sum(probe.reconnects for probe in probes)
        row[Field.PUBLISH_FAILURES] = self.publish_failures

    # ---- notes -------------------------------------------------------------------------------------

    def publish_note(self, room: str, note: bytes) -> None:
        """See the port."""
        shared = room if keys.shares_channel(room) else ""
        channel = self.channel(room)
        packed = pack(self.publish_verb, channel, pack_note(note, room=shared))
        self._commands_of(channel).send(Call(packed, _ignore, again=True))

    def channel(self, room: str) -> str:
        """Where what happens in a room is published."""
        return keys.channel(self._name, self._database, room)

    @property
    def database(self) -> int:
        """The number of the store's database."""
        return self._database

    # ---- reading -----------------------------------------------------------------------------------

    async def read(self, room: str, *, after: int, limit: int, max_bytes: int, messages_only: bool = False) -> Page:
        """See the port."""
        return unpack_page(await self._read(room, "after", after, limit, max_bytes, changes=not messages_only))

    async def read_before(self, room: str, *, before: int, limit: int, max_bytes: int) -> Page:
        """See the port."""
        return unpack_page(await self._read(room, "before", before, limit, max_bytes, changes=False), backward=True)

    def states(self, rooms: list[str], done: Callable[[list[LogState] | BusError], None]) -> None:
        """See the port."""

        def answered(reply: Any) -> None:
            done(reply if isinstance(reply, BusError) else unpack_states(reply))

        own = keys.of_logs(self._name, rooms)
        ttls = [self._retention(room)[1] for room in rooms]
        self._send_read(self._states_script, own, [self._seed, *ttls], answered)

    def compare(self, known: list[tuple[str, Position]], done: Callable[[list[str] | BusError], None]) -> None:
        """See the port."""

        def answered(reply: Any) -> None:
            done(reply if isinstance(reply, BusError) else [known[number - 1][0] for number in reply])

        own, args = [], list[Argument]()
        for room, position in known:
            own.append(keys.of_log(self._name, room)[0])
            args += (f"{position.epoch} {position.offset}", self._retention(room)[1])
        self._send_read(self._tops_script, own, args, answered)

    # ---- what a failover took ------------------------------------------------------------------------

    def missing(self, acked: list[tuple[str, Position]], done: Callable[[list[int] | BusError], None]) -> None:
        """See the port. Asked in the order of the commands: of the store that takes what is published now."""

        def answered(reply: Any) -> None:
            done(reply if isinstance(reply, BusError) else [number - 1 for number in reply])

        own = [keys.of_log(self._name, room)[0] for room, _ in acked]
        args: list[Argument] = [part for _, position in acked for part in (position.epoch, position.offset)]
        self.send(self._missing_script, own, args, answered, again=True)

    def note_loss(
        self, room: str, acked: Position, *, age: float, done: Callable[[Placed | BusError | None], None]
    ) -> None:
        """See the port."""

        def answered(reply: Any) -> None:
            done(reply if reply is None or isinstance(reply, BusError) else unpack_placed(reply))

        shared = room if keys.shares_channel(room) else ""
        payload = msgspec.json.encode({"room": room, "lost": acked.epoch, "age": age})
        envelope = pack_envelope(payload, form="j", change=Change(LOSS, 0), room=shared)
        args: list[Argument] = [self.channel(room), self._seed, *self._retention(room), self._settings.limits.key_ttl]
        args += (envelope, acked.epoch, acked.offset, int(age * 1000))
        self.send(self._loss_script, keys.of_log(self._name, room), args, answered, again=True)

    def _send_read(self, script: Script, own: list[str], args: Sequence[Argument], done: Callable[[Any], None]) -> None:
        self._reads_of(own[0]).send(Call(pack_evalsha(script.sha, own, args), done, again=True))

    def _read(
        self, room: str, direction: str, edge: int, limit: int, max_bytes: int, *, changes: bool
    ) -> Awaitable[Any]:
        own = keys.of_log(self._name, room)
        _, ttl = self._retention(room)
        args: list[Argument] = [self._seed, ttl, direction, edge, limit, max_bytes, int(changes)]
        return self.call_read(self._read_script, own, args)

    # ---- other modules' scripts --------------------------------------------------------------------

    def send(
        self,
        script: Script,
        script_keys: Sequence[str],
        args: Sequence[Argument],
        done: Callable[[Any], None],
        *,
        again: bool,
    ) -> None:
        """Run a script in the order of the commands; `done` gets the reply or a BusError.

        `again` says that running it twice does no harm.
        """
        pipeline = self._commands_of(script_keys[0])
        pipeline.send(Call(pack_evalsha(script.sha, script_keys, args), done, again=again))

    async def call(self, script: Script, script_keys: Sequence[str], args: Sequence[Argument], *, again: bool) -> Any:
        """`send` for coroutines. Raises BusError."""
        packed = pack_evalsha(script.sha, script_keys, args)
        return await _awaited(self._commands_of(script_keys[0]), packed, again=again)

    def call_read(self, script: Script, script_keys: Sequence[str], args: Sequence[Argument]) -> Awaitable[Any]:
        """Run a script that only reads, or that may run twice, beside the commands. Raises BusError."""
        return _awaited(self._reads_of(script_keys[0]), pack_evalsha(script.sha, script_keys, args), again=True)


def _awaited(pipeline: Pipeline, packed: bytes, *, again: bool) -> Awaitable[Any]:
    return answer_of(lambda done: pipeline.send(Call(packed, done, again=again)))


def _ignore(reply: Any) -> None:
    """Ignore the reply to a note, which may be lost."""
