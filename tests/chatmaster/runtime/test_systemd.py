"""What a supervisor hears on NOTIFY_SOCKET."""

from __future__ import annotations

import os
import socket

import pytest

from chatmaster.runtime.systemd import Notifier


@pytest.fixture
def supervisor(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(5)
        yield listener


@pytest.fixture
def environ(tmp_path):
    return {"NOTIFY_SOCKET": str(tmp_path / "notify")}


def test_each_message_is_one_datagram(supervisor, environ):
    notifier = Notifier(environ)
    notifier.ready("4 workers")
    assert supervisor.recv(4096).decode().split("\n") == ["READY=1", f"MAINPID={os.getpid()}", "STATUS=4 workers"]
    notifier.reloading()
    reloading, clock = supervisor.recv(4096).decode().split("\n")
    assert reloading == "RELOADING=1"
    assert clock.removeprefix("MONOTONIC_USEC=").isdigit()
    notifier.stopping()
    assert supervisor.recv(4096) == b"STOPPING=1"
    notifier.watchdog()
    assert supervisor.recv(4096) == b"WATCHDOG=1"
    notifier.status("two\nlines")
    assert supervisor.recv(4096) == b"STATUS=two lines"
    notifier.close()


def test_an_abstract_socket_is_written_with_an_at_sign():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0chatmaster-test-{os.getpid()}")
        listener.settimeout(5)
        notifier = Notifier({"NOTIFY_SOCKET": f"@chatmaster-test-{os.getpid()}"})
        notifier.watchdog()
        assert listener.recv(100) == b"WATCHDOG=1"
        notifier.close()


def test_a_supervisor_that_does_not_read_never_blocks_the_master(supervisor, environ):
    notifier = Notifier(environ)
    for _ in range(10_000):
        notifier.status("x" * 1000)
    supervisor.close()
    notifier.status("nobody is there")
    notifier.close()


def test_without_a_supervisor_nothing_happens():
    notifier = Notifier({"WATCHDOG_USEC": "1000000"})
    notifier.ready()
    assert notifier.watchdog_interval is None


@pytest.mark.parametrize(
    ("more", "interval"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "3000000"}, 1.5),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}, 1.5),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_fed_twice_in_its_interval(environ, more, interval):
    notifier = Notifier(environ | more)
    assert notifier.watchdog_interval == interval
    notifier.close()
