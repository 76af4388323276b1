"""A real store for the bus's own tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import uvloop

from tests.contract.stores import RealStore


@pytest.fixture
def store() -> Iterator[RealStore]:
    real = RealStore("valkey")
    real.start()
    yield real
    real.close()


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Any]:
    """The loop that workers run on."""
    return {"uvloop": uvloop.new_event_loop}
