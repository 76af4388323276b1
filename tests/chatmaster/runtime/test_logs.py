"""Logging: what a line looks like, and that it never blocks anyone."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import time
from datetime import datetime

import pytest

from chatmaster.runtime import logs
from chatmaster.settings import Log

# Logs to whatever standard error is, and tells on standard output how it went.
STORM = """
import json, logging, sys, time
from chatmaster.runtime import logs
from chatmaster.settings import Log
drops = []
handler = logs.configure(Log(format="json"), "master", on_drop=drops.append)
log = logging.getLogger("storm")
began = time.monotonic()
for number in range(20_000):
    log.info("line %d %s", number, "x" * 100)
print(json.dumps({"took": time.monotonic() - began, "dropped": handler.dropped, "told": drops[-1:]}), flush=True)
sys.stdin.readline()
log.info("after the storm")
"""


@pytest.fixture
def restored():
    """The root logger as it was, whatever the test did to it."""
    root = logging.getLogger()
    handlers, level, hook = list(root.handlers), root.level, sys.excepthook
    for handler in handlers:
        root.removeHandler(handler)
    yield
    for handler in list(root.handlers):
        root.removeHandler(handler)
        handler.let_go() if isinstance(handler, logs.LogHandler) else handler.close()
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(level)
    logging.captureWarnings(False)
    sys.excepthook = hook


@pytest.fixture
def file(tmp_path, restored):
    return tmp_path / "chat.log"


def test_a_line_of_text_says_when_who_and_what_and_nobody_can_forge_one(file):
    logs.configure(Log(file=str(file)), "worker 3")
    logging.getLogger("rooms").warning("said %r and\nforged a line\x1b[31m", "x")
    line, rest = file.read_text().splitlines()
    assert line.endswith(f"Z worker 3 [{os.getpid()}] warning rooms: said 'x' and")
    assert rest == r"    forged a line\x1b[31m"


def test_a_traceback_follows_its_line(file):
    logs.configure(Log(file=str(file)), "master")
    try:
        raise ValueError("what happened")
    except ValueError:
        logging.getLogger("x").exception("failed")
    lines = file.read_text().splitlines()
    assert lines[1] == "Traceback (most recent call last):"
    assert lines[-1] == "ValueError: what happened"


def test_json_is_one_object_a_line(file):
    logs.configure(Log(file=str(file), format="json"), "master", instance="chat-2")
    before = time.time()
    try:
        raise ValueError("what")
    except ValueError:
        logging.getLogger("x").exception("two\nlines")
    (line,) = file.read_text().splitlines()
    entry = json.loads(line)
    told = entry.pop("time")
    assert told.endswith("Z") and before - 1 < datetime.fromisoformat(told).timestamp() < time.time() + 1
    assert entry.pop("traceback").endswith("ValueError: what")
    assert entry == {
        "level": "error", "instance": "chat-2", "process": "master", "pid": os.getpid(), "logger": "x",
        "message": "two\nlines",
    }  # fmt: skip


def test_the_level_filters(file):
    logs.configure(Log(file=str(file), level="warning"), "master")
    logging.getLogger("x").info("not this")
    logging.getLogger("x").warning("this")
    assert file.read_text().endswith("x: this\n")
    assert file.read_text().count("\n") == 1


@pytest.mark.parametrize("name", logs.TALKATIVE)
def test_a_library_that_logs_each_request_is_heard_from_warnings_on(file, name):
    library = logging.getLogger(name)
    library.setLevel(logging.NOTSET)
    try:
        logs.configure(Log(file=str(file), level="debug"), "master")
        library.info("HTTP Request: POST http://127.0.0.1/say")
        logging.getLogger(f"{name}.connection").debug("cookie")
        library.warning("this")
        assert file.read_text().endswith(f"{name}: this\n") and file.read_text().count("\n") == 1
        library.setLevel(logging.INFO)  # as an application may that asks for it
        logs.configure(Log(file=str(file)), "worker 0")
        assert library.level == logging.INFO
    finally:
        library.setLevel(logging.NOTSET)


@pytest.mark.parametrize("format", ["text", "json"])
def test_secrets_are_never_written(file, format):
    logs.configure(Log(file=str(file), format=format), "master", secrets=['hunter"2', ""])
    logging.getLogger("x").warning("using %s at redis://user:word@host/1", 'hunter"2')
    text = file.read_text()
    assert "hunter" not in text and "word" not in text
    assert "using *** at redis://***@host/1" in text


def test_a_rotated_file_is_opened_again(file):
    handler = logs.configure(Log(file=str(file)), "master")
    number = handler.fileno()
    logging.getLogger("x").warning("one")
    file.rename(file.with_suffix(".1"))
    handler.reopen()
    logging.getLogger("x").warning("two")
    assert file.read_text().endswith("two\n")
    assert file.with_suffix(".1").read_text().endswith("one\n")
    assert handler.fileno() == number  # faulthandler keeps the number


def test_a_file_that_cannot_be_opened_again_leaves_the_old_one_in_use(file):
    handler = logs.configure(Log(file=str(file)), "master")
    file.rename(file.with_suffix(".1"))
    file.mkdir()
    with pytest.raises(OSError, match="directory"):
        handler.reopen()
    logging.getLogger("x").warning("still")
    assert file.with_suffix(".1").read_text().endswith("still\n")


def test_a_full_disk_costs_lines_and_nothing_else(restored):
    told: list[int] = []
    handler = logs.configure(Log(file="/dev/full"), "master", on_drop=told.append)
    for _ in range(3):
        logging.getLogger("x").warning("lost")
    assert handler.dropped == 3
    assert told == [1, 2, 3]


def test_a_record_that_cannot_be_formatted_is_named(file):
    logs.configure(Log(file=str(file)), "master")
    logging.getLogger("x").warning("%d", "no number")
    assert "test_logs.py" in file.read_text()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def start_storm(stderr: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", STORM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True
    )


@pytest.mark.parametrize("kind", ["pipe", "terminal"])
def test_a_reader_that_stopped_blocks_nobody_and_hears_how_much_it_missed(kind):
    reader, writer = os.pipe() if kind == "pipe" else os.openpty()
    process = start_storm(writer)
    os.close(writer)
    result = json.loads(line_of(process))
    assert result["dropped"] > 1000
    assert result["told"] == [result["dropped"]]
    received = b""
    os.set_blocking(reader, False)
    while True:  # make room again, then let it go on
        try:
            received += os.read(reader, 65_536)
        except BlockingIOError:
            break
    os.set_blocking(reader, True)
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    while b"after the storm" not in received:
        received += os.read(reader, 65_536)
    # A terminal may take a line now and then meanwhile, so there may be several reports.
    told = re.findall(rb"([\d,]+) log lines? w\w+ dropped", received)
    assert sum(int(count.replace(b",", b"")) for count in told) == result["dropped"]
    process.communicate()
    os.close(reader)


def test_standard_error_itself_stays_blocking():
    """It is shared with the shell that started us."""
    reader, writer = os.pipe()
    process = start_storm(writer)
    line_of(process)
    assert os.get_blocking(writer)
    process.kill()
    process.communicate()
    os.close(reader)
    os.close(writer)


def test_a_socket_as_standard_error_like_journald_works_and_does_not_block():
    import socket

    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = start_storm(theirs.fileno())
        assert json.loads(line_of(process))["dropped"] > 1000
        assert theirs.getblocking()
        assert json.loads(ours.recv(65_536).split(b"\n")[0])["message"].startswith("line 0")
        process.kill()
        process.communicate()
