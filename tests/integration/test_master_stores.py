"""Stores that somebody else runs: behind Sentinel, with a real failover, and behind TLS."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from chatmaster.contract import ExitCode
from chatmaster.store.binary import find_program
from tests.support import processes
from tests.support.programs import has_tls
from tests.support.server import Chatmaster, DidNotStart
from tests.support.store import RedisServer
from tests.support.wait import until

Make = Callable[..., Chatmaster]
MakeStore = Callable[..., RedisServer]
CONFIGURATION = """
port {port}
dir {directory}
sentinel monitor main 127.0.0.1 {store} 1
sentinel down-after-milliseconds main 1000
sentinel failover-timeout main 4000
"""


@pytest.fixture
def sentinel(redis_server: MakeStore, tmp_path: Path) -> Iterator[tuple[str, RedisServer]]:
    """The URL of a service with a replica, and the store that is its master."""
    store = redis_server(tcp=True, fsync="everysec")
    replica = redis_server(tcp=True, options=("--replicaof", "127.0.0.1", str(store.port)))
    until(lambda: replica.client.info("replication")["master_link_status"] == "up", what="the replica follows")
    port = processes.free_port()
    (tmp_path / "sentinel.conf").write_text(CONFIGURATION.format(port=port, directory=tmp_path, store=store.port))
    command = [str(find_program().path), str(tmp_path / "sentinel.conf"), "--sentinel"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with redis.Redis(port=port, protocol=2) as client:
        until(lambda: knows_a_replica(client), what="the sentinel knows both")
    yield f"redis+sentinel://127.0.0.1:{port}/main", store
    process.send_signal(signal.SIGTERM)
    process.wait(10)


def knows_a_replica(client: redis.Redis) -> bool:
    try:
        return len(client.execute_command("SENTINEL", "REPLICAS", "main")) == 1
    except redis.RedisError:
        return False


def test_a_failover_of_sentinel_is_followed(chatmaster: Make, sentinel: tuple[str, RedisServer]) -> None:
    url, store = sentinel
    server = chatmaster(workers=1, settings={"store.url": url, "store.timeout": 1.0})
    pids = server.pids
    assert server.status()["store"]["durability"] == "replica"
    assert server.ctl("say", "lobby", "before").returncode == ExitCode.DONE
    store.kill()
    until(lambda: server.status()["store"]["state"] == "away", 20, "the store is missed")
    until(lambda: server.ctl("say", "lobby", "after").returncode == ExitCode.DONE, 30, "the replica has taken over")
    assert server.pids == pids and server.states() == ["ready"]


@pytest.fixture
def secured(redis_server: MakeStore, tmp_path: Path) -> tuple[str, Path]:
    """The URL of a store behind TLS, and its self-signed certificate."""
    program = shutil.which("redis-server")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(key), "-out", str(cert), "-days", "1", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(command, check=True, capture_output=True)
    port = processes.free_port()
    options = ("--tls-port", str(port), "--tls-cert-file", str(cert), "--tls-key-file", str(key))
    redis_server(program=program, options=(*options, "--tls-auth-clients", "no"))
    return f"rediss://localhost:{port}/0", cert


@pytest.mark.skipif(not has_tls(), reason="no redis-server with TLS on PATH")
def test_a_store_behind_tls_is_believed_by_its_certificate(chatmaster: Make, secured: tuple[str, Path]) -> None:
    url, cert = secured
    with pytest.raises(DidNotStart, match="certificate") as raised:
        chatmaster(workers=1, settings={"store.url": url})
    assert raised.value.exit_code == ExitCode.STORE_UNREACHABLE
    server = chatmaster(workers=1, settings={"store.url": f"{url}?ssl_ca_certs={cert}"})
    assert server.status()["store"]["state"] == "ready"
    assert server.ctl("say", "lobby", "hello").returncode == ExitCode.DONE
