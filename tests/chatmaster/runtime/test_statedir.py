"""The state directory is ours alone."""

from __future__ import annotations

import pytest

from chatmaster.errors import ChatmasterError
from chatmaster.runtime import statedir


def test_it_is_made_with_its_parents_for_us_alone(tmp_path):
    path = tmp_path / "a" / "b"
    statedir.prepare(path)
    assert path.stat().st_mode & 0o777 == 0o700
    statedir.prepare(path)  # and is good the next time


def test_one_that_others_may_enter_is_refused_and_left_as_it_is(tmp_path):
    path = tmp_path / "open"
    path.mkdir()
    path.chmod(0o755)
    with pytest.raises(ChatmasterError, match=r"open to others \(mode 0755\)"):
        statedir.prepare(path)
    assert path.stat().st_mode & 0o777 == 0o755


def test_one_of_somebody_else_is_refused(tmp_path):
    tmp_path.chmod(0o700)
    with pytest.raises(ChatmasterError, match="belongs to user"):
        statedir.prepare(tmp_path, uid=12345)


def test_a_file_in_its_place_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "file").chmod(0o600)
    with pytest.raises(ChatmasterError, match="no directory"):
        statedir.prepare(tmp_path / "file")
