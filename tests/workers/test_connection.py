"""What a program may keep in `connection.session`: what comes out at another worker as it was put in."""

from __future__ import annotations

import datetime as dt
import enum
import inspect
import re
from typing import Any

import msgspec
import pytest

from tests.support.server import ROOT
from workers import connection_api
from workers.connection import Connection, Session


class Color(enum.IntEnum):
    RED = 1


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        1,
        -(2**63),
        1.5,
        float("nan"),
        "a",
        b"b",
        [1, [2]],
        {"a": {"b": [None]}, "c": 1},
        dt.datetime.now(dt.UTC),
    ],
)  # fmt: skip
def test_what_travels_unchanged_is_kept(value: Any) -> None:
    session = Session()
    session["key"] = value
    travelled = msgspec.msgpack.decode(msgspec.msgpack.encode(dict(session)))
    assert repr(travelled) == repr({"key": value})


@pytest.mark.parametrize(
    "value",
    [{1, 2}, (1, 2), [(1, 2)], {"a": {1}}, dt.timedelta(1), Color.RED, bytearray(b"x"), object(), 2**70, "\ud800",
     nested(100_000)],
)  # fmt: skip
def test_what_would_be_something_else_at_another_worker_is_refused_at_once(value: Any) -> None:
    session = Session(kept=1)
    for put in (
        lambda: session.__setitem__("key", value),
        lambda: session.update(key=value),
        lambda: session.setdefault("key", value),
        lambda: session.__ior__({"key": value}),
    ):
        with pytest.raises(TypeError, match="key"):
            put()
    assert session == {"kept": 1}


def test_keys_are_strings() -> None:
    session = Session()
    with pytest.raises(TypeError, match="strings"):
        session[1] = "x"  # type: ignore[index]
    with pytest.raises(TypeError, match="strings"):
        session |= {1: "x"}
    assert session == {}


# What the server keeps of a connection, and no program may rely on.
INTERNAL = {
    "app", "closed", "cut", "deflate", "enter", "messages_in", "named", "opened_at", "ordered", "paused",
    "paused_writing", "received", "resumed_writing", "sent", "ws",
}  # fmt: skip


def test_a_program_sees_of_a_connection_what_is_documented_and_nothing_else() -> None:
    public = {name for name in dir(connection_api.Connection) if not name.startswith("_")}
    readme = (ROOT / "README.md").read_text().split("- **A connection** has ")[1].split("It takes None")[0]
    assert public == {name.partition("(")[0] for name in re.findall(r"`([\w()]+)`", readme)}
    assert {name for name in dir(Connection) if not name.startswith("_")} == public | INTERNAL
    assert {name for name in Connection.__dir__(object.__new__(Connection)) if not name.startswith("_")} == public
    for name in public:  # the same words and signatures in both
        ours, theirs = getattr(Connection, name), getattr(connection_api.Connection, name)
        assert theirs.__doc__
        if not isinstance(theirs, property):
            assert inspect.signature(ours) == inspect.signature(theirs)
