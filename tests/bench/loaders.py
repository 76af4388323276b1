"""The benchmark's hold on its load processes: starts them on their cores, asks, ends them."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Collection
from types import TracebackType
from typing import Any

from tests.support.server import ROOT

TIMEOUT = 300.0  # seconds for one answer


class Loader:
    """One load process; a `patient` one runs when no other wants its core."""

    def __init__(self, port: int, cores: Collection[int], host: str = "127.0.0.1", *, patient: bool = False) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.load", host, str(port)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        os.sched_setaffinity(self._process.pid, cores)
        if patient:
            os.sched_setscheduler(self._process.pid, os.SCHED_IDLE, os.sched_param(0))

    def ask(self, what: str, **arguments: Any) -> dict[str, Any]:
        """Do something and return what came of it. Raises RuntimeError where it failed."""
        self.begin(what, **arguments)
        return self.result()

    def begin(self, what: str, **arguments: Any) -> None:
        """Do something, without waiting for its end."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": what, **arguments}) + "\n")
        self._process.stdin.flush()

    def result(self) -> dict[str, Any]:
        """What came of what was begun."""
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], TIMEOUT)[0]:
            self._process.kill()
            raise RuntimeError(f"the load did not answer within {TIMEOUT:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the load ended with exit code {self._process.wait(10)}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"the load failed: {answer['error']}")
        return answer

    def close(self) -> None:
        """End it, and with it its connections."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        self._process.stdout.close()

    def __enter__(self) -> Loader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
