"""A bus whose store, pub/sub and answers move only when a test says so: for models of everything above it."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from workers.bus.keys import shares_channel
from workers.bus.port import BusError, Entry, EntryHead, LogState, Page, Placed, Position, Publication, Reign


def published(epoch: str, entries: Sequence[Entry]) -> Publication:
    """What comes by pub/sub of plain entries that one script wrote."""
    packed = [(EntryHead(one.form, one.author), one.payload) for one in entries]
    return Publication(epoch, entries[0].offset, entries[0].time, packed)


class ModelLog:
    """One room's log; a rollback goes back to what was saved last."""

    def __init__(self) -> None:
        self.entries: list[int] = []  # identities, by offset - 1
        self.reigns: list[tuple[str, int]] = []
        self.first = 1
        self.trimmed: set[int] = set()  # offsets of changes that are not kept any more
        self.saved: tuple[int, list[tuple[str, int]]] = (0, [])

    def trim_change(self, offset: int) -> None:
        """Forget the entry at an offset, if it only changes a message."""
        if self.first <= offset <= len(self.entries) and is_change(self.entries[offset - 1]):
            self.trimmed.add(offset)


def is_change(identity: int) -> bool:
    """Whether the entry changes a message, and is no message of its own."""
    return identity % 3 == 0


class ModelBus:
    """One worker's bus over one store."""

    def __init__(self) -> None:
        self.sink: Any = None
        self.logs: dict[str, ModelLog] = {}
        self.reign = 0
        self.written = 0
        self.subscribed: set[str] = set()
        self.shared = False  # what inboxes share is followed, as far as the worker knows
        self.wanted: set[str] = set()
        self.channel: deque[tuple[str, str, Any]] = deque()
        self.questions: list[tuple[Callable[[], Any], Callable[[Any], None]]] = []

    # ---- the store ---------------------------------------------------------------------------------

    def log(self, room: str) -> ModelLog:
        return self.logs.setdefault(room, ModelLog())

    def entry(self, room: str, offset: int) -> Entry:
        payload = json.dumps({"type": "message", "room": room, "n": self.log(room).entries[offset - 1]})
        return Entry(offset, 0, "j", payload.encode())

    def epoch(self) -> str:
        return f"r{self.reign:07d}"

    def state(self, room: str) -> LogState:
        log = self.log(room)
        if not log.reigns or log.reigns[-1][0] != self.epoch():
            log.reigns.append((self.epoch(), len(log.entries) + 1))
        reigns = tuple(Reign(*one) for one in log.reigns)
        return LogState(self.epoch(), len(log.entries), log.first, reigns)

    def page(self, room: str, after: int, limit: int) -> Page:
        state = self.state(room)
        trimmed = self.log(room).trimmed
        left = [at for at in range(max(after + 1, state.first), state.top + 1) if at not in trimmed]
        entries = tuple(self.entry(room, at) for at in left[: min(limit, 3)])
        return Page(state, entries, len(entries) < len(left))

    def write(self, room: str, count: int = 1) -> None:
        """One script: so many entries that are published as one."""
        self.state(room)
        log = self.log(room)
        top = len(log.entries)
        log.entries += range(self.written + 1, self.written + count + 1)
        self.written += count
        if room in self.subscribed or shares_channel(room):
            entries = [self.entry(room, at) for at in range(top + 1, top + count + 1)]
            self.channel.append(("message", room, published(self.epoch(), entries)))

    def save(self) -> None:
        for log in self.logs.values():
            log.saved = (len(log.entries), list(log.reigns))

    def roll_back(self) -> None:
        """The store comes back as it was saved; every connection is new."""
        self.reign += 1
        for log in self.logs.values():
            top, reigns = log.saved
            del log.entries[top:]
            log.reigns = list(reigns)
            log.first = min(log.first, top + 1)
            log.trimmed = {offset for offset in log.trimmed if offset <= top}
        self.cut()

    def cut(self) -> None:
        self.subscribed.clear()
        self.channel.clear()
        self.shared = False
        self.sink.disconnected()
        self.start()
        for room in sorted(self.wanted):
            self._confirm(room)

    def start(self) -> None:
        """The store takes the subscription to what inboxes share; the worker has still to hear of it."""
        self.channel.append(("shared", "", None))

    # ---- what happens when the test says so --------------------------------------------------------

    def hear(self) -> None:
        """The worker reads the next thing that the store sent."""
        if self.channel:
            kind, room, what = self.channel.popleft()
            if kind == "message":
                if not shares_channel(room) or self.sink.wants(room):
                    self.sink.received(room, what)
            elif kind == "shared":
                self.shared = True
                self.sink.shared_subscribed()
            elif kind == "subscribed":
                self.sink.subscribed(room)
            else:
                self.sink.unsubscribed(room)

    def answer(self) -> None:
        """The store answers the oldest question, as it is now."""
        if self.questions:
            question, done = self.questions.pop(0)
            done(question())

    # ---- the port ----------------------------------------------------------------------------------

    def publish(self, room: str, payload: bytes, *, done: Callable[[Placed | BusError], None], **_: Any) -> None:
        raise NotImplementedError

    def publish_note(self, room: str, note: bytes) -> None:
        raise NotImplementedError

    def follows(self, room: str) -> bool:
        return shares_channel(room) and self.shared

    def subscribe(self, room: str) -> None:
        if shares_channel(room):
            if self.shared:
                self.sink.subscribed(room)
            return
        self.wanted.add(room)
        self._confirm(room)

    def _confirm(self, room: str) -> None:
        self.subscribed.add(room)
        self.channel.append(("subscribed", room, None))

    def unsubscribe(self, room: str) -> None:
        if shares_channel(room):
            self.sink.unsubscribed(room)
            return
        self.wanted.discard(room)
        self.subscribed.discard(room)
        self.channel.append(("unsubscribed", room, None))

    async def read(self, room: str, *, after: int, limit: int, max_bytes: int, messages_only: bool = False) -> Page:
        page: Page = await self._ask(lambda: self.page(room, after, limit))
        return page

    async def read_before(self, room: str, *, before: int, limit: int, max_bytes: int) -> Page:
        raise NotImplementedError

    def together(self, rooms: Sequence[str]) -> list[list[str]]:
        return [list(rooms)]

    def states(self, rooms: list[str], done: Callable[[list[LogState] | BusError], None]) -> None:
        self.questions.append((lambda: [self.state(room) for room in rooms], done))

    def compare(self, known: list[tuple[str, Position]], done: Callable[[list[str] | BusError], None]) -> None:
        raise NotImplementedError

    def missing(self, acked: list[tuple[str, Position]], done: Callable[[list[int] | BusError], None]) -> None:
        raise NotImplementedError

    def note_loss(
        self, room: str, acked: Position, *, age: float, done: Callable[[Placed | BusError | None], None]
    ) -> None:
        raise NotImplementedError

    def _ask(self, question: Callable[[], Any]) -> asyncio.Future[Any]:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.questions.append((question, lambda result: None if answer.done() else answer.set_result(result)))
        return answer
