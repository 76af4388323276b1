"""What an application declares: Workers, callbacks, sessions; and how its program is found."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from chatmaster.contract import Declared
from workers import Worker
from workers.process.program import ProgramError, declared, load
from workers.session import Session


def test_a_callback_is_set_by_decorator_or_by_assignment_and_must_be_callable() -> None:
    worker = Worker("websocket://127.0.0.1:1")

    @worker.on_message
    def message(connection: object, data: object) -> None: ...

    worker.on_close = print
    assert worker.callbacks == {"message": message, "close": print}
    with pytest.raises(TypeError, match="on_connect takes a function"):
        worker.on_connect = 3  # type: ignore[assignment]


def test_an_address_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="an address begins with"):
        Worker("tcp://127.0.0.1:1")


def test_outside_a_started_server_a_worker_says_so() -> None:
    with pytest.raises(RuntimeError, match="does not run here"):
        _ = Worker().connections


def test_a_session_refuses_at_once_what_could_not_travel() -> None:
    session = Session()
    session["ok"] = {"list": [1, "x", None]}
    session.update(more=b"bytes")
    for value in (object(), {1, 2, 3}.__iter__(), lambda: None):
        with pytest.raises(TypeError, match=r"session\['bad'\] cannot travel"):
            session["bad"] = value
    with pytest.raises(TypeError):
        session.setdefault("bad", object())
    assert dict(session) == {"ok": {"list": [1, "x", None]}, "more": b"bytes"}


def test_a_program_declares_its_workers_in_order(tmp_path: Path) -> None:
    path = tmp_path / "app.py"
    path.write_text(
        "from workers import Worker\n"
        "one = Worker('websocket://0.0.0.0:8001', name='one', count=2)\n"
        "again = one\n"
        "two = Worker(name='two')\n"
    )
    assert declared(load(str(path))) == (
        Declared(name="one", listen=("ws://0.0.0.0:8001",), count=2),
        Declared(name="two"),
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x = 1\n", "defines no Worker"),
        ("from workers import Worker\na = Worker(name='x')\nb = Worker(name='x')\n", "two Workers of the name 'x'"),
    ],
)
def test_a_program_that_cannot_be_used_says_why(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "app.py"
    path.write_text(text)
    with pytest.raises(ProgramError, match=reason):
        load(str(path))


def test_a_missing_file_and_a_wrong_attribute_are_named(tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match="no such file"):
        load(str(tmp_path / "nothing.py"))
    with pytest.raises(ProgramError, match="no such attribute"):
        load("workers.chat:nothing")
    with pytest.raises(ProgramError, match="not a Worker"):
        load("workers.chat:create")


@pytest.mark.parametrize(
    ("attribute", "wrong"),
    [
        ("count", "4"), ("count", None), ("count", True), ("count", 2.5), ("count", -1),
        ("name", 5), ("name", "a b"), ("name", None), ("listen", "nonsense"), ("listen", None), ("listen", 8000),
        ("threads", 0), ("threads", "4"), ("threads", None), ("max_send_buffer", "1M"), ("max_send_buffer", 0),
    ],
)  # fmt: skip
def test_what_is_declared_by_assignment_is_looked_at_when_it_is(attribute: str, wrong: object) -> None:
    worker = Worker("websocket://127.0.0.1:1", name="one", count=3)
    before = getattr(worker, attribute)
    with pytest.raises((TypeError, ValueError), match=r"Worker|count is|address begins|is a whole number|is 1 or more"):
        setattr(worker, attribute, wrong)
    assert getattr(worker, attribute) == before


def test_an_address_that_is_assigned_is_kept_as_one_that_is_given() -> None:
    worker = Worker()
    worker.listen = "websocket://127.0.0.1:1"
    assert worker.listen == Worker("websocket://127.0.0.1:1").listen == "ws://127.0.0.1:1"


@pytest.mark.parametrize(
    "text",
    [
        "for name in ('one', 'two'):\n    w = Worker(name=name)\n",
        "all = [Worker(name=name) for name in ('one', 'two')]\n",
        "all = {name: Worker(name=name) for name in ('one', 'two')}\n",
        "def make(name):\n    Worker(name=name)\nmake('one')\nmake('two')\n",
        "w = Worker(name='one')\nw = Worker(name='two')\n",
        "class Own(Worker):\n    pass\nOwn(name='one')\nw = Worker(name='two')\n",
        "from factory import make\nmake('one')\nmake('two')\n",
        "from workers.chat import Chat\nChat(name='one')\ntwo = Chat(name='two').worker\n",
        "import other\nfrom other import one\ntwo = Worker(name='two')\n",
    ],
)
def test_every_worker_that_a_program_makes_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """None is lost because no name is left of it; those of other modules are only served where they are imported."""
    (tmp_path / "factory.py").write_text(
        "from workers import Worker\n\ndef make(name):\n    return Worker(name=name)\n"
    )
    (tmp_path / "other.py").write_text("from workers import Worker\none = Worker(name='one')\nmore = Worker()\n")
    (tmp_path / "several.py").write_text(f"from workers import Worker\n{text}")
    monkeypatch.setattr("sys.path", [str(tmp_path), *sys.path])
    for name in ("factory", "other", "several"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert list(load(str(tmp_path / "several.py"))) == ["one", "two"]


def test_one_of_several_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "named.py").write_text("from workers import Worker\none = Worker(name='a')\ntwo = Worker(name='b')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(sys.path))
    assert list(load("named:two")) == ["b"]
