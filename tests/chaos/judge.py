"""Holds what clients saw and were answered against each other and against the store: pure.

Every promise about delivery is one of four counts that have to be zero.

* missing: something acknowledged that is in no store, or something in the store that a client was there for and neither
  saw nor was told about (`gap`, `reset`); also a client that took entries for good which the log has lost, or that had
  one acknowledged, and was never told so.
* doubled: an entry shown twice, or one text stored twice.
* out of order: an entry that is not the next one on its connection, or an author's later text stored before an earlier
  one that had its answer already.
* never stored: something shown that no store had at that place.

Theory of operation. A place (epoch, offset) names an entry for ever, because epochs change whenever a store may have
forgotten something. Each time a test destroys data it keeps an `Archive` of what is destroyed; the last archive is what
is there at the end. What is in an earlier archive and not in the last was lost, and then every client that had seen
some of it must have been told by a `Lost` after that. What is in the last must have reached everybody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Final

from msgspec import Struct, field

from tests.chaos.archive import Archive
from tests.chaos.witness import Began, Lost, Missed, Note, Place, Said, Seen

MISSING: Final = "missing"
DOUBLED: Final = "doubled"
DISORDERED: Final = "out of order"
UNSTORED: Final = "never stored"
COLUMNS: Final = (MISSING, DOUBLED, DISORDERED, UNSTORED)
SHOWN: Final = 12  # faults in a text


class Account(Struct, frozen=True):
    """The record of one client."""

    name: str
    notes: Sequence[Note]
    said: Sequence[Said]


class Verdict(Struct):
    """The counts, and a sentence for each fault."""

    acked: int = 0
    stored: int = 0
    deliveries: int = 0
    gaps: int = 0
    resets: int = 0
    lost: int = 0  # acknowledged, and gone with data that the test destroyed
    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def fault(self, column: str, sentence: str) -> None:
        self.counts[column] += 1
        self.faults.append(f"{column}: {sentence}")

    def add(self, other: Verdict) -> None:
        """Put another run's counts to these."""
        for name in ("acked", "stored", "deliveries", "gaps", "resets", "lost"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.counts.update(other.counts)
        self.faults += other.faults

    def __str__(self) -> str:
        figures = [f"{name} {getattr(self, name)}" for name in ("acked", "stored", "deliveries")]
        figures += [f"{column} {self.counts[column]}" for column in COLUMNS]
        figures += [f"{name} {getattr(self, name)}" for name in ("gaps", "resets", "lost")]
        more = [f"... and {len(self.faults) - SHOWN} more"] if len(self.faults) > SHOWN else []
        return "\n".join([", ".join(figures), *self.faults[:SHOWN], *more])


def judge(accounts: Iterable[Account], archives: Sequence[Archive]) -> Verdict:
    """`archives`: what was destroyed, in that order, and last what is there now."""
    verdict = Verdict(stored=len(archives[-1].texts))
    everyone = list(accounts)
    for one in everyone:
        _judge_order(one, verdict)
        _judge_shown(one, archives, verdict)
        _judge_completeness(one, archives[-1], verdict)
        _judge_candour(one, archives, verdict)
        _judge_answers(one, archives, verdict)
    for archive in archives:
        for text, times in Counter(archive.texts.values()).items():
            if times > 1:
                verdict.fault(DOUBLED, f"the store has {text!r} {times} times")
    return verdict


def _judge_order(one: Account, verdict: Verdict) -> None:
    """On each connection every entry directly follows the one before."""
    due, shown = 0, set[Place]()
    for note in one.notes:
        match note:
            case Began():
                due = note.after.offset + 1
            case Missed():
                verdict.gaps += 1
                if note.first != due or note.last < note.first:
                    verdict.fault(DISORDERED, f"{one.name} was told of a gap {note.first}-{note.last} at {due}")
                due = note.last + 1
            case Lost():
                verdict.resets += 1
                due = note.after.offset + 1
            case Seen():
                verdict.deliveries += 1
                _judge_one(one.name, note, due, note.place in shown, verdict)
                due = note.place.offset + 1
                shown.add(note.place)


def _judge_one(name: str, seen: Seen, due: int, again: bool, verdict: Verdict) -> None:
    if again:
        verdict.fault(DOUBLED, f"{name} was shown {seen.place} {seen.text!r} again")
    elif seen.place.offset != due:
        verdict.fault(DISORDERED, f"{name} was shown {seen.place} {seen.text!r} where {due} was due")


def _judge_shown(one: Account, archives: Sequence[Archive], verdict: Verdict) -> None:
    """What was shown was stored; what was trimmed since cannot be asked any more."""
    trimmed = archives[-1].first
    for note in one.notes:
        if not isinstance(note, Seen):
            continue
        stored = [archive.texts[note.place] for archive in archives if note.place in archive.texts]
        if note.text not in stored and (stored or note.place.offset >= trimmed):
            verdict.fault(UNSTORED, f"{one.name} was shown {note.place} {note.text!r}, the store has {stored}")


def _judge_completeness(one: Account, now: Archive, verdict: Verdict) -> None:
    """Everything that is stored and came after the beginning was shown, or the client was told that it cannot be."""
    told: Callable[[int], bool] = _excuses(one)
    shown = {note.place for note in one.notes if isinstance(note, Seen)}
    for place, text in now.texts.items():
        if place not in shown and not told(place.offset):
            verdict.fault(MISSING, f"{one.name} was never shown {place} {text!r}")


def _excuses(one: Account) -> Callable[[int], bool]:
    """Offsets that this client need not have seen."""
    beginning = next((note.after.offset for note in one.notes if isinstance(note, Began)), None)
    gaps = [note for note in one.notes if isinstance(note, Missed)]
    resets = [note.after.offset for note in one.notes if isinstance(note, Lost)]
    # After a reset the log begins for it after that offset, which may be before its own beginning.
    start = min([beginning, *resets]) if beginning is not None else None
    reset = max(resets, default=-1)

    def excused(offset: int) -> bool:
        if start is None or offset <= start or offset <= reset:
            return True
        return any(gap.first <= offset <= gap.last for gap in gaps)

    return excused


def _judge_candour(one: Account, archives: Sequence[Archive], verdict: Verdict) -> None:
    """Who saw something that was lost later was told so after it."""
    now = archives[-1]
    gone = {place for archive in archives[:-1] for place in archive.texts if place not in now.texts}
    gone = {place for place in gone if place.offset >= now.first or place.offset > now.top}
    held: Place | None = None
    for note in one.notes:
        if isinstance(note, Lost):
            held = None
        elif isinstance(note, Seen) and note.place in gone:
            held = note.place
    if held is not None:
        verdict.fault(MISSING, f"{one.name} saw {held}, which was lost, and was never told so")


def _judge_answers(one: Account, archives: Sequence[Archive], verdict: Verdict) -> None:
    """Each acknowledged message is at the place that the answer named."""
    verdict.acked += len(one.said)
    for said in one.said:
        if said.place.offset < archives[-1].first:
            continue  # trimmed since
        holders = [archive for archive in archives if archive.texts.get(said.place) == said.text]
        if not holders:
            verdict.fault(MISSING, f"{one.name} had {said.text!r} acknowledged at {said.place}, and no store has it")
        elif archives[-1] not in holders:
            verdict.lost += 1
            if not any(isinstance(note, Lost) for note in one.notes[said.noted :]):
                verdict.fault(
                    MISSING, f"{one.name} had {said.text!r} acknowledged, which was lost, and was never told so"
                )
    _judge_turns(one, verdict)


def _judge_turns(one: Account, verdict: Verdict) -> None:
    """What was said after an answer is stored after what was answered."""
    highest: dict[str, Said] = {}  # by epoch, of the turns before
    for _, turn in groupby(sorted(one.said, key=lambda said: said.turn), key=lambda said: said.turn):
        now = list(turn)
        for said in now:
            before = highest.get(said.place.epoch)
            if before is not None and said.place.offset <= before.place.offset:
                verdict.fault(DISORDERED, f"{one.name}'s {said.text!r} is stored before its earlier {before.text!r}")
        for said in now:
            before = highest.get(said.place.epoch)
            if before is None or said.place.offset > before.place.offset:
                highest[said.place.epoch] = said
