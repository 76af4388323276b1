"""The master's decisions, as transcripts: what happened, and what is ordered then. No process, no clock."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from chatmaster.contract import CONTRACT_VERSION, ExitCode, Failed
from chatmaster.policy import events as d
from chatmaster.policy.policy import Phase, Policy
from chatmaster.policy.processes import Crash, State, View, backoff

TIMING = d.Timing(ready_timeout=30, drain_timeout=10, stop_timeout=15, hang_timeout=15)


class Play:
    """A policy, a clock that only the test moves, and what the policy ordered."""

    def __init__(self, timing: d.Timing = TIMING, *, random: Callable[[], float] = lambda: 0.5, **counts: int) -> None:
        self.policy = Policy(timing, random=random)
        self.now = 1000.0
        self.counts = counts or {"web": 2}

    def tell(self, event: d.Event) -> list[d.Action]:
        """Something happened; what is done about it, but for what is only said."""
        said = (d.Note, d.TellReaped)
        return [action for action in self.policy.receive(event, self.now) if not isinstance(action, said)]

    def start(self) -> Play:
        """Every worker is ready."""
        for spawn in spawns(self.tell(d.StartAsked(self.counts))):
            self.tell(d.BecameReady(spawn.process))
        assert self.policy.phase is Phase.RUNNING
        return self

    def after(self, seconds: float, *, silent: tuple[int, ...] = ()) -> list[d.Action]:
        """Time passes, a second at a time; every worker beats, but for the silent."""
        actions: list[d.Action] = []
        while seconds > 0:
            step = min(seconds, 1.0)
            self.now += step
            seconds -= step
            beats = {number: self.now for number in self.policy.processes if number not in silent}
            actions += self.tell(d.TimePassed(beats))
        return actions

    def current(self, slot: int) -> int:
        """The number of the process in a slot."""
        process = self.policy.slots[slot].current
        assert process is not None
        return process.number

    def states(self) -> list[State]:
        return [process.state for process in self.policy.processes.values()]


def spawns(actions: list[d.Action]) -> list[d.Spawn]:
    return [action for action in actions if isinstance(action, d.Spawn)]


def only(actions: list[d.Action]) -> Any:
    assert len(actions) == 1, actions
    return actions[0]


def reload_to(generation: int) -> d.ReloadAsked:
    return d.ReloadAsked(operation=1, generation=generation, timing=TIMING)


# ---- start -----------------------------------------------------------------------------------------


def test_start_is_done_when_every_worker_is_ready():
    play = Play(web=2)
    first, second = spawns(play.tell(d.StartAsked({"web": 2})))
    assert (first.slot, first.listeners, first.store_required) == (0, (("web", 0),), True)
    assert play.tell(d.BecameReady(first.process)) == []
    assert play.tell(d.BecameReady(second.process)) == [d.AnnounceReady()]


def test_several_workers_of_a_program_get_slots_in_its_order():
    found = spawns(Play().tell(d.StartAsked({"web": 2, "feed": 1})))
    assert [(spawn.slot, spawn.group, spawn.index) for spawn in found] == [(0, "web", 0), (1, "web", 1), (2, "feed", 0)]


@pytest.mark.parametrize(("said", "verdict"), [(5, ExitCode.NOT_READY), (6, ExitCode.STORE_UNREACHABLE), (1, 5)])
def test_a_worker_that_reports_a_failure_ends_the_start(said, verdict):
    play = Play()
    first, second = spawns(play.tell(d.StartAsked({"web": 2})))
    play.tell(d.ReportedFailure(first.process, Failed(said, "no luck", "Traceback: here")))
    fail, kill = play.tell(d.Exited(first.process, said))
    assert isinstance(fail, d.FailStart) and fail.exit_code == verdict
    assert "no luck" in fail.reason and "Traceback: here" in fail.reason
    assert kill == d.Kill(second.process, signal.SIGKILL)
    assert play.tell(d.Exited(second.process, -9)) == [d.Finish()]


def test_a_crash_loop_at_the_start_is_the_third_death_in_a_row():
    play = Play(web=1)
    process = spawns(play.tell(d.StartAsked({"web": 1})))[0].process
    for _ in range(2):
        process = spawns(play.tell(d.Exited(process, -11)))[0].process
    fail, finish = play.tell(d.Exited(process, -11))
    assert isinstance(fail, d.FailStart) and fail.exit_code == ExitCode.NOT_READY and "SIGSEGV" in fail.reason
    assert finish == d.Finish()


def test_a_worker_that_is_not_ready_in_time_shows_its_stack_and_ends_the_start():
    play = Play(web=1)
    process = spawns(play.tell(d.StartAsked({"web": 1})))[0].process
    assert play.after(29) == []
    assert play.after(1.5) == [d.Kill(process, signal.SIGABRT)]
    fail, _ = play.tell(d.Exited(process, -6))
    assert isinstance(fail, d.FailStart) and "not ready within 30 s" in fail.reason


# ---- deaths ----------------------------------------------------------------------------------------


def test_a_dead_worker_is_replaced_at_once_in_its_slot():
    play = Play().start()
    spawn = only(play.tell(d.Exited(play.current(1), -9)))
    assert isinstance(spawn, d.Spawn) and (spawn.slot, spawn.index, spawn.store_required) == (1, 1, False)
    assert play.policy.slots[1].restarts == 1 and play.policy.slots[1].last_exit == "killed by SIGKILL"


def test_back_off_begins_with_the_third_quick_death_in_a_row():
    assert [backoff(deaths) for deaths in range(9)] == [0, 0, 0, 1, 2, 4, 8, 16, 30]
    play = Play(web=1).start()
    for _ in range(2):
        spawn = only(play.tell(d.Exited(play.current(0), 1)))
        play.tell(d.BecameReady(spawn.process))
    assert spawns(play.tell(d.Exited(play.current(0), 1))) == []
    assert play.policy.next_look() == play.now + 1
    assert len(spawns(play.after(1))) == 1


def test_a_worker_that_lived_for_five_seconds_counts_anew():
    play = Play(web=1).start()
    for _ in range(6):
        play.after(5)
        spawn = only(play.tell(d.Exited(play.current(0), 1)))
        play.tell(d.BecameReady(spawn.process))


def test_while_a_slot_backs_off_a_sibling_serves_its_queue():
    play = Play(web=2).start()
    for _ in range(2):
        play.tell(d.BecameReady(only(play.tell(d.Exited(play.current(0), 1))).process))
    assert play.tell(d.Exited(play.current(0), 1)) == [d.Adopt(play.current(1), ("web", 0))]


def test_who_takes_the_place_of_a_sibling_that_died_serves_the_queue_of_a_slot_that_backs_off():
    play = Play(web=2).start()
    for _ in range(2):
        play.tell(d.BecameReady(only(play.tell(d.Exited(play.current(0), 1))).process))
    play.tell(d.Exited(play.current(0), 1))
    spawn = only(play.tell(d.Exited(play.current(1), -9)))
    assert play.tell(d.BecameReady(spawn.process)) == [d.Adopt(spawn.process, ("web", 0))]


def test_where_nobody_is_left_one_slot_tries_every_second():
    play = Play(web=2).start()
    for _ in range(5):
        for slot in (0, 1):
            while play.policy.slots[slot].current is None:
                play.after(1)
            spawned = play.tell(d.Exited(play.current(slot), 1))
            for spawn in spawns(spawned):
                play.tell(d.BecameReady(spawn.process))
    assert not any(slot.current for slot in play.policy.slots.values())
    waits = sorted((slot.respawn or 0.0) - play.now for slot in play.policy.slots.values())
    assert waits[0] <= 1 < waits[1]


def test_what_the_log_says_of_the_next_process_stays_true() -> None:
    """Each wait that was said is kept, or corrected by a line of its own."""
    play = Play(web=2).start()
    promised: dict[int, float] = {}
    corrected = 0

    def hear(event: d.Event) -> list[d.Action]:
        nonlocal corrected
        actions = play.policy.receive(event, play.now)
        for action in actions:
            if not isinstance(action, d.Note):
                continue
            if said := re.search(r"worker (\d+) .*the next one comes in ([\d.]+) s", action.text):
                promised[int(said[1])] = play.now + float(said[2])
            if said := re.search(r"worker (\d+) comes in ([\d.]+) s already, instead of", action.text):
                promised[int(said[1])] = play.now + float(said[2])
                corrected += 1
        return actions

    for _ in range(60):
        play.now += 0.5
        for spawn in spawns(hear(d.TimePassed(dict.fromkeys(play.policy.processes, play.now)))):
            due = promised.pop(spawn.slot, play.now)
            assert abs(due - play.now) <= 0.5, f"worker {spawn.slot} was promised for {due - play.now:+.1f} s"
            hear(d.BecameReady(spawn.process))
        for process in list(play.policy.processes.values()):
            for spawn in spawns(hear(d.Exited(process.number, 1))):
                hear(d.BecameReady(spawn.process))
    assert corrected


def test_a_system_without_processes_left_is_a_death_with_back_off():
    play = Play(web=1).start()
    spawn = only(play.tell(d.Exited(play.current(0), -9)))
    spawn = only(play.tell(d.CouldNotFork(spawn.process, "EAGAIN")))
    assert play.tell(d.CouldNotFork(spawn.process, "EAGAIN")) == []
    assert "EAGAIN" in play.policy.slots[0].last_exit


# ---- hangs and stops -------------------------------------------------------------------------------


def test_a_hung_worker_shows_its_stack_then_is_killed_then_replaced():
    play = Play(web=1).start()
    hung = play.current(0)
    assert play.after(15, silent=(hung,)) == []
    assert play.after(1, silent=(hung,)) == [d.Kill(hung, signal.SIGABRT)]
    assert play.states() == [State.HUNG]
    assert play.after(2, silent=(hung,)) == [d.Kill(hung, signal.SIGKILL)]
    assert len(spawns(play.tell(d.Exited(hung, -9)))) == 1
    assert play.policy.slots[0].last_exit == "hung: killed by SIGKILL"


def test_a_stopped_worker_is_neither_hung_nor_replaced():
    play = Play(web=1).start()
    stopped = play.current(0)
    play.tell(d.WasStopped(stopped))
    assert play.states() == [State.STOPPED]
    assert play.after(3600, silent=(stopped,)) == []


def test_a_worker_that_is_continued_has_its_whole_time_again():
    play = Play(web=1).start()
    stopped = play.current(0)
    play.tell(d.WasStopped(stopped))
    play.after(100, silent=(stopped,))
    play.tell(d.WasContinued(stopped))
    assert play.after(15, silent=(stopped,)) == []
    assert play.after(1, silent=(stopped,)) == [d.Kill(stopped, signal.SIGABRT)]


def test_a_starting_worker_that_is_stopped_is_not_late():
    play = Play(web=1)
    process = spawns(play.tell(d.StartAsked({"web": 1})))[0].process
    play.tell(d.WasStopped(process))
    assert play.after(100) == []
    play.tell(d.WasContinued(process))
    assert play.after(29) == []
    assert play.after(2) == [d.Kill(process, signal.SIGABRT)]


def test_a_master_that_was_away_itself_judges_nobody():
    play = Play(web=2).start()
    play.after(2)
    play.now += 60
    assert play.tell(d.TimePassed({})) == []
    assert play.after(14, silent=(play.current(0), play.current(1))) == []


# ---- reload ----------------------------------------------------------------------------------------


def test_reload_goes_slot_by_slot_new_before_old():
    play = Play(web=2).start()
    old = [play.current(0), play.current(1)]
    first = only(play.tell(reload_to(2)))
    assert isinstance(first, d.Spawn) and (first.slot, first.generation, first.listeners) == (0, 2, (("web", 0),))
    leave, second = play.tell(d.BecameReady(first.process))
    assert leave == d.HandOver(old[0], first.process, 40, reload=True)
    assert isinstance(second, d.Spawn) and second.slot == 1
    assert play.tell(d.BecameReady(second.process)) == [d.HandOver(old[1], second.process, 40, reload=True)]
    assert play.tell(d.Exited(old[0], 0)) == []
    assert play.tell(d.Exited(old[1], 0)) == [d.EndOperation(1)]
    assert play.policy.generation == 2 and play.policy.slots[0].restarts == 0


@pytest.mark.parametrize("how", ["exits", "crashes", "is late"])
def test_a_reload_that_fails_leaves_the_old_workers_alone(how):
    play = Play(web=2).start()
    old = [play.current(0), play.current(1)]
    new = only(play.tell(reload_to(2))).process
    if how == "exits":
        play.tell(d.ReportedFailure(new, Failed(5, "SyntaxError", "Traceback")))
    if how == "is late":
        assert play.after(30) == [d.Kill(new, signal.SIGABRT)]
    end = only(play.tell(d.Exited(new, 5 if how == "exits" else -6)))
    assert isinstance(end, d.EndOperation) and end.exit_code == ExitCode.NOT_READY
    assert how != "exits" or "SyntaxError" in end.reason
    assert [play.current(0), play.current(1)] == old and play.policy.generation == 1
    # Nothing was restarted, and nobody who served has crashed.
    slot = play.policy.slots[0]
    assert (slot.restarts, slot.quick_deaths, play.policy.crash) == (0, 0, None)
    assert slot.last_exit.startswith("generation 2 did not get ready: ")
    spawn = only(play.tell(d.Exited(old[0], -9)))
    assert isinstance(spawn, d.Spawn) and spawn.generation == 1
    assert slot.restarts == 1 and play.policy.crash == Crash(0, 1, "killed by SIGKILL", play.now)


def test_a_new_worker_that_dies_soon_after_ends_the_reload():
    play = Play(web=3).start()
    first = only(play.tell(reload_to(2)))
    second = spawns(play.tell(d.BecameReady(first.process)))[0]
    actions = play.tell(d.Exited(first.process, -11))
    assert d.Kill(second.process, signal.SIGKILL) in actions
    end = next(action for action in actions if isinstance(action, d.EndOperation))
    assert end.exit_code == 5 and end.reason.endswith("generation 2 runs already in 0; the others stay as they were")
    assert [spawn.slot for spawn in spawns(actions)] == [0]


def test_an_old_worker_that_dies_during_its_replacement_is_not_replaced_twice():
    play = Play(web=1).start()
    old = play.current(0)
    new = only(play.tell(reload_to(2))).process
    assert play.tell(d.Exited(old, -9)) == []
    assert play.tell(d.BecameReady(new)) == [d.EndOperation(1)]


def test_when_old_and_new_die_the_slot_goes_on_as_it_was():
    play = Play(web=1).start()
    old = play.current(0)
    new = only(play.tell(reload_to(2))).process
    play.tell(d.Exited(old, -9))
    end, spawn = play.tell(d.Exited(new, 5))
    assert isinstance(end, d.EndOperation) and end.exit_code == 5
    assert isinstance(spawn, d.Spawn) and spawn.generation == 1


def test_an_old_worker_that_does_not_leave_is_killed():
    play = Play(web=1).start()
    old = play.current(0)
    play.tell(d.BecameReady(only(play.tell(reload_to(2))).process))
    assert play.after(54) == []  # 40 to hand its connections over, 15 to send the others away
    assert play.after(1) == [d.Kill(old, signal.SIGKILL)]
    assert play.tell(d.Exited(old, -9)) == [d.EndOperation(1)]


def test_an_old_worker_that_is_stopped_is_only_told_to_drain():
    play = Play(web=1).start()
    old = play.current(0)
    play.tell(d.WasStopped(old))
    new = only(play.tell(reload_to(2))).process
    assert play.tell(d.BecameReady(new)) == [d.Drain(old, 10, reload=True)]


def test_an_heir_that_gives_no_answer_is_killed_and_replaced():
    play = Play(web=1).start()
    new = only(play.tell(reload_to(2))).process
    play.tell(d.BecameReady(new))
    assert play.tell(d.FellSilent(new)) == [d.Kill(new, signal.SIGKILL)]
    play.tell(d.FellSilent(new))
    assert play.policy.silences == 1
    actions = play.tell(d.Exited(new, -9))
    assert [spawn.slot for spawn in spawns(actions)] == [0]


def test_an_old_worker_whose_heir_dies_gets_the_next_one():
    play = Play(web=1).start()
    old = play.current(0)
    first = only(play.tell(reload_to(2))).process
    assert play.tell(d.BecameReady(first)) == [d.HandOver(old, first, 40, reload=True)]
    play.after(5)
    second = spawns(play.tell(d.Exited(first, -9)))[0].process
    play.after(2)
    assert play.tell(d.BecameReady(second)) == [d.HandOver(old, second, 33)]
    assert play.after(47) == []
    assert play.after(1) == [d.Kill(old, signal.SIGKILL)]


def test_an_heir_that_dies_is_followed_by_a_sibling_at_once_and_by_nobody_when_the_server_stops():
    play = Play(web=2).start()
    old, sibling = play.current(0), play.current(1)
    heir = only(play.tell(d.ReplacementAsked(old, "deaf"))).process
    play.tell(d.BecameReady(heir))
    assert d.HandOver(old, sibling, 40) in play.tell(d.Exited(heir, -9))
    play.tell(d.StopAsked(15))
    assert play.tell(d.Exited(sibling, -9)) == []


def test_what_is_asked_during_a_reload_comes_after_it():
    play = Play(web=1).start()
    old = play.current(0)
    new = only(play.tell(reload_to(2))).process
    assert play.tell(d.ScaleAsked(2, "web", 2)) == []
    play.tell(d.BecameReady(new))
    end, spawn = play.tell(d.Exited(old, 0))
    assert end == d.EndOperation(1)
    assert isinstance(spawn, d.Spawn) and (spawn.slot, spawn.generation) == (1, 2)


def test_a_reload_replaces_a_slot_that_backs_off():
    play = Play(web=1).start()
    for _ in range(2):
        play.tell(d.BecameReady(only(play.tell(d.Exited(play.current(0), 1))).process))
    assert play.tell(d.Exited(play.current(0), 1)) == []
    new = only(play.tell(reload_to(2)))
    assert isinstance(new, d.Spawn) and new.generation == 2
    assert play.tell(d.BecameReady(new.process)) == [d.EndOperation(1)]


# ---- scaling ---------------------------------------------------------------------------------------


def test_scaling_up_ends_when_the_new_ones_are_ready():
    play = Play(web=1).start()
    new = [spawn.process for spawn in spawns(play.tell(d.ScaleAsked(1, "web", 3)))]
    assert play.tell(d.BecameReady(new[0])) == []
    assert play.tell(d.BecameReady(new[1])) == [d.EndOperation(1)]


def test_scaling_down_hands_the_queue_on_before_the_worker_leaves():
    play = Play(web=2).start()
    stays, leaves = play.current(0), play.current(1)
    assert play.tell(d.ScaleAsked(1, "web", 1)) == [d.Adopt(stays, ("web", 1)), d.HandOver(leaves, stays, 40)]
    assert play.tell(d.Exited(leaves, 0)) == [d.EndOperation(1)]
    spawn = only(play.tell(d.Exited(stays, -9)))
    assert isinstance(spawn, d.Spawn) and spawn.listeners == (("web", 0), ("web", 1))


def test_orphans_are_spread_and_none_goes_to_one_that_leaves_too():
    play = Play(web=4).start()
    stays, leaves = [play.current(0), play.current(1)], [play.current(2), play.current(3)]
    actions = play.tell(d.ScaleAsked(1, "web", 2))
    adopted = [action for action in actions if isinstance(action, d.Adopt)]
    assert [action.process for action in adopted] == stays
    handed = [(action.process, action.heir) for action in actions if isinstance(action, d.HandOver)]
    assert handed == list(zip(leaves, stays, strict=True))


def test_a_slot_that_comes_back_gets_its_queue_back():
    play = Play(web=2).start()
    stays, leaves = play.current(0), play.current(1)
    play.tell(d.ScaleAsked(1, "web", 1))
    play.tell(d.Exited(leaves, 0))
    back = only(play.tell(d.ScaleAsked(2, "web", 2)))
    assert isinstance(back, d.Spawn) and (back.index, back.listeners) == (1, (("web", 1),))
    play.tell(d.BecameReady(back.process))
    again = only(play.tell(d.Exited(stays, -9)))
    assert isinstance(again, d.Spawn) and again.listeners == (("web", 0),)


def test_scaling_up_that_fails_keeps_what_is_ready():
    play = Play(web=1).start()
    good, bad = (spawn.process for spawn in spawns(play.tell(d.ScaleAsked(1, "web", 3))))
    play.tell(d.BecameReady(good))
    end = play.tell(d.Exited(bad, 5))[-1]
    assert isinstance(end, d.EndOperation) and end.exit_code == ExitCode.NOT_READY
    assert play.policy.counts == {"web": 2} and sorted(play.policy.slots) == [0, 1]


@pytest.mark.parametrize(("group", "count"), [("web", 0), ("web", 512), ("nobody", 1)])
def test_scaling_to_what_cannot_be_is_refused(group, count):
    end = only(Play().start().tell(d.ScaleAsked(1, group, count)))
    assert isinstance(end, d.EndOperation) and end.exit_code == ExitCode.USAGE


def test_a_scaled_worker_that_crashes_while_leaving_does_not_come_back():
    play = Play(web=2).start()
    leaves = play.current(1)
    play.tell(d.ScaleAsked(1, "web", 1))
    assert play.tell(d.Exited(leaves, -11)) == [d.EndOperation(1)]


# ---- age and size ----------------------------------------------------------------------------------


def test_a_worker_is_replaced_at_its_age_with_jitter_one_at_a_time():
    ages = iter([0.0, 1.0, 0.5, 0.5])
    play = Play(d.Timing(max_lifetime=100), random=lambda: next(ages), web=2).start()
    old = play.current(0)
    assert play.after(90) == []
    new = only(play.after(1))
    assert isinstance(new, d.Spawn) and (new.slot, new.generation) == (0, 1)
    assert play.after(25) == []  # the other one is due as well by now, and waits
    actions = play.tell(d.BecameReady(new.process))
    assert actions == [d.HandOver(old, new.process, 40)]
    assert play.tell(d.Exited(old, 0)) == []
    assert [spawn.slot for spawn in spawns(play.after(1))] == [1]


def test_a_worker_that_is_too_large_is_replaced():
    play = Play(d.Timing(max_memory=1000), web=1).start()
    process = play.current(0)
    assert play.tell(d.TimePassed({process: play.now}, {process: 1000})) == []
    (new,) = spawns(play.tell(d.TimePassed({process: play.now}, {process: 1001})))
    play.tell(d.BecameReady(new.process))
    play.tell(d.Exited(process, 0))
    sizes = {new.process: 1001}  # it is as large from the beginning: no reason to do nothing else any more
    for _ in range(59):
        play.now += 1
        assert play.tell(d.TimePassed({new.process: play.now}, sizes)) == []
    play.now += 2
    assert len(spawns(play.tell(d.TimePassed({new.process: play.now}, sizes)))) == 1


def test_a_worker_can_ask_to_be_replaced():
    play = Play(web=2).start()
    old = play.current(1)
    new = only(play.tell(d.ReplacementAsked(old, "its bus is deaf")))
    assert isinstance(new, d.Spawn) and new.slot == 1
    assert play.tell(d.ReplacementAsked(old, "its bus is deaf")) == []
    assert play.tell(d.BecameReady(new.process)) == [d.HandOver(old, new.process, 40)]
    assert play.tell(d.ReplacementAsked(old, "its bus is deaf")) == []


# ---- the end ---------------------------------------------------------------------------------------


def test_stop_drains_everyone_then_kills_then_finishes():
    play = Play(web=2).start()
    first, second = play.current(0), play.current(1)
    assert play.tell(d.StopAsked(15)) == [d.Drain(first, 10, final=True), d.Drain(second, 10, final=True)]
    assert play.tell(d.Exited(first, 0)) == []
    assert play.after(15) == [d.Kill(second, signal.SIGKILL)]
    assert play.tell(d.Exited(second, -9)) == [d.Finish()]


def test_a_graceful_stop_waits_for_ever():
    play = Play(web=1).start()
    assert play.tell(d.StopAsked(None)) == [d.Drain(play.current(0), 10, graceful=True, final=True)]
    assert play.after(3600) == []


def test_a_stop_with_a_deadline_ends_a_graceful_one():
    play = Play(web=1).start()
    process = play.current(0)
    play.tell(d.StopAsked(None))
    assert play.tell(d.StopAsked(5)) == [d.Drain(process, 4, final=True)]
    assert play.after(5) == [d.Kill(process, signal.SIGKILL)]


def test_a_restart_tells_the_clients_to_come_back():
    play = Play(web=1).start()
    assert play.tell(d.StopAsked(15, restart=True)) == [d.Drain(play.current(0), 10, final=False)]


def test_stopping_ends_a_reload_and_whatever_waits():
    play = Play(web=1).start()
    old = play.current(0)
    new = only(play.tell(reload_to(2))).process
    play.tell(d.ScaleAsked(2, "web", 2))
    actions = play.tell(d.StopAsked(15))
    assert [action.operation for action in actions if isinstance(action, d.EndOperation)] == [1, 2]
    assert d.Kill(new, signal.SIGKILL) in actions and d.Drain(old, 10, final=True) in actions


def test_a_stopped_worker_is_killed_at_the_end_of_the_stop():
    play = Play(web=1).start()
    process = play.current(0)
    play.tell(d.WasStopped(process))
    play.tell(d.StopAsked(15))
    assert play.after(15, silent=(process,)) == [d.Kill(process, signal.SIGKILL)]


def test_a_death_while_stopping_brings_nobody_back():
    play = Play(web=2).start()
    play.tell(d.StopAsked(15))
    assert play.tell(d.Exited(play.current(0), -9)) == []


def test_a_hurry_kills_what_is_left():
    play = Play(web=1).start()
    play.tell(d.StopAsked(15))
    assert play.tell(d.HurryAsked()) == [d.Kill(play.current(0), signal.SIGKILL)]


def test_every_death_is_told_to_the_siblings():
    play = Play(web=2).start()
    dead = play.current(0)
    assert d.TellReaped(dead) in play.policy.receive(d.Exited(dead, -9), play.now)


# ---- upgrade ---------------------------------------------------------------------------------------


def handed_on(play: Play) -> Play:
    """The same play with a policy of another image, made from what this one would leave."""
    assert play.policy.settled
    data = msgspec.msgpack.encode(play.policy.view)
    after = Play()
    after.policy = Policy.of(msgspec.msgpack.decode(data, type=View), TIMING)
    after.now = play.now
    return after


def checkered() -> Play:
    """A server with a past: scaled down, one slot backing off with its queue lent out, one worker stopped."""
    play = Play(web=3).start()
    leaves = play.current(2)
    play.tell(d.ScaleAsked(1, "web", 2))
    play.tell(d.Exited(leaves, 0))
    for _ in range(3):
        play.tell(d.BecameReady(play.current(0)))
        play.tell(d.Exited(play.current(0), -9))
    play.tell(d.WasStopped(play.current(1)))
    return play


FUTURES: dict[str, Callable[[Play], list[d.Action]]] = {
    "reload": lambda play: play.tell(reload_to(2)),
    "scale": lambda play: play.tell(d.ScaleAsked(2, "web", 4)),
    "a death": lambda play: play.tell(d.Exited(play.current(1), -11)),
    "continued": lambda play: play.tell(d.WasContinued(play.current(1))) + play.after(20, silent=(play.current(1),)),
    "much time": lambda play: play.after(60),
    "stop": lambda play: play.tell(d.StopAsked(15)),
    "impatience": lambda play: play.tell(d.StopAsked(None)) + play.tell(d.HurryAsked()),
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
    new = only(play.tell(reload_to(2))).process
    assert not play.policy.settled
    play.tell(d.BecameReady(new))
    assert not play.policy.settled
    play.tell(d.Exited(old, 0))
    assert play.policy.settled


def test_a_worker_of_another_contract_drains_instead_of_handing_over():
    play = handed_on(Play(web=1).start())
    old = play.current(0)
    new = only(play.tell(reload_to(2))).process
    assert play.tell(d.BecameReady(new, CONTRACT_VERSION + 1)) == [d.Drain(old, 10, reload=True)]


def test_accept_queues_of_slots_that_were_scaled_away_before_a_restart_have_an_heir():
    policy = Policy(d.Timing())
    actions = policy.receive(d.StartAsked({"w": 2}, (("w", 0), ("w", 1), ("w", 2), ("w", 3))), 0.0)
    assert [action.listeners for action in actions if isinstance(action, d.Spawn)] == [
        (("w", 0), ("w", 2)),
        (("w", 1), ("w", 3)),
    ]
