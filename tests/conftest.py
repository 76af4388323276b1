"""Fixtures for all tests: real stores and real servers, ended with the test, their logs shown when it fails."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import cluster
from tests.support.server import Chatmaster
from tests.support.store import RedisServer

pytest_plugins = ["chatmaster.testing"]

_LOGS = pytest.StashKey[list[Path]]()
_SHOWN = 20_000  # characters of each log in the report of a failure


@pytest.fixture(scope="session", autouse=True)
def cluster_for_all() -> None:
    """Start it where it is wanted, in the thread that lives as long as the tests: the nodes end with that."""
    if cluster.is_wanted():
        cluster.shared()


@pytest.fixture
def redis_server(request: pytest.FixtureRequest) -> Iterator[Callable[..., RedisServer]]:
    """Makes and starts a `RedisServer`; arguments are its own. Each call gives another one."""
    made: list[tuple[RedisServer, Path]] = []

    def make(**how: Any) -> RedisServer:
        directory = Path(tempfile.mkdtemp(prefix="cm-store-"))
        server = RedisServer(directory, **how)
        made.append((server, directory))
        _logs_of(request).append(server.log_path)
        return server.start()

    yield make
    for server, directory in made:
        server.kill()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def chatmaster(request: pytest.FixtureRequest) -> Iterator[Callable[..., Chatmaster]]:
    """Makes and starts a `Chatmaster`; arguments are its own. Each call gives another one."""
    made: list[Chatmaster] = []

    def make(app: str = "", *, start: bool = True, **how: Any) -> Chatmaster:
        server = Chatmaster(app, **how)
        made.append(server)
        _logs_of(request).append(server.log_path)
        return server.start() if start else server

    yield make
    for server in made:
        server.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the end of each server's log to the report of a failure; a fixture's end comes later and removes them."""
    report = yield
    if report.failed:
        for path in item.stash.get(_LOGS, []):
            if path.exists():
                report.sections.append((f"log {path}", path.read_text(errors="replace")[-_SHOWN:]))
    return report


def _logs_of(request: pytest.FixtureRequest) -> list[Path]:
    return request.node.stash.setdefault(_LOGS, [])  # type: ignore[no-any-return]
