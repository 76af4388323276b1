"""What a program may keep in `connection.session`: what comes out at another worker as it was put in."""

from __future__ import annotations

import copy
import datetime as dt
import enum
import pickle
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.session import Session, plain


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


WRONG: list[Any] = [{1, 2}, (1, 2), [(1,)], {"a": {1}}, object(), Color.RED, dt.timedelta(1), "\ud800", 2**70]


@pytest.mark.parametrize("value", WRONG)
def test_what_is_put_into_a_nested_value_later_is_checked_then(value: Any) -> None:
    session = Session(cart={"items": [1, {"deep": []}]})
    cart = session["cart"]
    items = cart["items"]
    puts: list[Callable[[], Any]] = [
        lambda: cart.__setitem__("x", value), lambda: cart.update(x=value), lambda: cart.setdefault("x", value),
        lambda: cart.__ior__({"x": value}), lambda: items.append(value), lambda: items.insert(0, value),
        lambda: items.extend([value]), lambda: items.__iadd__([value]), lambda: items.__setitem__(0, value),
        lambda: items.__setitem__(slice(0, 1), [value]), lambda: items[1]["deep"].append(value),
        lambda: items[1].__setitem__("deep", value),
    ]  # fmt: skip
    for put in puts:
        with pytest.raises(TypeError, match=r"session\['cart'\]"):
            put()
    assert session == {"cart": {"items": [1, {"deep": []}]}}


def test_what_travelled_is_checked_on_and_what_was_put_in_is_a_copy() -> None:
    mine: dict[str, Any] = {"list": [1]}
    session = Session(mine=mine)
    mine["list"].append({1})
    assert session["mine"] == {"list": [1]}
    session["mine"]["list"].append(2)
    session["mine"]["list"] *= 2
    session["again"] = session["mine"]
    session["again"]["list"].clear()
    arrived = Session()
    arrived.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(plain(session))))
    assert arrived == session == {"mine": {"list": [1, 2, 1, 2]}, "again": {"list": []}}
    with pytest.raises(TypeError, match=r"cannot travel|something else"):
        arrived["mine"]["list"].append({1})
    with pytest.raises(TypeError):
        session["mine"][(1, 2)] = 1


def test_a_session_has_a_bound_that_is_told_at_the_write() -> None:
    session = Session(text="x" * 30_000)
    with pytest.raises(ValueError, match="32768 bytes at most"):
        session["more"] = "y" * 5_000
    session["text"] = "z" * 3_000  # what is replaced does not count
    session["list"] = []
    with pytest.raises(ValueError, match="32768 bytes at most"):
        for _ in range(100):
            session["list"].append("x" * 1_000)
    assert 25 <= len(session["list"]) < 30 and "more" not in session
    del session["list"]
    session["more"] = "y" * 20_000


PLAIN = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=20)


def _within(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)


@given(st.recursive(PLAIN, _within, max_leaves=20))
def test_whatever_is_taken_comes_out_as_it_is(value: Any) -> None:
    session = Session(value=value)
    assert repr(plain(session)) == repr(msgspec.msgpack.decode(msgspec.msgpack.encode(plain(session))))
    assert repr(plain(session)["value"]) == repr(value)


def test_a_copy_is_plain_and_reaches_a_pool_of_processes() -> None:
    session = Session(list=[1, {"deep": [2]}])
    for copied in (pickle.loads(pickle.dumps(session)), copy.copy(session), copy.deepcopy(session)):
        assert copied == session and type(copied) is dict
        assert type(copied["list"]) is list and type(copied["list"][1]) is dict
    copied["list"].append({3})  # of its own, and unchecked
    assert session == {"list": [1, {"deep": [2]}]}
    assert type(pickle.loads(pickle.dumps(session["list"]))) is list
