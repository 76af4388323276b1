"""The follower against a model of the store, its pub/sub and its connections, in random order.

What must hold whatever happens: everything in the log is delivered once and in order, or a gap or a reset says why
not. Each mutant leaves out one of the follower's rules and must be caught.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec import structs

from tests.workers.rooms.modelbus import published
from workers.bus.port import Entry, LogState, Page, Publication, Reign
from workers.rooms.follower import Deliver, Follower, LogRead, Order, TellGap, TellReset

PAGE = 3
ACTIONS = (
    ["publish"] * 5 + ["hear"] * 6 + ["execute"] * 4 + ["answer"] * 2 + ["cut"] * 2
    + ["go away", "come back", "come back"]
    + ["fail", "restart", "rollback", "promote", "trim", "patrol", "leave", "linger", "return", "lose"]
    + ["trim a change"] * 3
)  # fmt: skip


@dataclass
class Read:
    order: Order
    log_read: LogRead
    after: int
    answer: Any = None


@dataclass
class World:
    """One room at the store, and one worker's follower of it."""

    follower: Follower
    entries: list[int] = field(default_factory=list)  # by offset - 1: identities
    firsts: list[tuple[str, int]] = field(default_factory=lambda: [("r0", 1)])
    reign: int = 0
    written: int = 0
    first: int = 1
    trimmed: set[int] = field(default_factory=set)  # offsets of changes that are not kept any more
    saved: tuple[int, list[tuple[str, int]]] = (0, [("r0", 1)])
    subscribed: bool = False
    connected: bool = True
    channel: deque[Any] = field(default_factory=deque)  # what the store sent and the worker has not read
    reads: list[Read] = field(default_factory=list)
    wanted: bool = False
    seen: dict[int, int] = field(default_factory=dict)
    position: int | None = None  # what the room's members have
    lost_silently: bool = False
    confirms_without_connection: bool = True

    # ---- the store ---------------------------------------------------------------------------------

    def publish(self, count: int) -> None:
        """One script: so many entries that are published as one."""
        epoch = f"r{self.reign}"
        if self.firsts[-1][0] != epoch:
            self.firsts.append((epoch, len(self.entries) + 1))
        top = len(self.entries)
        self.entries += range(self.written + 1, self.written + count + 1)
        self.written += count
        if self.subscribed:
            self.channel.append(published(epoch, [self.entry(at) for at in range(top + 1, top + count + 1)]))

    def entry(self, offset: int) -> Entry:
        return Entry(offset, 0, "t", str(self.entries[offset - 1]).encode())

    def state(self) -> LogState:
        firsts = list(self.firsts)
        if firsts[-1][0] != f"r{self.reign}":
            firsts.append((f"r{self.reign}", len(self.entries) + 1))
        self.firsts = firsts  # a look writes it down
        return LogState(firsts[-1][0], len(self.entries), self.first, tuple(Reign(*one) for one in firsts))

    def execute(self, read: Read) -> None:
        """The store carries a read out; the answer is on its way."""
        if read.order is Order.CHECK:
            read.answer = self.state()
            return
        state = self.state()
        left = [at for at in range(max(read.after + 1, self.first), state.top + 1) if at not in self.trimmed]
        entries = tuple(self.entry(at) for at in left[:PAGE])
        read.answer = Page(state, entries, len(entries) < len(left))

    def restart(self, *, rollback: bool) -> None:
        self.cut()
        self.promote(rollback=rollback)

    def promote(self, *, rollback: bool) -> None:
        """Another server is master now; a subscription may well live on, through its replica."""
        self.reign += 1
        if rollback:
            top, firsts = self.saved
            del self.entries[top:]
            self.firsts = list(firsts)
            self.first = min(self.first, top + 1)
            self.trimmed = {offset for offset in self.trimmed if offset <= top}
        self.saved = (len(self.entries), list(self.firsts))

    # ---- the worker --------------------------------------------------------------------------------

    def cut(self) -> None:
        self.go_away()
        self.come_back()

    def go_away(self) -> None:
        """The connection is lost, and another cannot be had."""
        self.subscribed, self.connected = False, False
        self.channel.clear()
        self.run(self.follower.disconnected())

    def come_back(self) -> None:
        if self.connected:
            return
        self.connected = True
        if self.follower.phase.value in ("subscribing", "live", "linger"):
            self.subscribe()

    def subscribe(self) -> None:
        if not self.connected:
            return
        self.subscribed = True
        self.channel.append("subscribed")

    def hear(self) -> None:
        if not self.channel:
            return
        message = self.channel.popleft()
        if message == "subscribed":
            self.run(self.follower.subscribed())
        elif message == "unsubscribed":
            self.run(self.follower.unsubscribed())
        elif count := self.follower.received(message):
            for entry in message.entries(count):
                self.deliver(message.epoch, entry)
        else:
            self.run(self.follower.strayed())

    def answer(self, read: Read) -> None:
        self.reads.remove(read)
        if read.order is Order.CHECK:
            self.run(self.follower.state_came(read.answer, read.log_read))
        else:
            self.run(self.follower.page_came(read.answer, after=read.after, read=read.log_read))

    def run(self, effects: list[Any]) -> None:
        for effect in effects:
            if isinstance(effect, Deliver):
                self.deliver(effect.epoch, effect.entry)
            elif isinstance(effect, TellGap):
                assert self.position is None or effect.first == self.position + 1, "the gap does not touch"
                if effect.epoch == f"r{self.reign}":  # else it was read before a rollback
                    kinds = {is_change(one) for one in self.entries[effect.first - 1 : effect.last]}
                    assert kinds == {True} if effect.changes else effect.last < self.first, "it says what it is not"
                self.position = effect.last
            elif isinstance(effect, TellReset):
                self.seen.clear()
                self.position = effect.offset
            elif effect is Order.SUBSCRIBE:
                self.subscribe()
            elif effect is Order.UNSUBSCRIBE:
                self.subscribed = False
                self.seen.clear()
                self.position = None
                if self.connected or self.confirms_without_connection:
                    self.channel.append("unsubscribed")
            elif effect in (Order.CHECK, Order.READ):
                after = self.follower.offset
                log_read = self.follower.read_started()
                if log_read is not None:
                    self.reads.append(Read(effect, log_read, after))
            elif effect is Order.CURRENT and self.position is None:
                self.position = self.follower.offset

    def deliver(self, epoch: str, entry: Entry) -> None:
        identity = int(entry.payload)
        if self.position is None:
            self.position = entry.offset - 1
        assert entry.offset == self.position + 1, f"{entry.offset} after {self.position}"
        assert identity not in self.seen.values(), "the same message twice"
        self.position = entry.offset
        self.seen[entry.offset] = identity

    # ---- the end -----------------------------------------------------------------------------------

    def settle(self) -> None:
        """Let everything that is under way come to its end; then the follower must be at the top, on the line."""
        self.come_back()
        if not self.wanted:
            return
        for _ in range(1000):
            if self.channel:
                self.hear()
            elif self.reads:
                read = self.reads[0]
                if read.answer is None:
                    self.execute(read)
                self.answer(read)
            else:
                break
        follower = self.follower
        if self.lost_silently:
            state = self.state()
            self.lost_silently = False
            self.run(follower.behind(state.epoch, state.top))
            self.settle()
            return
        assert follower.current, "it waits for nothing, and is not current"
        assert follower.offset == len(self.entries), "it does not know the top"
        assert self.position == len(self.entries), "what is in the log was not delivered"
        for offset, identity in self.seen.items():
            assert self.entries[offset - 1] == identity, "what was delivered is not what the log says; nobody was told"


def play(make: Callable[[], Follower], seed: int, length: int, **rules: Any) -> None:
    chance = random.Random(seed)
    world = World(make(), **rules)
    world.wanted = True
    world.run(world.follower.wanted())
    for _ in range(length):
        step(world, chance.choice(ACTIONS), chance)
    if not world.wanted:
        world.wanted = True
        world.run(world.follower.wanted())
    world.settle()


def step(world: World, action: str, chance: random.Random) -> None:
    follower = world.follower
    pending = [read for read in world.reads if read.answer is None]
    answered = [read for read in world.reads if read.answer is not None]
    if action == "publish":
        world.publish(chance.choice((1, 1, 2, 3)))
    elif action == "hear":
        world.hear()
    elif action == "execute" and pending:
        world.execute(chance.choice(pending))
    elif action == "answer" and answered:
        world.answer(chance.choice(answered))
    elif action == "fail" and world.reads:
        read = chance.choice(world.reads)
        world.reads.remove(read)
        world.run(follower.read_failed(read.log_read))
    elif action == "cut":
        world.cut()
    elif action == "go away" and world.connected:
        world.go_away()
    elif action == "come back":
        world.come_back()
    elif action in ("restart", "rollback"):
        world.restart(rollback=action == "rollback")
    elif action == "promote":
        world.promote(rollback=True)
        world.lost_silently = True  # nothing says so until the next message or look
    elif action == "trim":
        world.first = min(world.first + 2, len(world.entries) + 1)
    elif action == "trim a change":
        offset = chance.randint(1, len(world.entries) + 1)
        if world.first <= offset <= len(world.entries) and is_change(world.entries[offset - 1]):
            world.trimmed.add(offset)
    elif action == "patrol":
        state = world.state()
        world.run(follower.behind(state.epoch, state.top))
    elif action == "leave" and world.wanted:
        world.wanted = False
        world.run(follower.unwanted())
    elif action == "return" and not world.wanted:
        world.wanted = True
        world.run(follower.wanted())
    elif action == "linger":
        world.run(follower.lingered())
    elif action == "lose" and world.channel and isinstance(world.channel[-1], Publication):
        world.channel.pop()
        world.lost_silently = True


def is_change(identity: int) -> bool:
    """Whether the entry changes a message, and is no message of its own."""
    return identity % 3 == 0


def model(make: Callable[[], Follower], examples: int, **rules: Any):
    @settings(
        max_examples=examples, deadline=None, database=None, derandomize=True,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.integers(0, 2**32), st.integers(5, 120))
    def run(seed, length):
        play(make, seed, length, **rules)

    return run


def test_whatever_happens_everything_is_delivered_once_in_order_or_told():
    model(Follower, 2000)()


def test_of_a_publication_that_is_known_in_part_the_rest_is_delivered():
    follower = Follower()
    follower.wanted()
    follower.subscribed()
    log_read = follower.read_started()
    assert log_read is not None
    follower.state_came(LogState("e", 2, 1, (Reign("e", 1),)), log_read)
    entries = [Entry(offset, 0, "t", b"") for offset in (2, 3, 4)]
    publication = published("e", entries)
    assert publication.entries(follower.received(publication)) == entries[1:]
    assert follower.received(publication) == 0
    assert follower.current and follower.offset == 4


# ---- each rule, left out ---------------------------------------------------------------------------------


class NoLookAfterSubscribing(Follower):
    """Takes a confirmed subscription for a continuation."""

    def subscribed(self):
        was = (self.epoch, self.offset)
        effects = super().subscribed()
        if was[0] and Order.CHECK in effects:
            self._reading, self.current = False, True
            effects.remove(Order.CHECK)
        return effects


class EarlierReadsCount(Follower):
    """Takes the answer to a read from before the subscription for the look after it."""

    def _stray(self):
        if self._reading and self._read is not None:
            self.current = False
        else:
            super()._stray()


class NothingHeld(Follower):
    """Forgets what comes while a read is under way."""

    def _hold(self, read, publication):
        pass


class NoReigns(Follower):
    """Takes the next offset for the next message, whatever the epoch."""

    def received(self, publication):
        return super().received(structs.replace(publication, epoch=self.epoch))


class NoGapCheck(Follower):
    """Delivers whatever is newer."""

    def received(self, publication):
        if self.current and publication.epoch == self.epoch and publication.first > self.offset:
            self.offset = publication.first + len(publication.packed) - 1
            return len(publication.packed)
        return super().received(publication)


class NoTailCheck(Follower):
    """Does not care that the log's top was seen to be higher."""

    def behind(self, epoch, top):
        return []


class OverflowForgotten(Follower):
    """Drops what it cannot hold and goes on as if nothing had been."""

    def _hold(self, read, publication):
        if len(read.held) < 1:
            read.held.append(publication)


class NoWordOfHoles(Follower):
    """Passes over what was trimmed from among messages in silence."""

    def _take(self, page):
        return [one for one in super()._take(page) if not isinstance(one, TellGap)]


class HolesLikeOtherGaps(Follower):
    """Says that messages are lost where changes are."""

    def _hole(self, state, last):
        return TellGap(state.epoch, self.offset + 1, last)


@pytest.mark.parametrize(
    "mutant",
    [
        NoLookAfterSubscribing,
        EarlierReadsCount,
        NothingHeld,
        NoReigns,
        NoGapCheck,
        NoTailCheck,
        OverflowForgotten,
        NoWordOfHoles,
        HolesLikeOtherGaps,
    ],
    ids=lambda mutant: mutant.__name__,
)
def test_the_model_finds_the_fault_when_a_rule_is_left_out(mutant):
    with pytest.raises((AssertionError, TypeError)):
        model(mutant, 4000)()


def test_the_model_finds_the_fault_when_an_unsubscribe_without_a_connection_is_not_confirmed():
    with pytest.raises(AssertionError):
        model(Follower, 4000, confirms_without_connection=False)()
