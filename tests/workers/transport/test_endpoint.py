"""Accepting: from sockets that stay the master's, with a reserve of descriptors, over TLS and unix sockets."""

import asyncio
import logging
import os
import socket
import ssl
import struct
import subprocess

import pytest

from tests.workers.transport.serving import Peer, Served, text, until, upgrade
from workers.transport.acceptor import server_context
from workers.transport.fd_budget import FdBudget


async def test_stopping_leaves_the_listening_socket_and_what_is_open(serve) -> None:
    served = await serve()
    peer = await served.open()
    served.endpoint.stop_accepting()
    assert not served.endpoint.accepting
    waiting = await served.connect()
    waiting.write(upgrade())
    peer.write(text("still here"))
    assert await peer.message() == "still here"
    sibling = await serve(listener=served.listener)
    await waiting.accepted()
    assert len(sibling.app.seen) == 1


async def test_accepting_pauses_at_the_reserve_and_goes_on(serve, caplog) -> None:
    caplog.set_level(logging.INFO)
    descriptors = FdBudget(limit=20)
    served = await serve(descriptors=descriptors)
    peers = [await served.open(source=f"127.0.0.{2 + number % 3}") for number in range(19)]
    last = await served.open()
    await until(lambda: descriptors.paused)
    assert not served.endpoint.accepting
    waiting = await served.connect()
    waiting.write(upgrade())
    for peer in (*peers, last):
        peer.writer.close()
    await waiting.accepted()
    assert descriptors.pauses == 1
    assert not descriptors.paused
    assert "no new connections are taken at 20 open files" in caplog.text


async def test_one_budget_serves_several_endpoints(serve) -> None:
    descriptors = FdBudget(limit=17)
    first, second = await serve(descriptors=descriptors), await serve(descriptors=descriptors)
    peers = [await first.open(source=f"127.0.0.{2 + number % 3}") for number in range(17)]
    await until(lambda: not second.endpoint.accepting)
    for peer in peers:
        peer.writer.close()
    await second.open()
    assert first.endpoint.accepting


async def test_a_burst_beyond_the_reserve_is_served_later_and_nobody_is_reset(serve) -> None:
    served = await serve(descriptors=FdBudget(limit=20))
    most = 0

    async def visit(number: int) -> None:
        nonlocal most
        peer = await served.open(source=f"127.0.0.{2 + number}")
        most = max(most, served.endpoint.shared.descriptors.used)
        peer.write(text("hello"))
        assert await peer.message() == "hello"
        peer.writer.close()

    await asyncio.wait_for(asyncio.gather(*(visit(number) for number in range(100))), 20)
    if not isinstance(asyncio.get_running_loop(), asyncio.SelectorEventLoop):
        assert most < 20 + 64, "went beyond the reserve"  # asyncio itself accepts as many at once as wait


def test_the_budget_is_what_the_process_has_left() -> None:
    import resource

    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    budget = FdBudget.of_this_process(reserve=64)
    assert soft - 64 - 200 < budget.limit < soft - 64


async def test_a_listener_can_be_added_later(serve) -> None:
    served = await serve()
    with socket.create_server(("127.0.0.1", 0)) as adopted:
        await served.endpoint.listen(adopted)
        reader, writer = await asyncio.open_connection(*adopted.getsockname())
        peer = Peer(reader, writer)
        served.peers.append(peer)
        peer.write(upgrade())
        await peer.accepted()


async def test_a_unix_socket_is_served_and_its_path_stays(serve, tmp_path) -> None:
    path = str(tmp_path / "chat.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        served = await serve(listener=listener, trusted_proxies=("unix",))
        peer = Peer(*await asyncio.open_unix_connection(path))
        served.peers.append(peer)
        peer.write(upgrade("X-Forwarded-For: 203.0.113.9"))
        await peer.accepted()
        await until(lambda: served.app.seen)
        assert served.app.seen[0].ws.remote == ("203.0.113.9", 0)
        peer.write(text("hello"))
        assert await peer.message() == "hello"
        await served.close()
        assert os.path.exists(path)


@pytest.fixture
def certificate(tmp_path) -> tuple[str, str]:
    cert, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", key, "-out", cert, "-days", "1", "-subj", "/CN=localhost"]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key


async def open_tls(served: Served, authority: str) -> Peer:
    """A peer whose handshakes, TLS's and WebSocket's, are done."""
    trusting = ssl.create_default_context(cafile=authority)
    connecting = asyncio.open_connection("127.0.0.1", served.port, ssl=trusting, server_hostname="localhost")
    peer = Peer(*await connecting)
    served.peers.append(peer)
    peer.write(upgrade())
    await peer.accepted()
    return peer


async def test_the_same_over_tls(serve, certificate) -> None:
    served = await serve(tls=server_context(*certificate))
    peer = await open_tls(served, certificate[0])
    peer.write(text("secret"))
    assert await peer.message() == "secret"
    assert served.app.seen[0].ws.freeze() is None
    served.app.seen[0].ws.close(4003, "kicked")
    assert (await peer.next()).payload[0] == 4003
    peer.write(b"\x88\x82\0\0\0\0\x03\xe8")
    await until(lambda: served.endpoint.shared.counts.connections == 0)


async def begin_tls(port: int, trusting: ssl.SSLContext) -> tuple[socket.socket, bytes]:
    """A client whose last flight of the TLS handshake is not sent yet."""
    loop = asyncio.get_running_loop()
    sock = socket.socket()
    sock.setblocking(False)
    await loop.sock_connect(sock, ("127.0.0.1", port))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(incoming, outgoing, server_hostname="localhost")
    while True:
        try:
            client.do_handshake()
        except ssl.SSLWantReadError:
            if data := outgoing.read():
                await loop.sock_sendall(sock, data)
            incoming.write(await loop.sock_recv(sock, 65536))
        else:
            return sock, outgoing.read()


async def test_a_newcomer_whose_predecessor_is_lost_in_the_same_turn_stays(serve, certificate) -> None:
    """The oldest newcomer of an address gives way to the next, also while the loop has still to tell of its end."""
    failures = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: failures.append(context))
    served = await serve(tls=server_context(*certificate), per_address=1)
    trusting = ssl.create_default_context(cafile=certificate[0])
    peers = served.endpoint.shared.peers
    for turns in [*range(5), *range(5)]:
        old, flight = await begin_tls(served.port, trusting)
        await loop.sock_sendall(old, flight)
        await until(lambda: peers.count("127.0.0.1") == 1, 20)
        new, flight = await begin_tls(served.port, trusting)
        old.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        old.close()  # by RST
        for _ in range(turns):
            await asyncio.sleep(0)
        new.send(flight)
        with new:
            await until(lambda: peers.count("127.0.0.1") == 1 and served.endpoint.shared.descriptors.used == 1, 20)
        await until(lambda: served.endpoint.shared.descriptors.used == 0, 20)
        assert not failures


async def test_pings_go_over_tls_too(serve, certificate) -> None:
    served = await serve(tls=server_context(*certificate), ping_interval=0.2, ping_timeout=0.3)
    peer = await open_tls(served, certificate[0])
    assert (await peer.next()).opcode == 9
    assert served.app.seen[0].ws.unsent >= 0
    await until(lambda: served.app.seen[0].closes, 20)  # it answers none
    assert served.app.seen[0].closes[0][0] == 4010


async def test_a_client_without_tls_costs_nothing_lasting(serve, certificate) -> None:
    served = await serve(tls=server_context(*certificate), handshake_timeout=0.3)
    silent = await served.connect()
    plain = await served.connect()
    plain.write(upgrade())
    for peer in (silent, plain):
        try:
            await peer.rest()
        except ConnectionResetError:
            pass
    await until(lambda: served.endpoint.shared.descriptors.used == 0)


async def test_counts_follow_connections(serve) -> None:
    served = await serve()
    peers = [await served.open() for _ in range(3)]
    assert (served.endpoint.shared.counts.connections, served.endpoint.shared.counts.connections_total) == (3, 3)
    assert len(list(served.endpoint.shared.keepalive)) == 3
    peers[0].writer.close()
    await until(lambda: served.endpoint.shared.counts.connections == 2)
    assert served.endpoint.shared.counts.connections_total == 3
    await until(lambda: served.app.seen[0].closes == [(1006, "")])
