"""Owns the Redis adapter of the bus: the three connections, the scripts, and how a call becomes a command.

Commands (publications, notes, other modules' scripts), reads and the subscription each have a connection, so that a
page of history never delays an ack, and a burst of messages neither.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal

from chatmaster.settings import Settings
from chatmaster.stats import Field, WorkerStats
from workers.bus import keys
from workers.bus.envelope import VERBS, pack_envelope, unpack_page, unpack_placed, unpack_state
from workers.bus.lifeline import Lifeline
from workers.bus.link import Link
from workers.bus.opening import Opener
from workers.bus.packing import Argument, bulk, pack, pack_evalsha
from workers.bus.pipeline import Command, Pipeline
from workers.bus.port import BusError, Change, LogState, Page, Placed, Sink, Unavailable
from workers.bus.probe import DEAF_AFTER, Probe
from workers.bus.script import Script, load_own
from workers.bus.subscription import Subscription

logger = logging.getLogger(__name__)

READS = 16  # reads in one batch: a page may be 256 KiB
CACHED_ROOMS = 20_000
State = Literal["starting", "ready", "away"]
Retention = Callable[[str], tuple[int, int]]  # room → history size in entries, history ttl in seconds


class RedisBus:
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
        self._settings = settings
        self._name = settings.master.name
        self._retention = retention or self._default_retention
        self._seed = secrets.token_hex(4)
        self._publish_script, self._amend_script = load_own("publish"), load_own("amend")
        self._read_script = load_own("read")
        self._probe_script = load_own("probe")
        self._prefixes: dict[str, tuple[bytes, bytes, bytes]] = {}
        self._key_ttl = str(settings.limits.key_ttl).encode()
        self.deaf_count = 0
        self.publish_failures = 0
        self._on_deaf = on_deaf or _nobody_to_tell

        timeout = settings.store.timeout
        self._opener = Opener(url, timeout=timeout, client_name=f"chatmaster-{self._name}")
        self._commands = Pipeline(atomic=True, timeout=timeout, reconnect=self._reconnect_all)
        self._reads = Pipeline(atomic=False, timeout=timeout, reconnect=self._reconnect_reads, batch=READS)
        self._probe_channel = f"{self._name}:!probe:{secrets.token_hex(8)}".encode()
        self._probe = Probe(
            publish=self._publish_probe,
            reconnect=self._reconnect_all,
            store_answers=self._store_answers,
            deaf=self._deaf,
        )
        self._subscription = Subscription(
            self._name,
            sink,
            probe_channel=self._probe_channel,
            probed=self._probe.returned,
            reconnect=self._reconnect_subscription,
        )
        for script in (self._publish_script, self._amend_script, self._probe_script):
            self._commands.register(script)
        self._reads.register(self._read_script)
        self._lines = (
            Lifeline("command", self._opener, up=self._commands_up, down=self._commands.down),
            Lifeline("reading", self._opener, up=self._reads.up, down=self._reads.down),
            Lifeline("subscription", self._opener, up=self._subscription_up, down=self._subscription.down),
        )

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

    async def ready(self, timeout: float) -> None:
        """Wait until a message would come back to us. Raises Unavailable after `timeout` seconds."""
        deadline = asyncio.get_running_loop().time() + timeout
        while self.state != "ready":
            if asyncio.get_running_loop().time() > deadline:
                raise Unavailable("the store did not answer in time")
            await asyncio.sleep(0.01)

    @property
    def state(self) -> State:
        """`ready`: what is published now would come back; `starting`: nothing has come back yet."""
        if not self._probe.back_at:
            return "starting"
        connected = self._commands.usable and self._subscription.usable
        return "ready" if connected and self._probe.age < DEAF_AFTER else "away"

    @property
    def probe_age(self) -> float:
        """Seconds since something published came back; infinite before the first time."""
        return self._probe.age

    @property
    def probe_rtt(self) -> float:
        """Seconds that the last probe took."""
        return self._probe.rtt

    def copy_to(self, row: WorkerStats) -> None:
        """Write the bus's counters into the worker's row."""
        row[Field.STORE_PROBE] = int(self._probe.back_at * 1e9)
        row[Field.STORE_PROBE_RTT] = int(self._probe.rtt * 1e9)
        row[Field.STORE_STATE] = ("starting", "ready", "away").index(self.state)
        row[Field.DEAF] = self._probe.reconnects
        row[Field.PUBLISH_FAILURES] = self.publish_failures

    # ---- publishing --------------------------------------------------------------------------------

    def publish(
        self,
        room: str,
        payload: bytes,
        *,
        form: str,
        done: Callable[[Placed | BusError], None],
        author: str = "",
        key: str = "",
        digest: bytes | None = None,
        exclude: str = "",
        change: Change | None = None,
        any_author: bool = False,
    ) -> None:
        """See the port."""
        plain, keyed, middle = self._prefixes.get(room) or self._prefix(room)
        envelope = pack_envelope(payload, form=form, author=author, key=key, exclude=exclude, change=change)
        if change is not None:
            writer = "" if any_author else author
            packed = self._pack_amend(room, envelope, payload, author, writer, key, digest, change)
        elif key:
            entry = keys.key_entry(keys.tag(self._name, room), user=author, room=room, key=key)
            content = keys.digest(payload if digest is None else digest)
            packed = b"".join((keyed, bulk(entry), middle, bulk(envelope), bulk(content), bulk(self._key_ttl)))
        else:
            packed = b"%b%b$%d\r\n%b\r\n" % (plain, middle, len(envelope), envelope)
        self._commands.send(Publish(packed, done, again=bool(key), bus=self))

    def _pack_amend(
        self,
        room: str,
        envelope: bytes,
        payload: bytes,
        author: str,
        writer: str,
        key: str,
        digest: bytes | None,
        change: Change,
    ) -> bytes:
        base = keys.tag(self._name, room)
        size, ttl = self._retention(room)
        names: list[str] = [f"{base}:{part}" for part in ("meta", "log", "overlay")]
        idempotency: tuple[bytes, bytes] = b"", b""
        if key:
            names.append(keys.key_entry(base, user=author, room=room, key=key).decode())
            idempotency = keys.digest(payload if digest is None else digest), self._key_ttl
        slot = f"{author} {change.emoji}"
        args = (base, self._seed, size, ttl, envelope, *idempotency, VERBS[change.verb], change.target, writer, slot)
        return pack_evalsha(self._amend_script.sha, names, (*args, payload))

    def _prefix(self, room: str) -> tuple[bytes, bytes, bytes]:
        """What is the same in every EVALSHA for a room: up to the keys without one of its own, with one, and after."""
        base = keys.tag(self._name, room)
        size, ttl = self._retention(room)
        sha = bulk(self._publish_script.sha.encode())
        own = b"".join(bulk(f"{base}:{part}".encode()) for part in ("meta", "log", "overlay"))
        plain = b"*11\r\n$7\r\nEVALSHA\r\n" + sha + bulk(b"3") + own
        keyed = b"*14\r\n$7\r\nEVALSHA\r\n" + sha + bulk(b"4") + own
        rest = (base, self._seed, str(size), str(ttl))
        found = plain, keyed, b"".join(bulk(one.encode()) for one in rest)
        if len(self._prefixes) >= CACHED_ROOMS:
            self._prefixes.clear()
        self._prefixes[room] = found
        return found

    def _default_retention(self, room: str) -> tuple[int, int]:
        return self._settings.store.history_size, self._settings.store.history_ttl

    def publish_note(self, room: str, note: bytes) -> None:
        """See the port."""
        channel = keys.tag(self._name, room).encode()
        packed = pack(b"PUBLISH", channel, b"n" + note)
        self._commands.send(Command(packed, _ignore, again=True))

    # ---- subscribing -------------------------------------------------------------------------------

    def subscribe(self, room: str) -> None:
        """See the port."""
        self._subscription.subscribe(room)

    def unsubscribe(self, room: str) -> None:
        """See the port."""
        self._subscription.unsubscribe(room)

    # ---- reading -----------------------------------------------------------------------------------

    async def read(self, room: str, *, after: int, limit: int, max_bytes: int) -> Page:
        """See the port."""
        return unpack_page(await self._read(room, "after", after, limit, max_bytes))

    async def read_before(self, room: str, *, before: int, limit: int, max_bytes: int) -> Page:
        """See the port."""
        return unpack_page(await self._read(room, "before", before, limit, max_bytes), backward=True)

    async def states(self, rooms: list[str]) -> list[LogState]:
        """See the port."""
        answers = await asyncio.gather(*(self._read(room, "after", 0, 0, 0) for room in rooms))
        return [unpack_state(answer) for answer in answers]

    def _read(self, room: str, direction: str, edge: int, limit: int, max_bytes: int) -> Awaitable[Any]:
        base = keys.tag(self._name, room)
        _, ttl = self._retention(room)
        own = [f"{base}:meta", f"{base}:log", f"{base}:overlay"]
        return self.call_read(self._read_script, own, [self._seed, ttl, direction, edge, limit, max_bytes])

    # ---- other modules' scripts --------------------------------------------------------------------

    def script(self, script: Script) -> Script:
        """Register a script, for both connections; use what is returned with `call`."""
        self._commands.register(script)
        self._reads.register(script)
        return script

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
        self._commands.send(Command(pack_evalsha(script.sha, script_keys, args), done, again=again))

    async def call(self, script: Script, script_keys: Sequence[str], args: Sequence[Argument], *, again: bool) -> Any:
        """`send` for coroutines. Raises BusError."""
        return await self._awaited(self._commands, pack_evalsha(script.sha, script_keys, args), again=again)

    def call_read(self, script: Script, script_keys: Sequence[str], args: Sequence[Argument]) -> Awaitable[Any]:
        """Run a script that only reads, or that may run twice, beside the commands. Raises BusError."""
        return self._awaited(self._reads, pack_evalsha(script.sha, script_keys, args), again=True)

    def _awaited(self, pipeline: Pipeline, packed: bytes, *, again: bool) -> asyncio.Future[Any]:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def done(reply: Any) -> None:
            if answer.done():
                return
            if isinstance(reply, BusError):
                answer.set_exception(reply)
            else:
                answer.set_result(reply)

        pipeline.send(Command(packed, done, again=again))
        return answer

    # ---- connections -------------------------------------------------------------------------------

    def _commands_up(self, link: Link) -> None:
        self._reads_follow()
        self._commands.up(link)
        if self._subscription.usable:
            self._probe.send()

    def _subscription_up(self, link: Link) -> None:
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
        self.send(self._probe_script, [], [self._probe_channel, stamp], _ignore, again=True)

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

    def _deaf(self) -> None:
        self._on_deaf()


class Publish(Command):
    """A publication: its answer is a place in the log."""

    __slots__ = ("_bus",)

    def __init__(self, packed: bytes, done: Callable[[Placed | BusError], None], *, again: bool, bus: RedisBus) -> None:
        self.packed = packed
        self.done = done
        self.again = again
        self.deadline = 0.0
        self._bus = bus

    def answered(self, reply: Any) -> None:
        self.done(unpack_placed(reply))

    def failed(self, error: BusError) -> None:
        self._bus.publish_failures += 1
        self.done(error)


def _ignore(reply: Any) -> None:
    """Lost is lost: a note, or a probe whose absence says enough."""


def _nobody_to_tell() -> None:
    logger.error("nobody replaces this worker")
