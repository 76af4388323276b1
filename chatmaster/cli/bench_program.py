"""`chatctl bench` against a program that is not the chat, whose answers are unknown.

Each connection in turn sends a text and waits for the next message that it receives. That is the round trip if the
program answers, or broadcasts. Messages that other connections receive meanwhile are only counted.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from chatmaster.addresses import Address
from chatmaster.cli.bench_client import (
    OPEN_TIMEOUT,
    BenchPeer,
    ConnectRefused,
    NotTheChat,
    cpu_seconds,
    open_all,
    quantile,
)
from chatmaster.cli.tables import milliseconds, number
from chatmaster.errors import ChatmasterError
from chatmaster.plural import counted

ANSWER_TIMEOUT: Final = 1.0  # seconds that a connection waits for a message after it has sent its text


class ProgramPeer(BenchPeer):
    """A connection without subprotocol and hello."""

    subprotocol = ""
    _load: ProgramLoad | None = None

    def attach(self, load: ProgramLoad) -> None:
        """Report received messages to `load` from now on."""
        self._load = load

    def send(self, text: bytes) -> None:
        """Send one text message."""
        self._send(text)

    def _greet(self, head: bytes) -> bool:
        self._ready.set_result(None)
        return True

    def _message(self, payload: bytes) -> None:
        if self._load is not None:
            self._load.on_message(self)


class _NoObserver:
    """The observer of a program, which sends no messages of the chat."""

    def on_message(self, mark: bytes) -> None: ...
    def on_refused(self, mark: bytes) -> None: ...


class ProgramLoad:
    """One phase of the load: what the connections sent and received."""

    def __init__(self, peers: Sequence[ProgramPeer], text: bytes) -> None:
        self.sent = self.heard = self.unanswered = 0
        self.ages: list[int] = []  # ns
        self._text = text
        self._idle = deque(peers)
        self._waiting: dict[ProgramPeer, int] = {}  # since when, ns of the monotonic clock
        self._turn = asyncio.Event()
        for peer in peers:
            peer.attach(self)

    def on_message(self, peer: ProgramPeer) -> None:
        """A connection received a message."""
        self.heard += 1
        since = self._waiting.pop(peer, None)
        if since is not None:
            self.ages.append(time.monotonic_ns() - since)
            self._idle.append(peer)
            self._turn.set()

    async def run(self, in_flight: int, seconds: float) -> None:
        """Keep `in_flight` connections waiting for an answer, for `seconds`."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            while self._idle and len(self._waiting) < in_flight:
                peer = self._idle.popleft()
                self._waiting[peer] = time.monotonic_ns()
                self.sent += 1
                peer.send(self._text)
            self._turn.clear()
            try:
                await asyncio.wait_for(self._turn.wait(), min(left, ANSWER_TIMEOUT))
            except TimeoutError:
                self._give_up_waiting()

    def _give_up_waiting(self) -> None:
        late = time.monotonic_ns() - int(ANSWER_TIMEOUT * 1e9)
        for peer in [peer for peer, since in self._waiting.items() if since <= late]:
            del self._waiting[peer]
            self.unanswered += 1
            self._idle.append(peer)


async def measure(
    address: Address, pids: Sequence[int], *, connections: int, seconds: float, in_flight: int, text: str
) -> dict[str, Any]:
    """Run the load and return its figures. Raises ChatmasterError if a connection fails."""
    began = time.monotonic()
    peers = await _open(address, connections)
    opened = time.monotonic() - began
    phases = []
    try:
        for window in (1, in_flight):
            load, cpu, started = ProgramLoad(peers, text.encode()), cpu_seconds(pids), time.monotonic()
            await load.run(window, seconds / 2)
            phases.append(_row(load, window, time.monotonic() - started, cpu_seconds(pids) - cpu))
    finally:
        for peer in peers:
            peer.close()
    return {
        "address": address.text,
        "program": True,
        "connections": connections,
        "connects_per_s": round(connections / opened, 1),
        "phases": phases,
        "lost_connections": sum(peer.lost for peer in peers),
        "missing": 0,  # unknown for a program
    }


async def _open(address: Address, count: int) -> list[ProgramPeer]:
    try:
        return await open_all(count, lambda: ProgramPeer.open(address, "", "", _NoObserver()))
    except TimeoutError:
        raise ChatmasterError(f"not all connections were accepted within {OPEN_TIMEOUT:g} s") from None
    except (ConnectRefused, NotTheChat, OSError) as error:
        raise ChatmasterError(f"{address.text}: {error}") from None


def _row(load: ProgramLoad, in_flight: int, seconds: float, cpu: float) -> dict[str, Any]:
    ages = sorted(load.ages)
    return {
        "in_flight": in_flight,
        "messages_per_s": round(load.sent / seconds, 1),
        "heard_per_s": round(load.heard / seconds, 1),
        "unanswered": load.unanswered,
        "p50_ms": quantile(ages, 0.5),
        "p99_ms": quantile(ages, 0.99),
        "cpu_us_per_message": round(cpu * 1e6 / (load.sent + load.heard), 2) if load.sent + load.heard else None,
    }


def render(result: dict[str, Any]) -> str:
    """The figures as text."""
    count = result["connections"]
    lines = [
        f"{counted(count, 'connection')} to the program at {result['address']}",
        f"connects                                 {number(result['connects_per_s'])}/s",
    ]
    for row in result["phases"]:
        cpu, window = row["cpu_us_per_message"], row["in_flight"]
        title = "one waits for an answer" if window == 1 else f"{window} wait for an answer"
        lines.append(
            f"{title:<24}{number(row['messages_per_s']):>8} sent/s {number(row['heard_per_s']):>10} heard/s"
            f"   p50 {milliseconds(row['p50_ms'])} ms   p99 {milliseconds(row['p99_ms'])} ms"
            f"   {'–' if cpu is None else f'{cpu:.2f}'} µs of server CPU a message"
        )
    if unanswered := sum(row["unanswered"] for row in result["phases"]):
        lines.append(
            f"{counted(unanswered, 'message')} without an answer within {ANSWER_TIMEOUT:g} s: give a --message "
            "that the program answers"
        )
    if result["lost_connections"]:
        lines.append(f"{counted(result['lost_connections'], 'connection')} lost")
    return "\n".join(lines)
