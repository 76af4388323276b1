"""What doctor finds, with a real store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatmaster.cli import doctor
from chatmaster.cli.doctor import Finding
from chatmaster.config import loader
from chatmaster.store.client import connect
from chatmaster.store.embedded import EmbeddedStore
from chatmaster.store.url import parse
from tests.support.wait import until


def findings(tmp_path: Path, *overrides: str, file: str | None = None) -> dict[str, Finding]:
    loaded = loader.load(
        file, overrides=overrides, flags={"master.state_dir": str(tmp_path / "state")}, environ={}, directory=tmp_path
    )
    return {finding.what: finding for finding in doctor.examine(loaded)}


@pytest.fixture
def url(tmp_path) -> Iterator[str]:
    store = EmbeddedStore("chat", tmp_path / "store")
    pid = store.spawn()
    until(store.answers)
    yield store.url
    store.kill()
    os.waitpid(pid, 0)


def test_a_plain_machine_is_good(tmp_path):
    found = findings(tmp_path)
    assert not any(finding.is_wrong for finding in found.values())
    assert "embedded" in found["store"].found


def test_a_store_that_is_not_there_is_wrong_and_shows_no_password(tmp_path):
    finding = findings(tmp_path, "store.url=redis://u:hunter2@127.0.0.1:1")["store"]
    assert finding.is_wrong
    assert finding.found == "redis://127.0.0.1:1/0: Connection refused"


def test_a_store_that_is_set_up_like_ours_is_good(tmp_path, url):
    found = findings(tmp_path, f"store.url={url}")
    assert {found[what].level for what in ("store", "durability", "subscriber buffer", "clock")} == {"good"}
    assert "eviction" not in found


@pytest.mark.parametrize(
    ("key", "value", "what", "level"),
    [
        ("appendfsync", "everysec", "durability", "warning"),
        ("appendonly", "no", "durability", "warning"),
        ("maxmemory-policy", "allkeys-lru", "eviction", "wrong"),
        ("client-output-buffer-limit", "pubsub 32mb 8mb 60", "subscriber buffer", "warning"),
    ],
)
def test_a_store_that_may_lose_messages_is_told(tmp_path, url, key, value, what, level):
    with connect(parse(url), 5) as client:
        client.config_set(key, value)
    finding = findings(tmp_path, f"store.url={url}")[what]
    assert finding.level == level
    assert "CONFIG SET" in finding.advice


def test_a_store_in_memory_with_a_replica_is_told_apart(tmp_path, redis_server):
    store = redis_server(tcp=True, options=("--repl-diskless-sync-delay", "0"))
    replica = redis_server(options=("--replicaof", "127.0.0.1", str(store.port)))
    until(lambda: replica.client.info("replication")["master_link_status"] == "up")
    found = findings(tmp_path, f"store.url={store.url}")
    assert found["durability"].found == "memory of 2 servers"
    assert found["replicas to write"].level == "warning"
    assert "CONFIG SET min-replicas-to-write 1" in found["replicas to write"].advice
    store.client.config_set("min-replicas-to-write", 1)
    assert "replicas to write" not in findings(tmp_path, f"store.url={store.url}")


def test_a_state_directory_that_is_open_to_others_is_wrong(tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(0o755)
    assert findings(tmp_path)["state directory"].is_wrong


def test_a_short_secret_and_a_file_that_all_can_read_are_told(tmp_path):
    (tmp_path / "a.toml").write_text("[auth]\nsecret = 'sixteen bytes ok'\n")
    (tmp_path / "a.toml").chmod(0o644)
    found = findings(tmp_path, file="a.toml")
    assert found["auth.secret"].found == "16 bytes"
    assert "chmod o-r" in found["permissions"].advice
