"""One real store for the tests of presence; each test has a name of its own in it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from tests.support.store import RedisServer

_numbers = itertools.count()


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("presence")) as server:
        yield server


@pytest.fixture
def name() -> str:
    """An instance's name that no other test uses."""
    return f"t{next(_numbers)}"
