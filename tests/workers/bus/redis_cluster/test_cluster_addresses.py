"""How nodes are found: TLS and users, IPv6, host names, addresses that they announce, and versions of the server."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from chatmaster.store import refusals
from chatmaster.store.layout import shard_of, slot_of
from chatmaster.store.remote import inspect
from tests.contract.conftest import until
from tests.support.cluster import ClusterServer
from tests.support.programs import has_tls, servers
from tests.workers.bus.redis_cluster.conftest import ROOMS, Worker, nodes_of
from workers import Gateway
from workers.async_gateway import AsyncGateway
from workers.bus.port import Placed
from workers.gateway_calls import InstanceNotRunning


async def serves(worker: Worker, cluster: ClusterServer, url: str = "") -> set[str]:
    """Every room takes messages and tells them, also one whose slot has just moved; the hosts that are connected.

    What `doctor` asks finds the nodes, too.
    """
    for room in ROOMS:
        worker.publish(room)
    await until(lambda: all(worker.heard.offsets(room) == [1] for room in ROOMS), within=20)
    slot = slot_of(shard_of(ROOMS[0]))
    home = cluster.master_of(slot)
    away = next(node for node in cluster.masters if node is not home)
    await asyncio.to_thread(cluster.move, slot, away)
    worker.publish(ROOMS[0])
    await until(lambda: len(worker.answers[ROOMS[0]]) == 2, within=20)
    assert isinstance(worker.answers[ROOMS[0]][-1], Placed), worker.answers[ROOMS[0]]
    await until(lambda: worker.heard.events.count(f"subscribed {ROOMS[0]}") > 1, within=20)
    worker.publish(ROOMS[0])
    await until(lambda: worker.heard.offsets(ROOMS[0])[-1:] == [3], within=20)
    for room in ROOMS:
        assert await worker.failures(room) == []
    facts = await asyncio.to_thread(inspect, url or cluster.url, 5.0, "chat")
    assert (facts.masters, facts.shards_away) == (len(cluster.masters), 0)
    return {host for host, _ in nodes_of(worker)}


async def gateways_find(url: str) -> None:
    """Both look for the settings that a server tells, and there is none."""
    await asyncio.to_thread(_ask_blocking, url)
    async with AsyncGateway(url) as gateway:
        with pytest.raises(InstanceNotRunning):
            await gateway.online()


def _ask_blocking(url: str) -> None:
    with Gateway(url) as gateway, pytest.raises(InstanceNotRunning):
        gateway.online()


@pytest.mark.skipif(not has_tls(), reason="no redis-server with TLS on PATH")
async def test_nodes_behind_tls_with_a_user_who_may_what_the_documents_say(directory, start):
    cert, key = certificate(directory)
    rules = " ".join(("user app on >s3cret", refusals.acl("chat")))
    options: tuple[str, ...] = (
        "--tls-cert-file",
        str(cert),
        "--tls-key-file",
        str(key),
        "--tls-ca-cert-file",
        str(cert),
    )
    options += ("--tls-auth-clients", "no", "--tls-cluster", "yes", "--tls-replication", "yes")
    login = {"ssl": True, "ssl_ca_certs": str(cert)}
    program = str(shutil.which("redis-server"))
    with ClusterServer(directory / "c", masters=2, program=program, options=options, login=login) as cluster:
        for node in cluster.nodes:
            node.client.execute_command("ACL", "SETUSER", *rules.split()[1:])
        url = f"rediss+cluster://app:s3cret@{cluster.hosts}?ssl_ca_certs={cert}"
        assert await serves(await start(cluster, url=url), cluster, url) == {"127.0.0.1"}
        await gateways_find(url)


def certificate(directory: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, and its key."""
    cert, key = directory / "cert.pem", directory / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(key), "-out", str(cert), "-days", "1", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this machine")
async def test_nodes_at_addresses_of_ipv6(directory, start):
    with ClusterServer(directory / "c", masters=2, host="::1") as cluster:
        assert await serves(await start(cluster), cluster) == {"::1"}
        await gateways_find(cluster.url)


@pytest.mark.parametrize(
    ("options", "known_as"),
    [
        (("--cluster-announce-hostname", "localhost", "--cluster-preferred-endpoint-type", "hostname"), "localhost"),
        (("--cluster-preferred-endpoint-type", "hostname"), "127.0.0.1"),
        (("--cluster-preferred-endpoint-type", "unknown-endpoint"), "127.0.0.1"),
        (("--bind", "127.0.0.1", "127.0.0.7", "--cluster-announce-ip", "127.0.0.7"), "127.0.0.7"),
    ],
    ids=["host names", "no host names", "the address that was asked", "behind NAT"],
)
async def test_nodes_are_called_at_what_they_announce(directory, start, options, known_as):
    with ClusterServer(directory / "c", masters=2, options=options) as cluster:
        assert await serves(await start(cluster), cluster) == {known_as}
        if options[-1] == "127.0.0.7" or known_as == "localhost":  # redis-py goes nowhere else
            await gateways_find(cluster.url)


@pytest.mark.parametrize("program", servers(), ids=lambda one: str(one))
async def test_a_cluster_of_each_version_at_hand(directory, start, program: Any):
    with ClusterServer(directory / "c", program=str(program.path)) as cluster:
        worker = await start(cluster)
        await serves(worker, cluster)
        assert worker.bus.publish_verb == (
            "PUBLISH" if (program.kind, program.version) < ("redis", (7,)) else "SPUBLISH"
        )
