"""Listening sockets with the real kernel: one for each slot, none of another's, all of them kept."""

from __future__ import annotations

import os
import socket
import stat

import pytest

from chatmaster.config.groups import Group
from chatmaster.errors import ChatmasterError
from chatmaster.master.listeners import AddressInUse, Listeners, from_systemd
from tests.support.processes import free_port


@pytest.fixture
def listeners():
    made = Listeners(backlog=16)
    yield made
    made.close()


def sockets(found: Listeners, *keys: tuple[str, int]) -> list[socket.socket]:
    return [listener.sock for listener in found.of(keys)]


def become_the_next_image(found: Listeners, *keys: tuple[str, int]) -> set[int]:
    """An exec: the objects are gone, the descriptors stay."""
    return {sock.detach() for sock in sockets(found, *keys)}


def test_each_slot_has_its_own_socket_for_each_address(listeners):
    one, two = (f"ws://127.0.0.1:{free_port()}" for _ in range(2))
    listeners.open([Group("web", (one, two), 3)])
    per_slot = [sockets(listeners, ("web", index)) for index in range(3)]
    assert [len(found) for found in per_slot] == [2, 2, 2]
    assert len({sock.fileno() for found in per_slot for sock in found}) == 6
    assert [listener.address for listener in listeners.of([("web", 0)])] == [one, two]


def test_the_same_slot_always_gets_the_same_socket(listeners):
    listeners.open([Group("web", (f"ws://127.0.0.1:{free_port()}",), 1)])
    assert sockets(listeners, ("web", 0)) == sockets(listeners, ("web", 0))
    assert sockets(listeners, ("web", 5)) == sockets(listeners, ("web", 5))  # a slot that was added
    assert len(sockets(listeners, ("web", 0), ("web", 5))) == 2


def test_a_further_slot_needs_no_resolver(listeners, monkeypatch):
    listeners.open([Group("web", (f"ws://localhost:{free_port()}",), 1)])
    first = [sock.getsockname() for sock in sockets(listeners, ("web", 0))]
    monkeypatch.setattr(socket, "getaddrinfo", None)
    assert [sock.getsockname() for sock in sockets(listeners, ("web", 1))] == first


def test_somebody_elses_port_is_refused_even_with_reuseport(listeners):
    port = free_port()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        with pytest.raises(AddressInUse, match=f"port {port} is in use"):
            listeners.open([Group("web", (f"ws://127.0.0.1:{port}",), 2)])


def test_a_port_whose_last_connections_still_linger_is_free(listeners):
    port = free_port()
    first = Listeners(backlog=16)
    first.open([Group("web", (f"ws://127.0.0.1:{port}",), 1)])
    client = socket.create_connection(("127.0.0.1", port))
    (listening,) = sockets(first, ("web", 0))
    accepted, _ = listening.accept()
    first.close()
    accepted.close()  # we close first: our side is the one in TIME_WAIT
    client.close()
    listeners.open([Group("web", (f"ws://127.0.0.1:{port}",), 1)])


def test_localhost_is_every_address_of_that_name(listeners):
    port = free_port()
    listeners.open([Group("web", (f"ws://localhost:{port}",), 1)])
    families = {sock.family for sock in sockets(listeners, ("web", 0))}
    assert socket.AF_INET in families
    for family in families:
        with socket.socket(family) as client:
            client.connect(("::1" if family == socket.AF_INET6 else "127.0.0.1", port))


def test_no_host_is_every_interface_and_both_families(listeners):
    port = free_port()
    listeners.open([Group("web", (f"ws://:{port}",), 1)])
    socket.create_connection(("127.0.0.1", port)).close()


@pytest.mark.parametrize("address", ["ws://192.0.2.1:9", "ws://no-such-host.invalid:9", "unix:/nowhere/at/all.sock"])
def test_what_cannot_be_listened_on_is_named(listeners, address):
    with pytest.raises(ChatmasterError) as raised:
        listeners.open([Group("web", (address,), 1)])
    assert address in str(raised.value)


@pytest.mark.parametrize("mode", [0o600, 0o666])
def test_the_permissions_of_a_unix_socket_can_be_set(tmp_path, mode: int):
    path = tmp_path / "app.sock"
    made = Listeners(backlog=16, unix_mode=mode)
    made.open([Group("web", (f"unix:{path}",), 1)])
    assert stat.S_IMODE(path.stat().st_mode) == mode
    made.close()


def test_a_unix_socket_is_shared_and_goes_with_the_server(tmp_path, listeners):
    path = tmp_path / "app.sock"
    listeners.open([Group("web", (f"unix:{path}",), 3)])
    assert sockets(listeners, ("web", 0)) == sockets(listeners, ("web", 1), ("web", 2))
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    listeners.close()
    assert not path.exists()


def test_a_file_that_is_no_socket_is_left_alone(tmp_path, listeners):
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(ChatmasterError, match="is no socket"):
        listeners.open([Group("web", (f"unix:{path}",), 1)])
    assert path.read_text() == "data"


def test_the_file_of_another_server_is_not_removed(tmp_path, listeners):
    path = tmp_path / "app.sock"
    listeners.open([Group("web", (f"unix:{path}",), 1)])
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        listeners.close()
        assert path.exists()


def test_sockets_are_handed_on_to_the_next_image(tmp_path, listeners):
    groups = [Group("web", (f"ws://127.0.0.1:{free_port()}", f"unix:{tmp_path / 'app.sock'}"), 2)]
    before = Listeners(backlog=16)
    before.open(groups)
    kept = before.snapshot()
    assert len(kept) == 3
    fds = become_the_next_image(before, ("web", 0), ("web", 1))
    listeners.restore(kept)
    listeners.open(groups)  # no "in use": they are ours
    assert {sock.fileno() for sock in sockets(listeners, ("web", 0), ("web", 1))} == fds
    assert not any(os.get_inheritable(fd) for fd in fds)


def test_an_address_that_the_next_image_does_not_want_is_closed(listeners):
    port, other = free_port(), free_port()
    before = Listeners(backlog=16)
    before.open([Group("web", (f"ws://127.0.0.1:{port}",), 1)])
    kept = before.snapshot()
    become_the_next_image(before, ("web", 0))
    listeners.restore(kept)
    listeners.open([Group("web", (f"ws://127.0.0.1:{other}",), 1)])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_inherited_sockets_take_the_place_of_the_first_groups(listeners):
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        feed = f"ws://127.0.0.1:{two.getsockname()[1]}"
        groups = [Group("web", ("ws://127.0.0.1:1",), 2), Group("feed", (feed,), 1)]
        groups = list(listeners.inherit(groups, [one, two], tls=False))
        assert groups[0].listen == (f"ws://127.0.0.1:{one.getsockname()[1]}",) and groups[1].listen == (feed,)
        listeners.open(groups)
        assert sockets(listeners, ("web", 0), ("web", 1)) == [one] and sockets(listeners, ("feed", 0)) == [two]


def test_sockets_that_systemd_meant_for_another_process_are_not_taken():
    assert from_systemd({"LISTEN_PID": "1", "LISTEN_FDS": "1"}) == []
    assert from_systemd({}) == []
