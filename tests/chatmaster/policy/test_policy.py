"""The master's decisions, as transcripts: what happened, and what is ordered then. No process, no clock."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from chatmaster.contract import CONTRACT_VERSION, ExitCode, Failed
from chatmaster.policy import events
from chatmaster.policy.policy import Policy, ServerPhase
from chatmaster.policy.processes import Crash, PolicySnapshot, State

TIMING = events.Timing(ready_timeout=30, drain_timeout=10, stop_timeout=15, hang_timeout=15)


class Play:
    """A policy, a clock that only the test moves, and what the policy ordered."""

    def __init__(
        self, timing: events.Timing = TIMING, *, random: Callable[[], float] = lambda: 0.5, **counts: int
    ) -> None:
        self.policy = Policy(timing, random=random)
        self.now = 1000.0
        self.counts = counts or {"web": 2}

    def receive(self, event: events.Event) -> list[events.Action]:
        """Something happened; what is done about it, but for what is only said."""
        said = (events.LogLine, events.AnnounceDeath)
        return [action for action in self.policy.receive(event, self.now) if not isinstance(action, said)]

    def start(self) -> Play:
        """Every worker is ready."""
        for spawn in spawns(self.receive(events.StartRequested(self.counts))):
            self.receive(events.BecameReady(spawn.process))
        assert self.policy.phase is ServerPhase.RUNNING
        return self

    def after(self, seconds: float, *, silent: tuple[int, ...] = ()) -> list[events.Action]:
        """Time passes, a second at a time; every worker beats, but for the silent."""
        actions: list[events.Action] = []
        while seconds > 0:
            step = min(seconds, 1.0)
            self.now += step
            seconds -= step
            beats = {number: self.now for number in self.policy.processes if number not in silent}
            actions += self.receive(events.TimePassed(beats))
        return actions

    def current(self, slot: int) -> int:
        """The number of the process in a slot."""
        process = self.policy.slots[slot].current
        assert process is not None
        return process.number

    def states(self) -> list[State]:
        return [process.state for process in self.policy.processes.values()]


def spawns(actions: list[events.Action]) -> list[events.Spawn]:
    return [action for action in actions if isinstance(action, events.Spawn)]


def only(actions: list[events.Action]) -> Any:
    assert len(actions) == 1, actions
    return actions[0]


def reload_to(generation: int) -> events.ReloadRequested:
    return events.ReloadRequested(operation=1, generation=generation, timing=TIMING)


# ---- start -----------------------------------------------------------------------------------------


def test_start_is_done_when_every_worker_is_ready():
    play = Play(web=2)
    first, second = spawns(play.receive(events.StartRequested({"web": 2})))
    assert (first.slot, first.listeners, first.store_required) == (0, (("web", 0),), True)
    assert play.receive(events.BecameReady(first.process)) == []
    assert play.receive(events.BecameReady(second.process)) == [events.AnnounceReady()]


def test_several_workers_of_a_program_get_slots_in_its_order():
    found = spawns(Play().receive(events.StartRequested({"web": 2, "feed": 1})))
    assert [(spawn.slot, spawn.group, spawn.index) for spawn in found] == [(0, "web", 0), (1, "web", 1), (2, "feed", 0)]


@pytest.mark.parametrize(("said", "verdict"), [(5, ExitCode.NOT_READY), (6, ExitCode.STORE_UNREACHABLE), (1, 5)])
def test_a_worker_that_reports_a_failure_ends_the_start(said, verdict):
    play = Play()
    first, second = spawns(play.receive(events.StartRequested({"web": 2})))
    play.receive(events.ReportedFailure(first.process, Failed(said, "no luck", "Traceback: here")))
    fail, kill = play.receive(events.Exited(first.process, said))
    assert isinstance(fail, events.FailStart) and fail.exit_code == verdict
    assert "no luck" in fail.reason and "Traceback: here" in fail.reason
    assert kill == events.Kill(second.process, signal.SIGKILL)
    assert play.receive(events.Exited(second.process, -9)) == [events.EndMaster()]


def test_a_crash_loop_at_the_start_is_the_third_death_in_a_row():
    play = Play(web=1)
    process = spawns(play.receive(events.StartRequested({"web": 1})))[0].process
    for _ in range(2):
        process = spawns(play.receive(events.Exited(process, -11)))[0].process
    fail, finish = play.receive(events.Exited(process, -11))
    assert isinstance(fail, events.FailStart) and fail.exit_code == ExitCode.NOT_READY and "SIGSEGV" in fail.reason
    assert finish == events.EndMaster()


def test_a_worker_that_is_not_ready_in_time_shows_its_stack_and_ends_the_start():
    play = Play(web=1)
    process = spawns(play.receive(events.StartRequested({"web": 1})))[0].process
    assert play.after(29) == []
    assert play.after(1.5) == [events.Kill(process, signal.SIGABRT)]
    fail, _ = play.receive(events.Exited(process, -6))
    assert isinstance(fail, events.FailStart) and "not ready within 30 s" in fail.reason


# ---- deaths ----------------------------------------------------------------------------------------


def test_a_dead_worker_is_replaced_at_once_in_its_slot():
    play = Play().start()
    spawn = only(play.receive(events.Exited(play.current(1), -9)))
    assert isinstance(spawn, events.Spawn) and (spawn.slot, spawn.index, spawn.store_required) == (1, 1, False)
    assert play.policy.slots[1].restarts == 1 and play.policy.slots[1].last_exit == "killed by SIGKILL"


def test_a_worker_that_lived_for_five_seconds_counts_anew():
    play = Play(web=1).start()
    for _ in range(6):
        play.after(5)
        spawn = only(play.receive(events.Exited(play.current(0), 1)))
        play.receive(events.BecameReady(spawn.process))


def test_back_off_begins_with_the_third_quick_death_in_a_row():
    play = Play(web=1).start()
    for _ in range(2):
        spawn = only(play.receive(events.Exited(play.current(0), 1)))
        play.receive(events.BecameReady(spawn.process))
    assert spawns(play.receive(events.Exited(play.current(0), 1))) == []
    assert play.policy.next_deadline() == play.now + 1
    assert len(spawns(play.after(1))) == 1


def test_while_a_slot_backs_off_a_sibling_serves_its_queue():
    play = Play(web=2).start()
    for _ in range(2):
        play.receive(events.BecameReady(only(play.receive(events.Exited(play.current(0), 1))).process))
    assert play.receive(events.Exited(play.current(0), 1)) == [events.AdoptListener(play.current(1), ("web", 0))]


def test_who_takes_the_place_of_a_sibling_that_died_serves_the_queue_of_a_slot_that_backs_off():
    play = Play(web=2).start()
    for _ in range(2):
        play.receive(events.BecameReady(only(play.receive(events.Exited(play.current(0), 1))).process))
    play.receive(events.Exited(play.current(0), 1))
    spawn = only(play.receive(events.Exited(play.current(1), -9)))
    assert play.receive(events.BecameReady(spawn.process)) == [events.AdoptListener(spawn.process, ("web", 0))]


def test_where_nobody_is_left_one_slot_tries_every_second():
    play = Play(web=2).start()
    for _ in range(5):
        for slot in (0, 1):
            while play.policy.slots[slot].current is None:
                play.after(1)
            spawned = play.receive(events.Exited(play.current(slot), 1))
            for spawn in spawns(spawned):
                play.receive(events.BecameReady(spawn.process))
    assert not any(slot.current for slot in play.policy.slots.values())
    waits = sorted((slot.respawn or 0.0) - play.now for slot in play.policy.slots.values())
    assert waits[0] <= 1 < waits[1]


def test_what_the_log_says_of_the_next_process_stays_true() -> None:
    """Each wait that was said is kept, or corrected by a line of its own."""
    play = Play(web=2).start()
    promised: dict[int, float] = {}
    corrected = 0

    def hear(event: events.Event) -> list[events.Action]:
        nonlocal corrected
        actions = play.policy.receive(event, play.now)
        for action in actions:
            if not isinstance(action, events.LogLine):
                continue
            if said := re.search(r"worker (\d+) .*its replacement starts in ([\d.]+) s", action.text):
                promised[int(said[1])] = play.now + float(said[2])
            if said := re.search(r"worker (\d+) starts in ([\d.]+) s instead of", action.text):
                promised[int(said[1])] = play.now + float(said[2])
                corrected += 1
        return actions

    for _ in range(60):
        play.now += 0.5
        for spawn in spawns(hear(events.TimePassed(dict.fromkeys(play.policy.processes, play.now)))):
            due = promised.pop(spawn.slot, play.now)
            assert abs(due - play.now) <= 0.5, f"worker {spawn.slot} was promised for {due - play.now:+.1f} s"
            hear(events.BecameReady(spawn.process))
        for process in list(play.policy.processes.values()):
            for spawn in spawns(hear(events.Exited(process.number, 1))):
                hear(events.BecameReady(spawn.process))
    assert corrected


def test_a_system_without_processes_left_is_a_death_with_back_off():
    play = Play(web=1).start()
    spawn = only(play.receive(events.Exited(play.current(0), -9)))
    spawn = only(play.receive(events.CouldNotFork(spawn.process, "EAGAIN")))
    assert play.receive(events.CouldNotFork(spawn.process, "EAGAIN")) == []
    assert "EAGAIN" in play.policy.slots[0].last_exit


# ---- hangs and stops -------------------------------------------------------------------------------


def test_a_hung_worker_shows_its_stack_then_is_killed_then_replaced():
    play = Play(web=1).start()
    hung = play.current(0)
    assert play.after(15, silent=(hung,)) == []
    assert play.after(1, silent=(hung,)) == [events.Kill(hung, signal.SIGABRT)]
    assert play.states() == [State.HUNG]
    assert play.after(2, silent=(hung,)) == [events.Kill(hung, signal.SIGKILL)]
    assert len(spawns(play.receive(events.Exited(hung, -9)))) == 1
    assert play.policy.slots[0].last_exit == "hung: killed by SIGKILL"


def test_a_stopped_worker_is_neither_hung_nor_replaced():
    play = Play(web=1).start()
    stopped = play.current(0)
    play.receive(events.WasStopped(stopped))
    assert play.states() == [State.STOPPED]
    assert play.after(3600, silent=(stopped,)) == []


def test_a_worker_that_is_continued_has_its_whole_time_again():
    play = Play(web=1).start()
    stopped = play.current(0)
    play.receive(events.WasStopped(stopped))
    play.after(100, silent=(stopped,))
    play.receive(events.WasContinued(stopped))
    assert play.after(15, silent=(stopped,)) == []
    assert play.after(1, silent=(stopped,)) == [events.Kill(stopped, signal.SIGABRT)]


def test_a_starting_worker_that_is_stopped_is_not_late():
    play = Play(web=1)
    process = spawns(play.receive(events.StartRequested({"web": 1})))[0].process
    play.receive(events.WasStopped(process))
    assert play.after(100) == []
    play.receive(events.WasContinued(process))
    assert play.after(29) == []
    assert play.after(2) == [events.Kill(process, signal.SIGABRT)]


def test_a_master_that_was_away_itself_judges_nobody():
    play = Play(web=2).start()
    play.after(2)
    play.now += 60
    assert play.receive(events.TimePassed({})) == []
    assert play.after(14, silent=(play.current(0), play.current(1))) == []


# ---- reload ----------------------------------------------------------------------------------------


def test_reload_goes_slot_by_slot_new_before_old():
    play = Play(web=2).start()
    old = [play.current(0), play.current(1)]
    first = only(play.receive(reload_to(2)))
    assert isinstance(first, events.Spawn) and (first.slot, first.generation, first.listeners) == (0, 2, (("web", 0),))
    leave, second = play.receive(events.BecameReady(first.process))
    assert leave == events.HandOverSlot(old[0], first.process, 40, reload=True)
    assert isinstance(second, events.Spawn) and second.slot == 1
    assert play.receive(events.BecameReady(second.process)) == [
        events.HandOverSlot(old[1], second.process, 40, reload=True)
    ]
    assert play.receive(events.Exited(old[0], 0)) == []
    assert play.receive(events.Exited(old[1], 0)) == [events.EndOperation(1)]
    assert play.policy.generation == 2 and play.policy.slots[0].restarts == 0


@pytest.mark.parametrize("how", ["exits", "crashes", "is late"])
def test_a_reload_that_fails_leaves_the_old_workers_alone(how):
    play = Play(web=2).start()
    old = [play.current(0), play.current(1)]
    new = only(play.receive(reload_to(2))).process
    if how == "exits":
        play.receive(events.ReportedFailure(new, Failed(5, "SyntaxError", "Traceback")))
    if how == "is late":
        assert play.after(30) == [events.Kill(new, signal.SIGABRT)]
    end = only(play.receive(events.Exited(new, 5 if how == "exits" else -6)))
    assert isinstance(end, events.EndOperation) and end.exit_code == ExitCode.NOT_READY
    assert how != "exits" or "SyntaxError" in end.reason
    assert [play.current(0), play.current(1)] == old and play.policy.generation == 1
    # Nothing was restarted, and nobody who served has crashed.
    slot = play.policy.slots[0]
    assert (slot.restarts, slot.quick_deaths, play.policy.crash) == (0, 0, None)
    assert slot.last_exit.startswith("generation 2 did not get ready: ")
    spawn = only(play.receive(events.Exited(old[0], -9)))
    assert isinstance(spawn, events.Spawn) and spawn.generation == 1
    assert slot.restarts == 1 and play.policy.crash == Crash(0, 1, "killed by SIGKILL", play.now)


def test_a_new_worker_that_dies_soon_after_ends_the_reload():
    play = Play(web=3).start()
    first = only(play.receive(reload_to(2)))
    second = spawns(play.receive(events.BecameReady(first.process)))[0]
    actions = play.receive(events.Exited(first.process, -11))
    assert events.Kill(second.process, signal.SIGKILL) in actions
    end = next(action for action in actions if isinstance(action, events.EndOperation))
    assert end.exit_code == 5 and end.reason.endswith("generation 2 already runs in 0; the others are unchanged")
    assert [spawn.slot for spawn in spawns(actions)] == [0]


def test_an_old_worker_that_dies_during_its_replacement_is_not_replaced_twice():
    play = Play(web=1).start()
    old = play.current(0)
    new = only(play.receive(reload_to(2))).process
    assert play.receive(events.Exited(old, -9)) == []
    assert play.receive(events.BecameReady(new)) == [events.EndOperation(1)]


def test_when_old_and_new_die_the_slot_goes_on_as_it_was():
    play = Play(web=1).start()
    old = play.current(0)
    new = only(play.receive(reload_to(2))).process
    play.receive(events.Exited(old, -9))
    end, spawn = play.receive(events.Exited(new, 5))
    assert isinstance(end, events.EndOperation) and end.exit_code == 5
    assert isinstance(spawn, events.Spawn) and spawn.generation == 1


def test_an_old_worker_that_does_not_leave_is_killed():
    play = Play(web=1).start()
    old = play.current(0)
    play.receive(events.BecameReady(only(play.receive(reload_to(2))).process))
    assert play.after(54) == []  # 40 to hand its connections over, 15 to send the others away
    assert play.after(1) == [events.Kill(old, signal.SIGKILL)]
    assert play.receive(events.Exited(old, -9)) == [events.EndOperation(1)]


def test_an_old_worker_that_is_stopped_is_only_told_to_drain():
    play = Play(web=1).start()
    old = play.current(0)
    play.receive(events.WasStopped(old))
    new = only(play.receive(reload_to(2))).process
    assert play.receive(events.BecameReady(new)) == [events.DrainWorker(old, 10, reload=True)]


def test_an_heir_that_gives_no_answer_is_killed_and_replaced():
    play = Play(web=1).start()
    new = only(play.receive(reload_to(2))).process
    play.receive(events.BecameReady(new))
    assert play.receive(events.FellSilent(new)) == [events.Kill(new, signal.SIGKILL)]
    play.receive(events.FellSilent(new))
    assert play.policy.silences == 1
    actions = play.receive(events.Exited(new, -9))
    assert [spawn.slot for spawn in spawns(actions)] == [0]


def test_an_old_worker_whose_heir_dies_gets_the_next_one():
    play = Play(web=1).start()
    old = play.current(0)
    first = only(play.receive(reload_to(2))).process
    assert play.receive(events.BecameReady(first)) == [events.HandOverSlot(old, first, 40, reload=True)]
    play.after(5)
    second = spawns(play.receive(events.Exited(first, -9)))[0].process
    play.after(2)
    assert play.receive(events.BecameReady(second)) == [events.HandOverSlot(old, second, 33)]
    assert play.after(47) == []
    assert play.after(1) == [events.Kill(old, signal.SIGKILL)]


def test_an_heir_that_dies_is_followed_by_a_sibling_at_once_and_by_nobody_when_the_server_stops():
    play = Play(web=2).start()
    old, sibling = play.current(0), play.current(1)
    heir = only(play.receive(events.ReplacementRequested(old, "deaf"))).process
    play.receive(events.BecameReady(heir))
    assert events.HandOverSlot(old, sibling, 40) in play.receive(events.Exited(heir, -9))
    play.receive(events.StopRequested(15))
    assert play.receive(events.Exited(sibling, -9)) == []


def test_what_is_asked_during_a_reload_comes_after_it():
    play = Play(web=1).start()
    old = play.current(0)
    new = only(play.receive(reload_to(2))).process
    assert play.receive(events.ScaleRequested(2, "web", 2)) == []
    play.receive(events.BecameReady(new))
    end, spawn = play.receive(events.Exited(old, 0))
    assert end == events.EndOperation(1)
    assert isinstance(spawn, events.Spawn) and (spawn.slot, spawn.generation) == (1, 2)


def test_a_reload_replaces_a_slot_that_backs_off():
    play = Play(web=1).start()
    for _ in range(2):
        play.receive(events.BecameReady(only(play.receive(events.Exited(play.current(0), 1))).process))
    assert play.receive(events.Exited(play.current(0), 1)) == []
    new = only(play.receive(reload_to(2)))
    assert isinstance(new, events.Spawn) and new.generation == 2
    assert play.receive(events.BecameReady(new.process)) == [events.EndOperation(1)]


# ---- scaling ---------------------------------------------------------------------------------------


def test_scaling_up_ends_when_the_new_ones_are_ready():
    play = Play(web=1).start()
    new = [spawn.process for spawn in spawns(play.receive(events.ScaleRequested(1, "web", 3)))]
    assert play.receive(events.BecameReady(new[0])) == []
    assert play.receive(events.BecameReady(new[1])) == [events.EndOperation(1)]


def test_scaling_down_hands_the_queue_on_before_the_worker_leaves():
    play = Play(web=2).start()
    stays, leaves = play.current(0), play.current(1)
    assert play.receive(events.ScaleRequested(1, "web", 1)) == [
        events.AdoptListener(stays, ("web", 1)),
        events.HandOverSlot(leaves, stays, 40),
    ]
    assert play.receive(events.Exited(leaves, 0)) == [events.EndOperation(1)]
    spawn = only(play.receive(events.Exited(stays, -9)))
    assert isinstance(spawn, events.Spawn) and spawn.listeners == (("web", 0), ("web", 1))


def test_orphans_are_spread_and_none_goes_to_one_that_leaves_too():
    play = Play(web=4).start()
    stays, leaves = [play.current(0), play.current(1)], [play.current(2), play.current(3)]
    actions = play.receive(events.ScaleRequested(1, "web", 2))
    adopted = [action for action in actions if isinstance(action, events.AdoptListener)]
    assert [action.process for action in adopted] == stays
    handed = [(action.process, action.heir) for action in actions if isinstance(action, events.HandOverSlot)]
    assert handed == list(zip(leaves, stays, strict=True))


def test_a_slot_that_comes_back_gets_its_queue_back():
    play = Play(web=2).start()
    stays, leaves = play.current(0), play.current(1)
    play.receive(events.ScaleRequested(1, "web", 1))
    play.receive(events.Exited(leaves, 0))
    back = only(play.receive(events.ScaleRequested(2, "web", 2)))
    assert isinstance(back, events.Spawn) and (back.index, back.listeners) == (1, (("web", 1),))
    play.receive(events.BecameReady(back.process))
    again = only(play.receive(events.Exited(stays, -9)))
    assert isinstance(again, events.Spawn) and again.listeners == (("web", 0),)


def test_scaling_up_that_fails_keeps_what_is_ready():
    play = Play(web=1).start()
    good, bad = (spawn.process for spawn in spawns(play.receive(events.ScaleRequested(1, "web", 3))))
    play.receive(events.BecameReady(good))
    end = play.receive(events.Exited(bad, 5))[-1]
    assert isinstance(end, events.EndOperation) and end.exit_code == ExitCode.NOT_READY
    assert play.policy.counts == {"web": 2} and sorted(play.policy.slots) == [0, 1]


@pytest.mark.parametrize(("group", "count"), [("web", 0), ("web", 512), ("nobody", 1)])
def test_scaling_to_what_cannot_be_is_refused(group, count):
    end = only(Play().start().receive(events.ScaleRequested(1, group, count)))
    assert isinstance(end, events.EndOperation) and end.exit_code == ExitCode.USAGE


def test_a_scaled_worker_that_crashes_while_leaving_does_not_come_back():
    play = Play(web=2).start()
    leaves = play.current(1)
    play.receive(events.ScaleRequested(1, "web", 1))
    assert play.receive(events.Exited(leaves, -11)) == [events.EndOperation(1)]


# ---- age and size ----------------------------------------------------------------------------------


def test_a_worker_is_replaced_at_its_age_with_jitter_one_at_a_time():
    ages = iter([0.0, 1.0, 0.5, 0.5])
    play = Play(events.Timing(max_lifetime=100), random=lambda: next(ages), web=2).start()
    old = play.current(0)
    assert play.after(90) == []
    new = only(play.after(1))
    assert isinstance(new, events.Spawn) and (new.slot, new.generation) == (0, 1)
    assert play.after(25) == []  # the other one is due as well by now, and waits
    actions = play.receive(events.BecameReady(new.process))
    assert actions == [events.HandOverSlot(old, new.process, 40)]
    assert play.receive(events.Exited(old, 0)) == []
    assert [spawn.slot for spawn in spawns(play.after(1))] == [1]


def test_a_worker_that_is_too_large_is_replaced():
    play = Play(events.Timing(max_memory=1000), web=1).start()
    process = play.current(0)
    assert play.receive(events.TimePassed({process: play.now}, {process: 1000})) == []
    (new,) = spawns(play.receive(events.TimePassed({process: play.now}, {process: 1001})))
    play.receive(events.BecameReady(new.process))
    play.receive(events.Exited(process, 0))
    sizes = {new.process: 1001}  # it is as large from the beginning: no reason to do nothing else any more
    for _ in range(59):
        play.now += 1
        assert play.receive(events.TimePassed({new.process: play.now}, sizes)) == []
    play.now += 2
    assert len(spawns(play.receive(events.TimePassed({new.process: play.now}, sizes)))) == 1


def test_a_worker_can_ask_to_be_replaced():
    play = Play(web=2).start()
    old = play.current(1)
    new = only(play.receive(events.ReplacementRequested(old, "its bus is deaf")))
    assert isinstance(new, events.Spawn) and new.slot == 1
    assert play.receive(events.ReplacementRequested(old, "its bus is deaf")) == []
    assert play.receive(events.BecameReady(new.process)) == [events.HandOverSlot(old, new.process, 40)]
    assert play.receive(events.ReplacementRequested(old, "its bus is deaf")) == []


# ---- the end ---------------------------------------------------------------------------------------


def test_stop_drains_everyone_then_kills_then_finishes():
    play = Play(web=2).start()
    first, second = play.current(0), play.current(1)
    assert play.receive(events.StopRequested(15)) == [
        events.DrainWorker(first, 10, final=True),
        events.DrainWorker(second, 10, final=True),
    ]
    assert play.receive(events.Exited(first, 0)) == []
    assert play.after(15) == [events.Kill(second, signal.SIGKILL)]
    assert play.receive(events.Exited(second, -9)) == [events.EndMaster()]


def test_a_graceful_stop_waits_for_ever():
    play = Play(web=1).start()
    assert play.receive(events.StopRequested(None)) == [
        events.DrainWorker(play.current(0), 10, graceful=True, final=True)
    ]
    assert play.after(3600) == []


def test_a_stop_with_a_deadline_ends_a_graceful_one():
    play = Play(web=1).start()
    process = play.current(0)
    play.receive(events.StopRequested(None))
    assert play.receive(events.StopRequested(5)) == [events.DrainWorker(process, 4, final=True)]
    assert play.after(5) == [events.Kill(process, signal.SIGKILL)]


def test_a_restart_tells_the_clients_to_come_back():
    play = Play(web=1).start()
    assert play.receive(events.StopRequested(15, restart=True)) == [
        events.DrainWorker(play.current(0), 10, final=False)
    ]


def test_stopping_ends_a_reload_and_whatever_waits():
    play = Play(web=1).start()
    old = play.current(0)
    new = only(play.receive(reload_to(2))).process
    play.receive(events.ScaleRequested(2, "web", 2))
    actions = play.receive(events.StopRequested(15))
    assert [action.operation for action in actions if isinstance(action, events.EndOperation)] == [1, 2]
    assert events.Kill(new, signal.SIGKILL) in actions and events.DrainWorker(old, 10, final=True) in actions


def test_a_stopped_worker_is_killed_at_the_end_of_the_stop():
    play = Play(web=1).start()
    process = play.current(0)
    play.receive(events.WasStopped(process))
    play.receive(events.StopRequested(15))
    assert play.after(15, silent=(process,)) == [events.Kill(process, signal.SIGKILL)]


def test_a_death_while_stopping_brings_nobody_back():
    play = Play(web=2).start()
    play.receive(events.StopRequested(15))
    assert play.receive(events.Exited(play.current(0), -9)) == []


def test_a_hurry_kills_what_is_left():
    play = Play(web=1).start()
    play.receive(events.StopRequested(15))
    assert play.receive(events.HurryRequested()) == [events.Kill(play.current(0), signal.SIGKILL)]


def test_every_death_is_told_to_the_siblings():
    play = Play(web=2).start()
    dead = play.current(0)
    assert events.AnnounceDeath(dead) in play.policy.receive(events.Exited(dead, -9), play.now)


# ---- upgrade ---------------------------------------------------------------------------------------


def handed_on(play: Play) -> Play:
    """The same play with a policy of another image, made from what this one would leave."""
    assert play.policy.settled
    data = msgspec.msgpack.encode(play.policy.snapshot())
    after = Play()
    after.policy = Policy.restore(msgspec.msgpack.decode(data, type=PolicySnapshot), TIMING)
    after.now = play.now
    return after


def checkered() -> Play:
    """A server with a past: scaled down, one slot backing off with its queue lent out, one worker stopped."""
    play = Play(web=3).start()
    leaves = play.current(2)
    play.receive(events.ScaleRequested(1, "web", 2))
    play.receive(events.Exited(leaves, 0))
    for _ in range(3):
        play.receive(events.BecameReady(play.current(0)))
        play.receive(events.Exited(play.current(0), -9))
    play.receive(events.WasStopped(play.current(1)))
    return play


FUTURES: dict[str, Callable[[Play], list[events.Action]]] = {
    "reload": lambda play: play.receive(reload_to(2)),
    "scale": lambda play: play.receive(events.ScaleRequested(2, "web", 4)),
    "a death": lambda play: play.receive(events.Exited(play.current(1), -11)),
    "continued": lambda play: (
        play.receive(events.WasContinued(play.current(1))) + play.after(20, silent=(play.current(1),))
    ),
    "much time": lambda play: play.after(60),
    "stop": lambda play: play.receive(events.StopRequested(15)),
    "impatience": lambda play: play.receive(events.StopRequested(None)) + play.receive(events.HurryRequested()),
}


@pytest.mark.parametrize("future", FUTURES)
def test_a_policy_made_from_the_view_of_another_decides_the_same(future):
    left, right = checkered(), handed_on(checkered())
    assert right.policy.slots == left.policy.slots and right.policy.processes == left.policy.processes
    assert FUTURES[future](left) == FUTURES[future](right) != []
    assert left.after(40) == right.after(40)
    assert left.policy.slots == right.policy.slots


def test_nothing_is_handed_on_while_connections_move_or_workers_leave():
    play = Play(web=1).start()
    old = play.current(0)
    new = only(play.receive(reload_to(2))).process
    assert not play.policy.settled
    play.receive(events.BecameReady(new))
    assert not play.policy.settled
    play.receive(events.Exited(old, 0))
    assert play.policy.settled


def test_a_worker_of_another_contract_drains_instead_of_handing_over():
    play = handed_on(Play(web=1).start())
    old = play.current(0)
    new = only(play.receive(reload_to(2))).process
    assert play.receive(events.BecameReady(new, CONTRACT_VERSION + 1)) == [events.DrainWorker(old, 10, reload=True)]


def test_accept_queues_of_slots_that_were_scaled_away_before_a_restart_have_an_heir():
    policy = Policy(events.Timing())
    actions = policy.receive(events.StartRequested({"w": 2}, (("w", 0), ("w", 1), ("w", 2), ("w", 3))), 0.0)
    assert [action.listeners for action in actions if isinstance(action, events.Spawn)] == [
        (("w", 0), ("w", 2)),
        (("w", 1), ("w", 3)),
    ]
