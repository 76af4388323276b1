"""The load: a process with many raw WebSocket connections, told what to do by JSON lines on its standard input.

Started by `loaders.py` as ``python -m tests.bench.load HOST PORT``; answers each command with one JSON line:

* ``open``: more connections, each with its handshake and, where given, a hello; until the 101 or the `welcome`;
* ``settle``: wait until the server has nothing more to say;
* ``send``: keep so many messages in flight, or send so many a second, for a while;
* ``talk``, ``hush``: begin and end to send so many a second;
* ``count``: what came since the last ``reset``;
* ``seen``: what connections that were opened to watch have missed, and their longest silence, since the last ``seen``;
* ``close``: end all connections.

Nothing is parsed: every message carries the time it was sent as ``T=`` and 19 digits, and the reader counts those.
So the load costs less than the server, and measures any server that relays the text.
"""

from __future__ import annotations

import asyncio
import gc
import json
import resource
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

import uvloop

from tests.bench import measure
from tests.bench.load_members import DIGITS, CompressedMember, Member, Opening, compressed_frame, frame
from tests.bench.words import words

_PER_ADDRESS = 10_000  # connections from one source address: a server leaves a quarter of its descriptors to the others


class Load:
    """All connections of this process, and what they do."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.members: dict[int, Member] = {}
        self.failed = self.dropped = self.begun = 0
        self.delivered = self.reads = self.sent = 0
        self.heard = 0  # reads of more than a ping
        self._hushed = False
        self._talking: asyncio.Task[None] | None = None
        self.oldest = 0  # ns, the age of the message that took longest, where members watch
        self.ages: list[int] = []
        self.sample_mask = 0
        self.window = 0
        self.hello = b""
        self.welcome = b'"welcome"'
        self.message = b""
        self.each_room = 0
        self.request = b""
        self.member: type[Member] = Member
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.Future[None] | None = None
        self._senders: list[tuple[asyncio.Transport, list[bytes]]] = []
        self._room_size = 1

    # ---- opening -----------------------------------------------------------------------------------

    async def open(
        self,
        *,
        count: int,
        hello: str = "",
        welcome: str = '"welcome"',
        path: str = "/",
        at_once: int = 128,
        each_room: int = 0,
        compressed: bool = False,
        watching: bool = False,
        first: int = 0,
        timeout: float = 120.0,
    ) -> dict[str, Any]:
        """`hello`: %I becomes the number of the connection, %R that of its room: number / each_room.

        `welcome`: what the answer to it holds.
        """
        self.hello, self.welcome, self.each_room = hello.encode(), welcome.encode(), each_room
        self.member = _kind(compressed=compressed, watching=watching)
        self.request = _request(path, self.host, self.port, compressed=compressed)
        started = time.monotonic()
        begin, settled = self.begun, self._settled()
        while (done := self._settled() - settled) < count and time.monotonic() - started < timeout:
            while self.begun - begin < min(count, done + at_once):
                self._begin(first + self.begun)
                self.begun += 1
            await self._change(0.5)
        return {"opened": len(self.members), "failed": self.failed, "seconds": time.monotonic() - started}

    def _settled(self) -> int:
        return len(self.members) + self.failed

    def _begin(self, index: int) -> None:
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if index >= _PER_ADDRESS:
            sock.bind((f"127.0.0.{1 + index // _PER_ADDRESS}", 0))
        task = asyncio.ensure_future(self._connect(sock, index))
        task.add_done_callback(_ignore)

    async def _connect(self, sock: socket.socket, index: int) -> None:
        try:
            await self._loop.sock_connect(sock, (self.host, self.port))
            await self._loop.create_connection(lambda: Opening(self, index), sock=sock)
        except OSError:
            sock.close()
            self.failed += 1
            self.changed()

    def opened(self, member: Member) -> None:
        self.members[member.index] = member
        self.changed()

    def changed(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def _change(self, timeout: float) -> None:
        self._waiting = self._loop.create_future()
        await asyncio.wait([self._waiting], timeout=timeout)
        self._waiting = None

    # ---- loading -----------------------------------------------------------------------------------

    async def send(
        self,
        *,
        message: str,
        seconds: float,
        senders: int,
        window: int = 0,
        rate: float = 0.0,
        warmup: float = 0.0,
        padding: int = 0,
        drain: float = 20.0,
        cpu_of: int = 0,
        without: tuple[int, ...] = (),
        sample_mask: int = 0,
    ) -> dict[str, Any]:
        """`message`: %T the time (as often as wanted), %P padding, %R the sender's room.

        CPU and deliveries are those between the end of the warm-up and the end of the sending.
        """
        self.message = _padded(message, padding)
        self._choose_senders(senders)
        self._room_size = self.each_room or len(self.members)
        self.sample_mask = sample_mask
        self._reset()
        step = self._pace(rate) if rate else self._keep_full(window)
        await step(warmup)
        reads = self.reads
        before = self.delivered, measure.cpu_seconds(cpu_of, without) if cpu_of else 0.0, time.monotonic()
        own = time.process_time()
        self.ages.clear()
        await step(seconds)
        delivered, reads = self.delivered - before[0], self.reads - reads
        cpu = measure.cpu_seconds(cpu_of, without) - before[1] if cpu_of else 0.0
        elapsed, own = time.monotonic() - before[2], time.process_time() - own
        self.window = 0
        expected = self.sent * self._room_size
        await self._drain(expected, drain)
        figures = {"sent": self.sent, "delivered": self.delivered, "expected": expected, "dropped": self.dropped}
        measured = {"deliveries": delivered, "reads": reads, "seconds": elapsed, "cpu": cpu, "load_cpu": own}
        return {**figures, **measured, **_quantiles(self.ages)}

    async def talk(self, *, message: str, senders: int, rate: float, padding: int = 0) -> dict[str, Any]:
        """Begin to say so many messages a second, until `hush`."""
        self.message = _padded(message, padding)
        self._choose_senders(senders)
        self.sent, self._hushed = 0, False
        self._talking = asyncio.create_task(self._pace(rate)(float("inf")))
        return {}

    async def hush(self) -> dict[str, Any]:
        self._hushed = True
        if self._talking is not None:
            await self._talking
        return {"sent": self.sent}

    def fill_window(self) -> None:
        """Send until `window` messages of those sent have not reached everybody."""
        due = self.window + self.delivered // self._room_size
        now = time.monotonic_ns()
        while self.sent < due:
            now += 1  # ns: what is made of the time is made once
            self._say(now)

    def _keep_full(self, window: int) -> Callable[[float], Any]:
        async def step(seconds: float) -> None:
            self.window = window
            self.fill_window()
            await asyncio.sleep(seconds)

        return step

    def _pace(self, rate: float) -> Callable[[float], Any]:
        """Messages are stamped with the time they are due, so that a load that is late hides nothing."""

        async def step(seconds: float) -> None:
            begin, sent = time.monotonic_ns(), self.sent
            while (now := time.monotonic_ns() - begin) < seconds * 1e9 and not self._hushed:
                while self.sent - sent < now / 1e9 * rate:
                    self._say(begin + int((self.sent - sent) / rate * 1e9))
                due = (self.sent - sent) / rate - (time.monotonic_ns() - begin) / 1e9
                await asyncio.sleep(max(due, 0.0))

        return step

    def _say(self, stamp: int) -> None:
        transport, parts = self._senders[self.sent % len(self._senders)]
        self.sent += 1
        if not transport.is_closing():  # else it was cut, which counts as a connection lost
            data = (b"%019d" % stamp).join(parts)
            transport.write(compressed_frame(data) if self.member is CompressedMember else data)

    def _choose_senders(self, count: int) -> None:
        """The first of each room, or spread over the one room; frames made but for the time."""
        members = [self.members[index] for index in sorted(self.members)]
        stride = self.each_room or max(len(members) // count, 1)
        self._senders = []
        for member in members[::stride][:count]:
            payload = self.filled(self.message, member.index).replace(b"%T", b"0" * DIGITS)
            whole = payload if self.member is CompressedMember else frame(payload)
            self._senders.append((member.transport, whole.split(b"0" * DIGITS)))

    def filled(self, template: bytes, index: int) -> bytes:
        room = index // self.each_room if self.each_room else 0
        return template.replace(b"%I", b"%d" % index).replace(b"%R", b"%d" % room)

    def _reset(self) -> None:
        self.sent = self.delivered = self.reads = 0
        self.ages.clear()

    async def _drain(self, expected: int, seconds: float) -> None:
        end = time.monotonic() + seconds
        while self.delivered < expected and time.monotonic() < end:
            await asyncio.sleep(0.01)

    # ---- the other commands ------------------------------------------------------------------------

    async def settle(self, *, quiet: float = 1.0, timeout: float = 30.0) -> dict[str, Any]:
        """Wait until nothing but pings has come for `quiet` seconds."""
        end = time.monotonic() + timeout
        heard = -1
        while heard != self.heard and time.monotonic() < end:
            heard = self.heard
            await asyncio.sleep(quiet)
        return {"quiet": heard == self.heard}

    async def reset(self, *, sample_mask: int = 0) -> dict[str, Any]:
        self.sample_mask = sample_mask
        self._reset()
        return {}

    async def count(self) -> dict[str, Any]:
        found = {"delivered": self.delivered, "members": len(self.members), "dropped": self.dropped}
        return {**found, "failed": self.failed, **_quantiles(self.ages)}

    async def seen(self) -> dict[str, Any]:
        from tests.bench import watching

        return watching.seen(self)

    async def close(self) -> dict[str, Any]:
        for member in list(self.members.values()):
            member.transport.abort()
        while self.members:
            await self._change(0.5)
        self.dropped = 0
        return {}


def _padded(message: str, padding: int) -> bytes:
    return message.replace("%P", words(padding)).encode()


def _kind(*, compressed: bool, watching: bool) -> type[Member]:
    if watching:
        from tests.bench.watching import WatchingMember

        return WatchingMember
    return CompressedMember if compressed else Member


def _request(path: str, host: str, port: int, *, compressed: bool) -> bytes:
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {host}:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
    ]
    if compressed:
        offer = "permessage-deflate; client_no_context_takeover; server_no_context_takeover"
        lines.append(f"Sec-WebSocket-Extensions: {offer}")
    return "\r\n".join([*lines, "", ""]).encode()


def _quantiles(ages: list[int]) -> dict[str, float]:
    """In ms; nothing where nothing was sampled."""
    if not ages:
        return {}
    ages = sorted(ages)
    at = {"p50_ms": 0.5, "p99_ms": 0.99, "max_ms": 1.0}
    return {name: ages[min(int(len(ages) * part), len(ages) - 1)] / 1e6 for name, part in at.items()}


def _ignore(task: asyncio.Future[None]) -> None:
    if not task.cancelled():
        task.exception()


async def serve(host: str, port: int) -> None:
    """Do what the lines say, until there are no more."""
    load = Load(host, port)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        command = json.loads(line)
        try:
            answer = await getattr(load, command.pop("do"))(**command)
        except Exception as error:  # told to the one who asked, which ends the run
            answer = {"error": repr(error)}
        print(json.dumps(answer), flush=True)


def main() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    gc.disable()  # nothing here makes cycles, and a pause would be taken for the server's
    uvloop.run(serve(sys.argv[1], int(sys.argv[2])))


if __name__ == "__main__":
    main()
