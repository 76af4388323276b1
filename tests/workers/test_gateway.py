"""`Gateway`: its arguments; what it does is tested with a running server in `tests/integration/test_gateway.py`."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import gateways
from workers import Gateway


def test_the_methods_of_both_gateways_come_from_one_source() -> None:
    assert gateways.TARGET.read_text() == gateways.written(), "run: python -m tests.support.gateways"


@pytest.mark.parametrize(
    ("wrong", "error", "sentence"),
    [
        ({"timeout": "5"}, TypeError, "timeout is a number of seconds, not '5'"),
        ({"timeout": None}, TypeError, "timeout is a number of seconds, not None"),
        ({"timeout": True}, TypeError, "timeout is a number of seconds"),
        ({"timeout": 0}, ValueError, "timeout is more than 0"),
        ({"timeout": -1.0}, ValueError, "timeout is more than 0"),
        ({"timeout": float("nan")}, ValueError, "timeout is more than 0"),
        ({"timeout": float("inf")}, ValueError, "timeout is more than 0 and at most 3600 seconds"),
        ({"name": None}, TypeError, "url, name and worker are strings"),
        ({"worker": 1}, TypeError, "url, name and worker are strings"),
        ({"url": b"redis://127.0.0.1/0"}, TypeError, "url, name and worker are strings"),
        ({"url": "127.0.0.1:6379"}, ValueError, "url: allowed: redis://HOST"),
        ({"url": "embedded"}, ValueError, "url: allowed: redis://HOST"),
        ({"url": "redis://127.0.0.1:port/0"}, ValueError, "url: "),
    ],
)
def test_a_wrong_argument_is_refused_at_once_with_a_sentence(
    wrong: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        Gateway(**{"url": "redis://127.0.0.1:1/0", **wrong})
