"""Every order of events in a handover, with a kill of either side at every point: no two writers, no loss, no double.

The model runs the real `SenderState` and `ReceiverState` between two queues, a master that reaps, a log of two messages
that both workers follow at their own pace, and two connections. It visits every reachable state.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from workers.handover import receiver_state, sender_state

LOG = 2  # messages
IDS = ("a", "b")


@dataclass
class World:
    """One state of everything."""

    fence: bool = True
    compare: bool = True
    sender: sender_state.SenderState = field(default_factory=sender_state.SenderState)
    receiver: receiver_state.ReceiverState = field(default_factory=receiver_state.ReceiverState)
    to_receiver: list[tuple[object, ...]] = field(default_factory=list)
    to_sender: list[tuple[object, ...]] = field(default_factory=list)
    old_alive: bool = True
    new_alive: bool = True
    old_told: bool = False  # that the new one was reaped
    new_told: bool = False
    old_at: int = 0  # how far each worker has read the log
    new_at: int = 0
    writers: dict[str, set[str]] = field(default_factory=lambda: {one: {"old"} for one in IDS})
    old_has_copy: set[str] = field(default_factory=lambda: set(IDS))
    new_has_copy: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)  # given away with a Go that could arrive
    noted: dict[str, int] = field(default_factory=dict)
    seen: dict[str, list[int]] = field(default_factory=lambda: {one: [] for one in IDS})
    skip: dict[str, int] = field(default_factory=dict)  # the new worker's: deliver only above
    offered: bool = False
    kill_ordered: bool = False

    def key(self) -> str:
        return repr(self)


def deliver(world: World, who: str, offset: int) -> None:
    for one in IDS:
        if who in world.writers[one] and offset > world.skip.get(one, 0):
            world.seen[one].append(offset)


def resume(world: World, ids: tuple[str, ...]) -> None:
    for one in ids:
        world.writers[one].add("old")
        for offset in range(world.noted[one] + 1, world.old_at + 1):
            world.seen[one].append(offset)


def activate(world: World, ids: tuple[str, ...]) -> None:
    for one in ids:
        world.writers[one].add("new")
        if not world.compare:
            continue
        for offset in range(world.noted[one] + 1, world.new_at + 1):
            world.seen[one].append(offset)
        world.skip[one] = max(world.noted[one], world.new_at)


def carry_out_old(world: World, actions: list[sender_state.Action]) -> None:
    for action in actions:
        match action:
            case sender_state.SendGo(batch, ids):
                if not world.new_alive:  # the kernel refuses it: nobody can have read it
                    world.sender.on_undelivered(batch, ids)
                    continue
                world.to_receiver.append(("go", batch, ids))
                world.old_has_copy -= set(ids)
                world.gone |= set(ids)
            case sender_state.SendAbort(batch):
                world.to_receiver.append(("abort", batch))
            case sender_state.TakeBack(ids):
                resume(world, ids)
            case sender_state.AskKill():
                world.kill_ordered = True


def carry_out_new(world: World, actions: list[receiver_state.Action]) -> None:
    for action in actions:
        match action:
            case receiver_state.SendHeld(batch, ids):
                world.new_has_copy |= set(ids)
                world.to_sender.append(("held", batch, ids))
            case receiver_state.SendReleased(batch):
                world.to_sender.append(("released", batch))
            case receiver_state.Activate(ids):
                activate(world, ids)
            case receiver_state.CloseCopies(ids):
                world.new_has_copy -= set(ids)


def offer(world: World) -> None:
    world.offered = True
    for one in IDS:
        world.writers[one].discard("old")
        world.noted[one] = world.old_at
    world.sender.on_offered(1, IDS)
    world.to_receiver.append(("offer", 1, IDS))


def new_reads(world: World, arrived: int) -> None:
    kind, batch, *rest = world.to_receiver.pop(0)
    assert isinstance(batch, int)
    if kind == "offer":
        carry_out_new(world, world.receiver.on_offer(batch, IDS, arrived))
    elif kind == "go":
        carry_out_new(world, world.receiver.on_go(batch, rest[0]))  # type: ignore[arg-type]
    else:
        carry_out_new(world, world.receiver.on_abort(batch))


def old_reads(world: World) -> None:
    kind, batch, *rest = world.to_sender.pop(0)
    assert isinstance(batch, int)
    if kind == "held":
        carry_out_old(world, world.sender.on_held(batch, rest[0]))  # type: ignore[arg-type]
    else:
        carry_out_old(world, world.sender.on_released(batch))


def old_dies(world: World) -> None:
    world.old_alive = False
    world.old_has_copy.clear()
    for one in IDS:
        world.writers[one].discard("old")


def new_dies(world: World) -> None:
    world.new_alive = False
    world.new_has_copy.clear()
    world.to_receiver.clear()
    for one in IDS:
        world.writers[one].discard("new")


def new_told(world: World) -> None:
    world.new_told = True
    while world.to_receiver:  # first what the pair still holds
        new_reads(world, len(IDS))
    carry_out_new(world, world.receiver.on_sender_reaped())


def old_told(world: World) -> None:
    world.old_told = True
    world.to_sender.clear()
    carry_out_old(world, world.sender.on_receiver_reaped())


def old_follows(world: World) -> None:
    world.old_at += 1
    deliver(world, "old", world.old_at)


def new_follows(world: World) -> None:
    world.new_at += 1
    deliver(world, "new", world.new_at)


def successors(world: World) -> Iterator[World]:
    """Every next state."""

    def after(step: object, *args: object) -> World:
        following = copy.deepcopy(world)
        step(following, *args)  # type: ignore[operator]
        return following

    if world.old_alive:
        if world.old_at < LOG:
            yield after(old_follows)
        if not world.offered and not world.old_told:  # nothing is offered to the dead
            yield after(offer)
        if world.to_sender:
            yield after(old_reads)
        for stage, step in (
            (sender_state.Stage.OFFERED, "on_timeout"),
            (sender_state.Stage.ABORTING, "on_silence"),
        ):
            if any(at is stage for at, _ in world.sender.out.values()) and not world.sender.kill_asked:
                args = (1,) if step == "on_timeout" else ()
                yield after(lambda w, s=step, a=args: carry_out_old(w, getattr(w.sender, s)(*a)))
        if not world.new_alive and not world.old_told:
            yield after(old_told)
        yield after(old_dies)
    if world.new_alive:
        if world.new_at < LOG:
            yield after(new_follows)
        if world.to_receiver:
            for arrived in range(len(IDS) + 1) if world.to_receiver[0][0] == "offer" else (0,):
                yield after(new_reads, arrived)
        # Without the fence the new worker takes a long silence for a death.
        if not (world.old_alive and world.fence) and not world.new_told:
            yield after(new_told)
        yield after(new_dies)


def fault(world: World) -> str | None:
    """What is wrong in this state."""
    for one in IDS:
        if len(world.writers[one]) > 1:
            return f"two writers of {one}"
        seen = world.seen[one]
        if seen != list(range(1, len(seen) + 1)):
            return f"{one} saw {seen}"
    return None


def unfinished(world: World) -> str | None:
    """What is wrong in a state in which nothing more can happen but a death."""
    for one in IDS:
        served = world.writers[one]
        if world.old_alive and world.new_alive and not served:
            return f"nobody serves {one}"
        if world.old_alive and not served and one not in world.gone:
            return f"{one} was never given away, and nobody serves it"
        if served and len(world.seen[one]) < LOG:
            return f"{one} misses a message: {world.seen[one]}"
    return None


def explore(world: World) -> tuple[int, str | None]:
    """Visit every reachable state; the first fault found, if any."""
    visited = {world.key()}
    waiting = [world]
    while waiting:
        current = waiting.pop()
        wrong = fault(current)
        following = list(successors(current))
        deaths = current.old_alive + current.new_alive
        if wrong is None and len(following) == deaths:
            wrong = unfinished(current) if not current.sender.kill_asked else None
        if wrong is not None:
            return len(visited), wrong
        for one in following:
            if (key := one.key()) not in visited:
                visited.add(key)
                waiting.append(one)
    return len(visited), None


def test_no_order_of_events_and_deaths_breaks_a_hand_over() -> None:
    states, wrong = explore(World())
    assert wrong is None, wrong
    assert states > 1000


@pytest.mark.parametrize(
    ("fence", "compare", "expected"),
    [(False, True, ("two writers", "saw")), (True, False, ("saw", "misses"))],
    ids=["without the master's word", "without comparing positions"],
)
def test_the_model_finds_the_bug_when_a_rule_is_taken_out(
    fence: bool, compare: bool, expected: tuple[str, ...]
) -> None:
    _, wrong = explore(World(fence=fence, compare=compare))
    assert wrong is not None and any(word in wrong for word in expected), wrong
