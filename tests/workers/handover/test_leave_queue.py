"""How many leave in one turn of the loop: while thousands move, the rooms go on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from workers.handover.leave_queue import A_TURN, LeaveQueue


class Leaves:
    """In the place of `Migration`: everybody may leave, and does so at once."""

    def may_leave(self, connection: Any) -> bool:
        return True

    def depart(self, connection: Any, gone: Any) -> None:
        gone(connection, ())


def test_however_many_may_leave_a_turn_is_not_theirs_alone_and_nobody_is_left_out() -> None:
    connections = {str(number): SimpleNamespace(id=str(number)) for number in range(3 * A_TURN + 5)}
    node: Any = SimpleNamespace(connections=connections)
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

    node: Any = SimpleNamespace(
        connections=connections, hub=SimpleNamespace(members=SimpleNamespace(rooms_of=lambda connection: []))
    )
    asks: Any = Asks()
    queue = LeaveQueue(node, asks, lambda: None)
    queue.call(10, lambda one: False)
    del connections["1"]
    assert [one.connection.id for one in queue.take(10)] == ["0", "2"]
    assert asks.back == ["1"]
