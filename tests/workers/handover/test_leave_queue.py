"""How many leave in one turn of the loop: while thousands move, the rooms go on."""

from __future__ import annotations

from time import perf_counter
from types import SimpleNamespace
from typing import Any

from workers.handover.leave_queue import A_TURN, MESSAGE_FIRST, LeaveQueue


class Leaves:
    """In the place of `Migration`: everybody may leave, and does so at once."""

    def may_leave(self, connection: Any) -> bool:
        return True

    def depart(self, connection: Any, gone: Any) -> None:
        gone(connection, ())


class Hub:
    """In the place of the hub: nobody is in a room."""

    writing_since = 0.0
    members = SimpleNamespace(rooms_of=lambda connection: [])


def test_however_many_may_leave_a_turn_is_not_theirs_alone_and_nobody_is_left_out() -> None:
    connections = {str(number): SimpleNamespace(id=str(number)) for number in range(3 * A_TURN + 5)}
    node: Any = SimpleNamespace(connections=connections, hub=Hub())
    leaves: Any = Leaves()
    queue = LeaveQueue(node, leaves, lambda: None)
    sizes = []
    while len(queue) < len(connections):
        before = len(queue)
        queue.call(1_000_000, lambda one: False)
        sizes.append(len(queue) - before)
    assert sizes == [A_TURN, A_TURN, A_TURN, 5]
    queue.call(1_000_000, lambda one: False)
    assert queue.waiting == len(connections), "each once"


def test_who_goes_away_between_leaving_and_being_offered_is_not_asked_about() -> None:
    """Nothing of the application's is left of it: to ask would end the worker, and with it everybody else."""
    connections = {str(number): SimpleNamespace(id=str(number)) for number in range(3)}

    class Asks(Leaves):
        back: list[str] = []

        def at_rest(self, connection: Any) -> bool:
            return bool(connections[connection.id])

        def bring_back(self, connection: Any, positions: Any) -> None:
            self.back.append(connection.id)

    node: Any = SimpleNamespace(connections=connections, hub=Hub())
    asks: Any = Asks()
    queue = LeaveQueue(node, asks, lambda: None)
    queue.call(10, lambda one: False)
    del connections["1"]
    assert [one.connection.id for one in queue.take(10)] == ["2", "0"]
    assert asks.back == ["1"]


def test_the_newest_leave_first() -> None:
    """They are the first to get a message, here and where they move to, so that none waits for all others once."""
    connections = {str(number): SimpleNamespace(id=str(number)) for number in range(5)}
    node: Any = SimpleNamespace(connections=connections, hub=Hub())
    leaves: Any = Leaves()
    left: list[str] = []
    leaves.depart = lambda connection, gone: left.append(connection.id)
    LeaveQueue(node, leaves, lambda: None).call(3, lambda one: False)
    assert left == ["4", "3", "2"]


def test_none_leaves_while_a_message_to_many_is_new_and_messages_without_end_hold_up_only_half_of_the_time() -> None:
    connections = {str(number): SimpleNamespace(id=str(number)) for number in range(1000)}
    hub = Hub()
    node: Any = SimpleNamespace(connections=connections, hub=hub)
    leaves: Any = Leaves()
    queue = LeaveQueue(node, leaves, lambda: None)

    def leave(writing_for: float, since: float = 0.0) -> int:
        hub.writing_since = since or perf_counter() - writing_for
        before = len(queue)
        queue.call(1, lambda one: False)
        return len(queue) - before

    assert leave(2 * MESSAGE_FIRST) == 1, "a message that takes long"
    began = perf_counter()
    assert leave(0, began) == 0
    assert leave(0, began) == 0
    assert leave(0, began + MESSAGE_FIRST / 1000) == 1, "the next message, at once"
    hub.writing_since = 0.0
    queue.call(1, lambda one: False)
    assert len(queue) == 3, "no message"


def test_who_waits_for_an_answer_and_is_not_read_from_meanwhile_leaves_as_soon_as_it_has_the_answer() -> None:
    """What it sends next would else wait until all others have moved."""
    ws = SimpleNamespace(reading_paused=True)
    connections = {str(number): SimpleNamespace(id=str(number), ws=ws) for number in range(3 * A_TURN)}
    newest, gone = str(3 * A_TURN - 1), str(3 * A_TURN - 2)
    waiting = {newest, gone}

    class Waits(Leaves):
        def may_leave(self, connection: Any) -> bool:
            return self.at_rest(connection)

        def at_rest(self, connection: Any) -> bool:
            return connection.id not in waiting

    left: list[str] = []
    waits: Any = Waits()
    waits.depart = lambda connection, gone: left.append(connection.id)
    node: Any = SimpleNamespace(connections=connections, hub=Hub())
    queue = LeaveQueue(node, waits, lambda: None)
    for _ in range(2):
        queue.call(1, lambda one: False)
    assert newest not in left and len(left) == 2, "it holds up nobody"
    waiting.clear()
    del connections[gone]
    queue.call(1, lambda one: False)
    assert left[2:] == [newest]
    for _ in range(3 * A_TURN):
        queue.call(1, lambda one: False)
    assert sorted(left) == sorted(connections), "each once"
