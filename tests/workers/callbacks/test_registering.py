"""Callbacks are looked at while the program is imported: what could only fail later is refused at once."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import ROOT
from workers import Worker
from workers.chat import Chat
from workers.threads import Threaded

CALLED_WITH = {
    "on_worker_start": 1, "on_worker_stop": 1, "on_worker_reload": 1, "on_connect": 1, "on_websocket_connect": 2,
    "on_message": 2, "on_close": 3, "on_error": 2, "on_buffer_full": 1, "on_buffer_drain": 1,
}  # fmt: skip
HOOKS = ("on_hello", "on_join", "on_say", "on_kept")


def taking(number: int) -> Any:
    return eval(f"lambda {', '.join('abcde'[:number])}: None")


@pytest.mark.parametrize(
    ("owner", "name", "number"),
    [(Worker, name, number) for name, number in CALLED_WITH.items()] + [(Chat, name, 1) for name in HOOKS],
)
def test_every_callback_is_refused_at_once_where_it_takes_other_arguments(owner: Any, name: str, number: int) -> None:
    for wrong in (number - 1, number + 1):
        with pytest.raises(TypeError, match=rf"{name} is called with \(.*\), and <lambda> \(.*:1\) takes \("):
            getattr(owner(), name)(taking(wrong))
        with pytest.raises(TypeError, match=f"{name} is called with"):
            setattr(owner(), name, taking(wrong))
    fit = owner()
    getattr(fit, name)(taking(number))
    assert list(fit.callbacks) == [name.removeprefix("on_")]


def test_whatever_can_be_called_so_is_taken() -> None:
    class Object:
        def __call__(self, connection: object, data: object) -> None: ...

        def method(self, connection: object, data: object) -> None: ...

    def more(connection: object, data: object, extra: int = 0, *rest: int, key: int = 0) -> None: ...

    async def coroutine(*everything: object) -> None: ...

    for callback in (Object(), Object().method, more, coroutine, functools.partial(more, extra=2), print):
        Worker().on_message(callback)


def test_what_would_never_run_is_refused() -> None:
    def generator(connection: Any, data: Any) -> Any:
        yield

    async def stream(connection: Any, data: Any) -> Any:
        yield

    for callback in (generator, stream):
        with pytest.raises(TypeError, match="contains a yield"):
            Worker().on_message(callback)
    with pytest.raises(TypeError, match="would never be called: the chat serves this Worker"):
        Chat().worker.on_message(taking(2))
    Chat().worker.on_worker_start(taking(1))  # that one is called for any


@pytest.mark.parametrize(
    ("owner", "wrong", "hint"),
    [
        (Worker, "on_mesage", "did you mean on_message?"),
        (Worker, "onMessage", "did you mean on_message?"),
        (Worker, "onWebSocketConnect", "did you mean on_websocket_connect?"),
        (Worker, "on_start", "did you mean on_worker_start?"),
        (Worker, "on_xyz", "there are on_buffer_drain, on_buffer_full"),
        (Chat, "on_sya", "did you mean on_say?"),
        (Chat, "on_zzz", "there are on_hello, on_join, on_kept, on_say"),
    ],
)
def test_a_wrong_name_is_refused_with_the_right_one(owner: Any, wrong: str, hint: str) -> None:
    for use in (lambda: setattr(owner(), wrong, print), lambda: getattr(owner(), wrong)):
        with pytest.raises(AttributeError, match=f"has no callback {wrong}") as failed:
            use()
        assert hint in str(failed.value)
    worker = Worker()
    worker.database = "attributes of the program's own are its affair"  # type: ignore[attr-defined]
    worker.on_air = True  # type: ignore[attr-defined]  # as this is no callback
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = worker.nothing  # type: ignore[attr-defined]


def test_a_second_decorated_function_is_refused_and_an_assignment_replaces() -> None:
    worker = Worker()
    worker.on_message(taking(2))
    with pytest.raises(ValueError, match=r"on_message is set already, to <lambda> \(.*\): there is one"):
        worker.on_message(taking(2))
    worker.on_message = second = taking(2)
    assert worker.callbacks == {"message": second}
    worker.on_message = None
    worker.on_message(taking(2))


def test_the_decorator_may_be_called_and_knows_what_may_run_in_threads() -> None:
    worker = Worker()

    @worker.on_close()
    def closed(connection: object, code: int, reason: str) -> None: ...

    @worker.on_message(threaded=True)
    def message(connection: object, data: object) -> None: ...

    assert worker.callbacks["close"] is closed
    assert isinstance(threaded := worker.callbacks["message"], Threaded) and threaded.function is message

    async def coroutine(connection: object, data: object) -> None: ...

    with pytest.raises(TypeError, match="threaded is for plain functions"):
        Worker().on_message(threaded=True)(coroutine)
    with pytest.raises(TypeError, match="on_worker_start cannot be threaded"):
        Worker().on_worker_start(threaded=True)(print)  # type: ignore[call-overload]


def test_each_callback_of_a_worker_and_hook_of_a_chat_is_documented() -> None:
    for file in ("workers/worker.py", "workers/chat/hooks.py"):
        text = (ROOT / file).read_text()
        events = re.findall(r"^    (on_\w+): Event\[[^\"]*(?:\"\w+\"[^\"]*?)*\)\n    \"\"\"`\(", text, re.MULTILINE)
        assert events == re.findall(r"^    (on_\w+): Event", text, re.MULTILINE)


PROGRAM = """\
from workers import Connection, Timer, Worker
from workers.chat import Chat, Refuse, SayRequest

worker = Worker("websocket://127.0.0.1:8000", name="mine", count=2)


@worker.on_worker_start
async def started(worker: Worker) -> None:
    Timer.add(1.0, print, ("tick",))


@worker.on_message
async def message(connection: Connection, data: str | bytes) -> None:
    connection.send(data)
    await worker.broadcast("x")


@worker.on_connect(threaded=True)
def connected(connection: Connection) -> None: ...


async def again(connection: Connection) -> None:
    await message(connection, "what a decorator returns is what it was given")


def closed(connection: Connection, code: int, reason: str) -> None: ...


worker.on_close = closed
worker.on_buffer_full = None
chat = Chat()


@chat.on_say
def say(request: SayRequest) -> Refuse | str | None:
    return None


if __name__ == "__main__":
    Worker.run_all()
"""

WRONG = """\
from workers import Connection, Worker
from workers.chat import Chat, SayRequest

worker = Worker()


@worker.on_message  # 7
def message(connection: Connection) -> None: ...


@worker.on_connect  # 11
def connected(connection: Connection, request: str) -> None: ...


@worker.on_close  # 15
def closed(connection: Connection, code: str, reason: str) -> None: ...


def text_only(connection: Connection, data: str) -> None:
    connection.send({"a": 1})  # 20
    connection.ws.abort()  # 21
    connection.user = "without bind"  # 22


worker.on_message = text_only  # 25
worker.on_mesage = message  # 26
chat = Chat()


@chat.on_say  # 30
def say(request: SayRequest) -> int:
    return 1


@worker.on_buffer_full(threaded=True)  # 35
def full(connection: Connection) -> None: ...
"""


@pytest.mark.timeout(180)
def test_a_type_checker_passes_a_program_that_is_right_and_finds_each_line_that_is_not(tmp_path: Path) -> None:
    (tmp_path / "right.py").write_text(PROGRAM)
    (tmp_path / "wrong.py").write_text(WRONG)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file", "", "--cache-dir", str(tmp_path / "cache"),
         "--no-error-summary", "right.py", "wrong.py"],
        cwd=tmp_path, capture_output=True, text=True, timeout=170,
    )  # fmt: skip
    found = {int(line) for line in re.findall(r"^wrong\.py:(\d+): error", done.stdout, re.MULTILINE)}
    assert "right.py" not in done.stdout and not done.stderr, done.stdout + done.stderr
    assert found == {int(number) for number in re.findall(r"# (\d+)$", WRONG, re.MULTILINE)}, done.stdout


def test_a_decorator_may_hand_over_other_arguments_than_it_gets() -> None:
    """What counts is what is called, not what `functools.wraps` says it wraps."""

    def with_a_database(function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(connection: Any, data: Any) -> Any:
            return function(connection, data, "database")

        return wrapper

    def without_arguments(function: Any) -> Any:
        @functools.wraps(function)
        def wrapper() -> Any:
            return function(None, None)

        return wrapper

    def message(connection: Any, data: Any, database: str) -> None: ...

    def plain(connection: Any, data: Any) -> None: ...

    worker = Worker()
    worker.on_message(with_a_database(message))
    worker.on_message = staticmethod(plain)
    with pytest.raises(TypeError, match="on_message is called with"):
        worker.on_message = without_arguments(plain)
    with pytest.raises(TypeError, match="on_message is called with"):
        setattr(worker, "on_message", staticmethod(message))  # noqa: B010  # as no type checker would take it


async def test_a_threaded_callback_that_returns_a_coroutine_fails_instead_of_running_nothing() -> None:
    async def later() -> None: ...

    with ThreadPoolExecutor(1) as pool, pytest.raises(TypeError, match="it is for plain functions"):
        await Threaded(lambda: later(), lambda: pool)()


class Handlers:
    """Callbacks as methods of a class beside `Worker`."""

    def on_close(self, connection: object, code: int, reason: str) -> None: ...


def test_a_method_of_a_subclass_is_the_callback() -> None:
    class Echo(Handlers, Worker):  # type: ignore[misc]
        @staticmethod
        def on_buffer_full(connection: object) -> None: ...  # type: ignore[override]

        def on_message(self, connection: object, data: object) -> tuple[object, object]:  # type: ignore[override]
            return self, data

        def on_tick(self) -> None:
            """A method of the program's own, which resembles no callback."""

    class Loud(Echo):
        def on_message(self, connection: object, data: object) -> tuple[object, object]:  # type: ignore[override]
            me, data = super().on_message(connection, data)
            return me, f"{data}!"

    class Late(Worker, Handlers):  # type: ignore[misc]
        pass

    plain, loud = Echo(), Loud()
    assert plain.callbacks["message"](None, "hi") == (plain, "hi") == plain.on_message(None, "hi")
    assert loud.callbacks["message"](None, "hi") == (loud, "hi!") == Loud.on_message(loud, None, "hi")
    assert set(plain.callbacks) == {"message", "close", "buffer_full"} and set(Late().callbacks) == {"close"}
    assert Worker().callbacks == {}
    loud.on_message = print  # type: ignore[assignment, method-assign]
    assert loud.callbacks["message"] is print


def test_a_method_that_cannot_be_the_callback_is_refused_at_once() -> None:
    class Deaf(Worker):
        def on_message(self, connection: object) -> None: ...  # type: ignore[override]

    class Greets(Worker):
        def on_connect(self, connection: object) -> None: ...  # type: ignore[override]

    class Never(Worker):
        on_message = None  # type: ignore[assignment]

    with pytest.raises(TypeError, match=r"on_message is called with \(connection, data\), and .*Deaf\.on_message"):
        Deaf()
    with pytest.raises(TypeError, match="on_message takes a function"):
        Never()
    with pytest.raises(ValueError, match=r"on_connect is set already, to .*Greets\.on_connect"):
        Greets().on_connect(lambda connection: None)
    for name in ("onMessage", "on_mesage", "onWorkerStart"):
        with pytest.raises(AttributeError, match=rf"Wrong has no callback {name}: did you mean on_"):
            type("Wrong", (Worker,), {name: lambda self, *args: None})


def test_a_hook_of_a_chat_may_be_a_method_too() -> None:
    class Polite(Chat):
        def on_say(self, request: object) -> str:  # type: ignore[override]
            return "please"

    chat = Polite()
    assert chat.callbacks["say"](None) == "please" and chat.consulted == {"say"}


@pytest.mark.parametrize(
    "names", ["cookie", [b"cookie"], ["two words"], [""], ["Sec-WebSocket-Key"], list("abcdefghijklmnopq")]
)
def test_what_is_no_list_of_headers_is_refused_where_it_is_set(names: Any) -> None:
    worker = Worker()
    with pytest.raises((TypeError, ValueError), match="keep_headers"):
        worker.keep_headers = names
    worker.keep_headers = ["Cookie", "X-A", "cookie"]
    assert list(worker.keep_headers) == ["cookie", "x-a"]
