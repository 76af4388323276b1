"""Which processes may have left something in the store, over the death of the master."""

from __future__ import annotations

from pathlib import Path

from chatmaster.master.worker_record import LEASE, MOST_DEAD, WorkerRecord, left_in

ANN, BEN, CLEO = (letter * 16 for letter in "abc")


def test_the_next_master_knows_who_ran_when_the_last_one_was_killed(tmp_path: Path) -> None:
    path = tmp_path / "chat.workers"
    record = WorkerRecord(path)
    record.add(ANN)
    record.add(BEN)
    assert record.orphans() == ()  # they live
    assert left_in(path) == (ANN, BEN) and path.stat().st_mode & 0o077 == 0
    after = WorkerRecord(path, left=left_in(path))
    after.add(CLEO)
    assert after.orphans() == (ANN, BEN) and set(left_in(path)) == {ANN, BEN, CLEO}
    after.forget_left()
    assert after.orphans() == () and left_in(path) == (CLEO,)


def test_who_ended_in_order_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "chat.workers"
    record = WorkerRecord(path)
    record.add(ANN, BEN)
    record.remove(ANN, orderly=True)
    record.remove(BEN, orderly=True)
    assert record.orphans() == () and not path.exists()


def test_who_was_killed_is_remembered_until_the_lease_is_over_and_no_more_than_a_bound(tmp_path: Path) -> None:
    now = 0.0
    record = WorkerRecord(tmp_path / "chat.workers", clock=lambda: now)
    for number in range(MOST_DEAD + 5):
        record.add(f"{number:016x}")
        record.remove(f"{number:016x}", orderly=False)
    assert len(record.orphans()) == MOST_DEAD
    now = LEASE + 1
    assert record.orphans() == ()


def test_a_file_that_cannot_be_written_or_read_stops_nothing(tmp_path: Path) -> None:
    record = WorkerRecord(tmp_path / "missing" / "chat.workers")
    record.add(ANN)
    assert left_in(tmp_path / "missing" / "chat.workers") == ()
    (tmp_path / "odd").write_bytes(b"\xff\n" + ANN.encode() + b"\n../../x\n")
    assert left_in(tmp_path / "odd") == (ANN,)
