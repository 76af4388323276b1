"""`chatctl bench`: puts a small load on the running chat and shows the figures.

The connections join a room with a random name. In the first half one message at a time is in flight, in the second
half several, always within `limits.rate` of each connection. The load is a Python process on the server's machine: it
checks an installation and does not compare servers. The same load is put on a process that only writes
(`bench_floor.py`), since what a write costs differs from machine to machine.
"""

from __future__ import annotations

import asyncio
import secrets
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from chatmaster import addresses
from chatmaster.cli import bench_program
from chatmaster.cli.bench_client import (
    OPEN_TIMEOUT,
    BenchPeer,
    ConnectRefused,
    NotTheChat,
    cpu_seconds,
    open_all,
    quantile,
)
from chatmaster.cli.instance import Instance, command
from chatmaster.cli.tables import milliseconds, number
from chatmaster.errors import ChatmasterError, UsageError
from chatmaster.plural import counted

QUIET: Final = 1.0  # seconds for presence to settle before the measurement
DRAIN_TIMEOUT: Final = 5.0  # seconds for the last messages to arrive
OF_RATE: Final = 0.9  # the share of limits.rate that is used, since clocks differ


@dataclass
class BenchPhase:
    """The measurement of one phase, with a fixed number of messages in flight."""

    in_flight: int
    seconds: float = 0.0
    said: int = 0
    deliveries: int = 0
    cpu: float = 0.0  # seconds of master and workers
    ages: list[int] = field(default_factory=list)  # ns
    held_back: bool = False  # by limits.rate

    def row(self) -> dict[str, Any]:
        ages = sorted(self.ages)
        return {
            "in_flight": self.in_flight,
            "messages_per_s": round(self.said / self.seconds, 1),
            "deliveries_per_s": round(self.deliveries / self.seconds, 1),
            "p50_ms": quantile(ages, 0.5),
            "p99_ms": quantile(ages, 0.99),
            "cpu_us_per_delivery": round(self.cpu * 1e6 / self.deliveries, 2) if self.deliveries else None,
            "held_back_by_rate": self.held_back,
        }


class Bench:
    """One run: the connections and the messages between them."""

    def __init__(self, address: addresses.Address, pids: Sequence[int], *, token: str) -> None:
        self.room = f"bench-{secrets.token_hex(4)}"
        self.peers: list[BenchPeer] = []
        self.said = self.delivered = self.refused = 0
        self.rate = 0.0  # messages a second for each connection; 0: no limit
        self._address = address
        self._pids = pids
        self._token = token
        self._phase = BenchPhase(0)
        self._arrived = asyncio.Event()
        self._waiting: dict[bytes, int] = {}  # message → connections that have not received it
        self._number = 0
        self._turn = 0
        self._allowances: list[tuple[float, float]] = []  # for each connection: tokens, and the time of that count

    # ---- opening -----------------------------------------------------------------------------------

    async def open(self, count: int) -> float:
        """Connect, say hello and join. Returns the seconds this took. Raises ChatmasterError."""
        started = time.monotonic()
        try:
            self.peers = await open_all(count, lambda: BenchPeer.open(self._address, self.room, self._token, self))
        except TimeoutError:
            raise ChatmasterError(
                f"not all connections got a `welcome` within {OPEN_TIMEOUT:g} s: the server is overloaded or hangs"
            ) from None
        except ConnectRefused as refused:
            raise _explained(refused) from None
        except OSError as error:
            raise ChatmasterError(f"{self._address.text}: {error}") from None
        seconds = time.monotonic() - started
        limits = self.peers[0].welcome.get("limits", {})
        self.rate = float(limits.get("rate", 0.0)) * OF_RATE
        now = time.monotonic()
        self._allowances = [(float(limits.get("burst", 1)) / 2, now)] * count
        return seconds

    def close(self) -> None:
        """End all connections."""
        for peer in self.peers:
            peer.close()

    # ---- saying ------------------------------------------------------------------------------------

    async def run(self, in_flight: int, seconds: float) -> BenchPhase:
        """Keep `in_flight` messages in flight for `seconds`."""
        phase = self._phase = BenchPhase(in_flight)
        said, delivered = self.said, self.delivered
        cpu, started = cpu_seconds(self._pids), time.monotonic()
        while (left := started + seconds - time.monotonic()) > 0:
            pause = left
            while len(self._waiting) < in_flight:
                wait = self._say()
                if wait:
                    phase.held_back = True
                    pause = min(wait, left)
                    break
            await self._arrival(pause)
        phase.seconds = time.monotonic() - started
        phase.cpu = cpu_seconds(self._pids) - cpu
        phase.said, phase.deliveries = self.said - said, self.delivered - delivered
        await self.drain()
        return phase

    async def drain(self) -> None:
        """Wait until every connection has received every message, for at most DRAIN_TIMEOUT seconds."""
        end = time.monotonic() + DRAIN_TIMEOUT
        while self._waiting and time.monotonic() < end:
            await self._arrival(end - time.monotonic())

    async def _arrival(self, timeout: float) -> None:
        self._arrived.clear()
        try:
            await asyncio.wait_for(self._arrived.wait(), timeout)
        except TimeoutError:
            return

    def _say(self) -> float:
        """Send a message from the next connection that has a token. Returns 0, or the seconds until the next token."""
        soonest = 60.0
        for _ in range(len(self.peers)):
            self._turn = (self._turn + 1) % len(self.peers)
            wait = self._take(self._turn)
            if not wait:
                self._number += 1
                mark = b"%019d-%d" % (time.monotonic_ns(), self._number)
                self._waiting[mark] = len(self.peers)
                self.said += 1
                self.peers[self._turn].say(mark)
                return 0.0
            soonest = min(soonest, wait)
        return soonest

    def _take(self, place: int) -> float:
        """Take a token of one connection. Returns 0, or the seconds until the next token.

        The tokens mirror `limits.rate`, so that the server refuses nothing.
        """
        if not self.rate:
            return 0.0
        tokens, at = self._allowances[place]
        now = time.monotonic()
        tokens = min(tokens + (now - at) * self.rate, self.rate)
        self._allowances[place] = (tokens - 1 if tokens >= 1 else tokens, now)
        return 0.0 if tokens >= 1 else (1 - tokens) / self.rate

    # ---- what the connections receive --------------------------------------------------------------

    def on_message(self, mark: bytes) -> None:
        """A message reached one connection."""
        self.delivered += 1
        self._phase.ages.append(time.monotonic_ns() - int(mark.partition(b"-")[0]))
        left = self._waiting.get(mark, 0) - 1
        if left > 0:
            self._waiting[mark] = left
        else:
            self._waiting.pop(mark, None)
            self._arrived.set()

    def on_refused(self, mark: bytes) -> None:
        """The server refused a message, which reaches nobody."""
        self.refused += 1
        self._waiting.pop(mark, None)
        self._arrived.set()


def _explained(refused: ConnectRefused) -> ChatmasterError:
    if refused.code in ("unauthorized", "4001"):
        return UsageError(f"the server requires a token: give --token ({refused})")
    return ChatmasterError(f"the server refused a connection: {refused}")


# ---- the command ---------------------------------------------------------------------------------------


def run(
    instance: Instance, *, connections: int, seconds: float, in_flight: int, token: str, text: str
) -> dict[str, Any]:
    """Run the load and return its figures. A program that is not the chat gets `text`. Raises ChatmasterError."""
    status = instance.call("status")
    address = _address(status["master"]["listen"])
    if not token and instance.load().settings.auth.mode == "token":
        raise UsageError(f"auth.mode is token: give --token with a token of `{command()} token USER`")
    pids = [status["master"]["pid"], *(row["pid"] for row in status["workers"] if row["pid"])]
    try:
        return asyncio.run(_measure(Bench(address, pids, token=token), connections, seconds, in_flight))
    except NotTheChat:
        load = bench_program.measure(
            address, pids, connections=connections, seconds=seconds, in_flight=in_flight, text=text
        )
        return asyncio.run(load)


async def _measure(bench: Bench, connections: int, seconds: float, in_flight: int) -> dict[str, Any]:
    try:
        opening = await bench.open(connections)
        await asyncio.sleep(QUIET)
        phases = [await bench.run(window, seconds / 2) for window in (1, in_flight)]
    finally:
        bench.close()
    floor = await _measure_floor(bench, connections, seconds, in_flight)
    expected = (bench.said - bench.refused) * connections
    return {
        "address": bench.peers[0].address.text,
        "room": bench.room,
        "connections": connections,
        "connects_per_s": round(connections / opening, 1),
        "rate_limit": round(bench.rate / OF_RATE, 3),
        "phases": [_row(*both) for both in zip(phases, floor, strict=True)],
        "expected": expected,
        "missing": expected - bench.delivered,
        "refused": bench.refused,
        "lost_connections": sum(peer.lost for peer in bench.peers),
    }


async def _measure_floor(ours: Bench, connections: int, seconds: float, in_flight: int) -> list[BenchPhase]:
    """The same load on a process that does nothing but write, at the rate that ours may have."""
    command = [sys.executable, "-P", "-m", "chatmaster.cli.bench_floor", "0"]
    process = await asyncio.create_subprocess_exec(*command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        port = int(await asyncio.wait_for(process.stdout.readline(), OPEN_TIMEOUT))
        floor = Bench(addresses.parse(f"ws://127.0.0.1:{port}"), [process.pid], token="")
        try:
            await floor.open(connections)
            floor.rate = ours.rate
            return [await floor.run(window, seconds / 2) for window in (1, in_flight)]
        finally:
            floor.close()
    finally:
        process.terminate()
        await process.wait()


def _row(ours: BenchPhase, floor: BenchPhase) -> dict[str, Any]:
    """A phase, and what the floor took for a delivery of the same."""
    row, least = ours.row(), floor.row()["cpu_us_per_delivery"]
    own = row["cpu_us_per_delivery"]
    return {
        **row,
        "floor_cpu_us_per_delivery": least,
        "of_the_floor": round(own / least, 2) if own and least else None,
    }


def _address(listen: Sequence[str]) -> addresses.Address:
    """The first address without TLS; ws:// before unix:."""
    known = [addresses.parse(text) for text in listen]
    plain = [one for one in known if not one.tls]
    if not plain:
        raise UsageError("bench needs a ws:// or unix: address, and this server listens on neither")
    return min(plain, key=lambda one: one.is_unix)  # ws:// first


def render(result: dict[str, Any]) -> str:
    """The figures as text."""
    if result.get("program"):
        return bench_program.render(result)
    count = result["connections"]
    lines = [
        f"{counted(count, 'connection')} in a room of their own at {result['address']}",
        f"connects, each with hello and one room   {number(result['connects_per_s'])}/s",
    ]
    for row in result["phases"]:
        cpu, window = row["cpu_us_per_delivery"], row["in_flight"]
        title = "one message at a time" if window == 1 else f"{window} messages in flight"
        lines.append(
            f"{title:<24}{number(row['messages_per_s']):>8} said/s {number(row['deliveries_per_s']):>10} deliveries/s"
            f"   p50 {milliseconds(row['p50_ms'])} ms   p99 {milliseconds(row['p99_ms'])} ms"
            f"   {'–' if cpu is None else f'{cpu:.2f}'} µs of server CPU a delivery"
            + ("" if row["of_the_floor"] is None else f", {row['of_the_floor']:.2f} times the floor's")
        )
    if any(row["held_back_by_rate"] for row in result["phases"]):
        most = result["rate_limit"] * count
        lines.append(
            f"limits.rate held the load back, not the server: {result['rate_limit']:g} messages/s for each connection "
            f"are {number(most)}/s for {counted(count, 'connection')}, after a burst at the beginning; "
            "for a larger load give more --connections or set limits.rate = 0"
        )
    if result["refused"] or result["lost_connections"]:
        lines.append(
            f"{counted(result['refused'], 'request')} refused, {counted(result['lost_connections'], 'connection')} lost"
        )
    lines.append(f"missing {number(result['missing'])} of {number(result['expected'])} deliveries")
    return "\n".join(lines)
