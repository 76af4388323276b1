"""A snapshot is restored by every server that may be the embedded store; one that cannot be read says so and stays."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from chatmaster.errors import StoreUnusable
from chatmaster.store.binary import OLDEST, StoreBinary, find_program
from chatmaster.store.embedded import EmbeddedStore
from chatmaster.store.restore import MARK, SNAPSHOT
from tests.chatmaster.store.test_embedded import ask, closed_at_the_end, finish, start
from tests.support.programs import servers

YES, NOTHING = b"$3\r\nyes\r\n", b"$-1\r\n"


def snapshot_of(program: StoreBinary, directory: Path) -> Path:
    """A snapshot with `kept` in it; `later` is in the log beside it alone."""
    with closed_at_the_end(EmbeddedStore("chat", directory, program)) as store:
        start(store)
        for command in ("SET kept yes", "SAVE", "SET later yes"):
            ask(store, command)
    return directory / SNAPSHOT


@pytest.mark.parametrize("program", [one for one in servers() if one.version >= OLDEST], ids=str)
def test_a_snapshot_alone_in_the_directory_is_restored_and_one_beside_a_log_is_not(program, tmp_path, caplog):
    snapshot = snapshot_of(program, tmp_path / "store")
    with closed_at_the_end(EmbeddedStore("chat", tmp_path / "store", program)) as store:
        start(store)
        assert ask(store, "GET later") == YES
    (tmp_path / "copy").mkdir()
    shutil.copy(snapshot, tmp_path / "copy")
    copy = EmbeddedStore("chat", tmp_path / "copy", program)
    for after in (NOTHING, YES):  # the second start has a log, which holds what came after the first
        with closed_at_the_end(copy):
            start(copy)
            assert (ask(copy, "GET kept"), ask(copy, "GET later")) == (YES, NOTHING)
            assert ask(copy, "GET after") == after
            ask(copy, "SET after yes")
    assert [line for line in caplog.messages if SNAPSHOT in line] == [
        f"the store begins with the snapshot {copy.directory / SNAPSHOT}, for it has no data of its own"
    ]
    assert (copy.directory / SNAPSHOT).read_bytes() == snapshot.read_bytes()


@pytest.mark.parametrize("again", [True, False])
def test_one_that_is_cut_short_says_so_and_a_whole_one_or_none_may_take_its_place(tmp_path, again):
    whole = snapshot_of(find_program(), tmp_path / "store").read_bytes()
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / SNAPSHOT).write_bytes(whole[:-20])
    with closed_at_the_end(EmbeddedStore("chat", copy)) as store:
        for _ in range(2):  # a restart meets the same
            store.spawn()
            assert f"the snapshot {copy / SNAPSHOT} could not be restored: " in finish(store)
        if again:
            (copy / SNAPSHOT).write_bytes(whole)
        else:
            (copy / SNAPSHOT).unlink()
        start(store)
        assert ask(store, "GET kept") == (YES if again else NOTHING) and not (copy / MARK).exists()


@pytest.mark.parametrize("content", [b"", b"not a snapshot at all"])
def test_what_is_no_snapshot_is_refused_and_left_alone(tmp_path, content):
    (tmp_path / SNAPSHOT).write_bytes(content)
    with pytest.raises(StoreUnusable, match=r"dump.rdb cannot be restored: it is not a snapshot of Redis or Valkey"):
        EmbeddedStore("chat", tmp_path)
    assert (tmp_path / SNAPSHOT).read_bytes() == content
