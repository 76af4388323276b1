"""The ledger: what the store is told of this worker's users, and when."""

from __future__ import annotations

from workers.presence.local_state import GRACE, MAX_WRITE, LocalPresence, Write


def written(ledger: LocalPresence, now: float = 0.0) -> list[tuple[str, tuple[tuple[str, int, str], ...]]]:
    """Write what there is to write, successfully."""
    claims = ledger.take_claims(100)
    if claims is not None:
        ledger.claimed(claims)
    writes = list(ledger.take_writes(now, 100))
    for write in writes:
        ledger.written(write)
    return [(write.room, write.values) for write in writes]


def pending(ledger: LocalPresence, now: float = 0.0) -> Write:
    (write,) = ledger.take_writes(now, 100)
    return write


def test_a_room_is_claimed_before_it_is_written() -> None:
    ledger = LocalPresence()
    ledger.entered("lobby", "ann", "Ann")
    assert list(ledger.take_writes(0.0, 10)) == []
    assert written(ledger) == [("lobby", (("ann", 1, "Ann"),))]
    assert ledger.clean and not ledger.empty


def test_connections_are_told_as_a_number() -> None:
    ledger = LocalPresence()
    for _ in range(3):
        ledger.entered("lobby", "ann", "Ann")
    assert written(ledger) == [("lobby", (("ann", 3, "Ann"),))]
    ledger.left("lobby", "ann", 0.0)
    assert written(ledger) == [("lobby", (("ann", 2, "Ann"),))]


def test_the_last_connection_goes_after_the_grace_and_the_room_is_given_up() -> None:
    ledger = LocalPresence()
    ledger.entered("lobby", "ann", "Ann")
    written(ledger)
    ledger.left("lobby", "ann", 10.0)
    ledger.expire(10.0 + GRACE - 0.1)
    assert ledger.clean and not ledger.empty and not ledger.present("lobby")
    ledger.expire(10.0 + GRACE)
    assert written(ledger) == [("lobby", (("ann", 0, "Ann"),))]
    assert ledger.empty
    claims = ledger.take_claims(10)
    assert claims is not None and [room for room, _ in claims.given_up] == ["lobby"]


def test_who_returns_within_the_grace_causes_no_write() -> None:
    ledger = LocalPresence()
    ledger.entered("lobby", "ann", "Ann")
    written(ledger)
    ledger.left("lobby", "ann", 10.0)
    ledger.entered("lobby", "ann", "Ann")
    ledger.expire(100.0)
    assert ledger.clean and ledger.present("lobby")


def test_what_changes_during_a_write_is_in_the_next() -> None:
    ledger = LocalPresence()
    ledger.entered("lobby", "ann", "Ann")
    claims = ledger.take_claims(10)
    assert claims is not None
    ledger.claimed(claims)
    first = pending(ledger)
    ledger.entered("lobby", "ann", "Ann")
    assert list(ledger.take_writes(0.0, 10)) == []
    ledger.written(first)
    second = pending(ledger)
    assert second.values == (("ann", 2, "Ann"),)
    assert second.number > first.number


def test_a_write_without_an_answer_is_made_again_as_things_are_by_then() -> None:
    ledger = LocalPresence()
    ledger.entered("lobby", "ann", "Ann")
    claims = ledger.take_claims(10)
    assert claims is not None
    ledger.claimed(claims)
    write = pending(ledger)
    ledger.entered("lobby", "ann", "Ann")
    ledger.not_written(write, not_before=1.0)
    assert list(ledger.take_writes(0.5, 10)) == []
    assert pending(ledger, 1.0).values == (("ann", 2, "Ann"),)


def test_a_new_incarnation_says_everything_and_ignores_answers_to_the_old() -> None:
    ledger = LocalPresence()
    ledger.entered("lobby", "ann", "Ann")
    written(ledger)
    ledger.entered("lobby", "bob", "Bob")
    old = pending(ledger)
    ledger.reborn()
    ledger.written(old)
    assert written(ledger) == [("lobby", (("ann", 1, "Ann"), ("bob", 1, "Bob")))]
    assert ledger.clean


def test_many_users_are_written_in_parts() -> None:
    ledger = LocalPresence()
    for number in range(MAX_WRITE + 1):
        ledger.entered("lobby", f"u{number}", "")
    assert [len(values) for _, values in written(ledger)] == [MAX_WRITE]
    assert [len(values) for _, values in written(ledger)] == [1]


def test_leaving_without_having_entered_is_nothing() -> None:
    ledger = LocalPresence()
    ledger.left("lobby", "ann", 0.0)
    ledger.renamed("lobby", "ann", "Anna")
    assert ledger.empty and ledger.clean
