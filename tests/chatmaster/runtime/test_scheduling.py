"""The time slice of a process: asked of the kernel, and as the kernel says it is."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from chatmaster.runtime import scheduling
from tests.support.processes import time_slice

MS = 1_000_000  # ns


def ask(nanoseconds: int, nice: int) -> tuple[bool, int | None, int]:
    """What a child gets that asks: whether the kernel took it, its slice, its nice value."""
    code = (
        "import os, sys; from chatmaster.runtime import scheduling; os.nice(int(sys.argv[2]));"
        "print(scheduling.ask_for_slice(int(sys.argv[1])), os.nice(0), flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(nanoseconds), str(nice)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        taken, now = child.stdout.readline().split()
        return taken == "True", time_slice(child.pid), int(now)


@pytest.mark.parametrize("nanoseconds", [scheduling.SHORTEST, 5 * MS])
def test_a_process_gets_the_slice_that_it_asks_for_and_stays_as_nice(nanoseconds):
    if time_slice(os.getpid()) is None:
        pytest.skip("this kernel has no time slices of a process's own, or does not tell them")
    assert ask(nanoseconds, nice=3) == (True, nanoseconds, 3)


def test_where_the_call_is_not_known_nothing_is_asked(monkeypatch):
    monkeypatch.setattr(scheduling, "_SCHED_SETATTR", {})
    assert scheduling.ask_for_slice(scheduling.SHORTEST) is False
