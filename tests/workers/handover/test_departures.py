"""How many leave in one turn of the loop: while thousands move, the rooms go on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from workers.handover.departures import A_TURN, Departures


class Leaves:
    """In the place of `Moves`: everybody may leave, and does so at once."""

    def may_leave(self, connection: Any) -> bool:
        return True

    def depart(self, connection: Any, gone: Any) -> None:
        gone(connection, ())


def test_however_many_may_leave_a_turn_is_not_theirs_alone_and_nobody_is_left_out() -> None:
    connections = {str(number): SimpleNamespace(id=str(number)) for number in range(3 * A_TURN + 5)}
    node: Any = SimpleNamespace(connections=connections)
    leaves: Any = Leaves()
    departures = Departures(node, leaves, lambda: None)
    sizes = []
    while len(departures) < len(connections):
        before = len(departures)
        departures.call_out(1_000_000, lambda one: False)
        sizes.append(len(departures) - before)
    assert sizes == [A_TURN, A_TURN, A_TURN, 5]
    departures.call_out(1_000_000, lambda one: False)
    assert departures.waiting == len(connections), "each once"
