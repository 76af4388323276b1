"""Clients that record acknowledgements and received messages, and the judge that compares all records.

`Recorder` is one client of one room; `check` holds the promise of delivery against any number of them: what was
acknowledged was seen by everyone who was there, once, in one order, or was named by a `gap` or `reset`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct, field

from tests.support.wait import until_async
from workers.client import (
    Client,
    ClientError,
    Disconnected,
    Entry,
    Event,
    Gap,
    Left,
    Message,
    Reset,
    Welcome,
)

_SHOWN = 10  # faults in the text of a failure


class Seen(Struct, frozen=True):
    """An entry as a client was shown it."""

    offset: int
    epoch: str
    text: str


class Recorder:
    """A client in one room with a log of its own."""

    def __init__(self, url: str, room: str, *, name: str, **options: Any) -> None:
        self.room = room
        self.name = name
        self.client = Client(url, rooms=[room], on_event=self._note, **options)
        self.start = -1  # the offset of the first `welcome`: what comes after it has to be seen
        self.seen: list[Seen | Gap | Reset] = []
        self.acked: dict[str, tuple[str, int]] = {}  # text to its place
        self.unknown: list[str] = []  # texts without an answer: kept or not
        self.lost: Counter[int] = Counter()  # connections that ended, by close code
        self.put_out = False

    @property
    def position(self) -> int:
        """The offset up to which it has seen everything."""
        place = self.client.rooms.get(self.room)
        return place.offset if place is not None else -1

    @property
    def losses(self) -> list[Gap | Reset]:
        """The gaps and resets that the server reported."""
        return [one for one in self.seen if not isinstance(one, Seen)]

    async def say(self, text: str, **how: Any) -> bool:
        """Send a text that no other client sends; True: the text was acknowledged."""
        try:
            ack = await self.client.say(self.room, text, **how)
        except ClientError:
            self.unknown.append(text)
            return False
        assert ack.epoch is not None
        assert ack.offset is not None
        self.acked[text] = (ack.epoch, ack.offset)
        return True

    def _note(self, event: Event) -> None:
        match event:
            case Message() if event.room == self.room:
                self.seen.append(Seen(event.offset, event.epoch, event.text or ""))
            case Entry() if event.room == self.room:
                self.seen.append(Seen(event.offset, event.epoch, f"{type(event).__name__} {event.offset}"))
            case Gap() | Reset() if event.room == self.room:
                self.seen.append(event)
            case Welcome() if self.start < 0:
                self.start = next(state.offset for state in event.rooms if state.room == self.room)
            case Left() if event.room == self.room:
                self.put_out = True
            case Disconnected():
                self.lost[event.code] += 1


class Finding(Struct):
    """The judge's findings; `faults` is empty if the promise was kept."""

    acked: int = 0
    deliveries: int = 0
    gaps: int = 0
    resets: int = 0
    missing: int = 0
    doubled: int = 0
    disordered: int = 0
    faults: list[str] = field(default_factory=list)

    def fault(self, text: str) -> None:
        self.faults.append(text)

    def __str__(self) -> str:
        figures = ", ".join(
            f"{name} {getattr(self, name)}"
            for name in ("acked", "deliveries", "missing", "doubled", "disordered", "gaps", "resets")
        )
        return "\n".join([figures, *self.faults[:_SHOWN]])


async def caught_up(recorders: Iterable[Recorder], top: int, timeout: float = 30.0) -> None:
    """Wait until everyone has seen everything up to `top`."""
    all_of_them = list(recorders)

    def behind() -> list[tuple[str, int]]:
        return [(one.name, one.position) for one in all_of_them if one.position < top]

    await until_async(lambda: not behind(), timeout, f"everyone is at {top}; behind at first: {behind()[:5]}")


def top_of(recorders: Iterable[Recorder]) -> int:
    """The highest offset that was acknowledged; 0: none."""
    return max((offset for one in recorders for _, offset in one.acked.values()), default=0)


def check(recorders: Iterable[Recorder], log: Mapping[int, str] | None = None) -> Finding:
    """Compare everyone with everyone, and with what the store has (texts by offset), where that is given.

    Call it when all have caught up. After a `reset` offsets may be used again, so that what a client saw before its
    last one is only held against itself.
    """
    finding = Finding()
    everyone = list(recorders)
    said: dict[int, str] = dict(log or {})
    for one in everyone:
        _check_order(one, finding)
        for seen in _since_last_reset(one):
            text = said.setdefault(seen.offset, seen.text)
            if text != seen.text:
                finding.disordered += 1
                finding.fault(f"{one.name}: {seen.offset} is {seen.text!r}, for others {text!r}")
    for one in everyone:
        _check_complete(one, said, finding)
        _check_acked(one, said, finding)
    return finding


def assert_kept(recorders: Iterable[Recorder], log: Mapping[int, str] | None = None) -> Finding:
    """`check`, and nothing may be wrong."""
    finding = check(recorders, log)
    assert not finding.faults, str(finding)
    return finding


def _check_order(one: Recorder, finding: Finding) -> None:
    """Each entry directly follows the one before."""
    expected = one.start + 1
    texts: Counter[str] = Counter()
    for seen in one.seen:
        if isinstance(seen, Gap):
            finding.gaps += 1
            expected = seen.last + 1
        elif isinstance(seen, Reset):
            finding.resets += 1
            expected = seen.offset + 1
        else:
            finding.deliveries += 1
            texts[seen.text] += 1
            if seen.offset != expected:
                finding.disordered += 1
                finding.fault(f"{one.name}: {seen.offset} came where {expected} was due")
            expected = seen.offset + 1
    for text, times in texts.items():
        if times > 1:
            finding.doubled += times - 1
            finding.fault(f"{one.name}: {text!r} came {times} times")


def _check_complete(one: Recorder, said: Mapping[int, str], finding: Finding) -> None:
    """Everything after its beginning was seen, or named by a gap; with a reset only what came after it counts."""
    if one.put_out:
        return
    resets = [seen for seen in one.seen if isinstance(seen, Reset)]
    first = resets[-1].offset + 1 if resets else one.start + 1
    known = {seen.offset for seen in _since_last_reset(one)}
    for gap in one.losses:
        if isinstance(gap, Gap):
            known.update(range(gap.first, gap.last + 1))
    for offset in range(first, max(said, default=0) + 1):
        if offset in said and offset not in known:
            finding.missing += 1
            finding.fault(f"{one.name}: {offset} {said[offset]!r} is missing")


def _check_acked(one: Recorder, said: Mapping[int, str], finding: Finding) -> None:
    """Each acknowledged text is at its place, unless a reset reported that the log was lost."""
    finding.acked += len(one.acked)
    if any(isinstance(seen, Reset) for seen in one.seen):
        return
    for text, (_, offset) in one.acked.items():
        if said.get(offset, text) != text:
            finding.missing += 1
            finding.fault(f"{one.name}: {text!r} was acknowledged at {offset}, where there is {said[offset]!r}")
        elif offset not in said:
            finding.missing += 1
            finding.fault(f"{one.name}: {text!r} was acknowledged at {offset}, and nobody saw it")


def _since_last_reset(one: Recorder) -> list[Seen]:
    last = max((at for at, seen in enumerate(one.seen) if isinstance(seen, Reset)), default=-1)
    return [seen for seen in one.seen[last + 1 :] if isinstance(seen, Seen)]


async def enter_all(recorders: Iterable[Recorder], at_once: int = 50) -> None:
    """Connect them all, so many at a time."""
    gate = asyncio.Semaphore(at_once)

    async def enter(one: Recorder) -> None:
        async with gate:
            await one.client.start()

    await asyncio.gather(*(enter(one) for one in recorders))


async def leave_all(recorders: Iterable[Recorder]) -> None:
    """Close them all."""
    await asyncio.gather(*(one.client.close() for one in recorders))
