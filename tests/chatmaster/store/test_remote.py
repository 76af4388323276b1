"""What a store is tried with at the start is all that the workers' scripts ask of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from chatmaster.store import layout
from chatmaster.store.remote import TRIAL, inspect, trial_keys
from tests.support.store import RedisServer
from tests.support.wait import until

WORKERS = Path(__file__).parents[3] / "workers"


def test_every_command_of_every_script_is_tried() -> None:
    sources = [path.read_text("utf-8") for path in WORKERS.rglob("*.lua")]
    used = {name for source in sources for name in re.findall(r"redis\.p?call\('([A-Z]+)'", source)}
    tried = set(re.findall(r"\{ '([A-Z]+)'", TRIAL))
    assert len(used) > 25 and used - tried == set()


def test_the_trial_stays_within_one_slot_and_the_instances_own_keys() -> None:
    keys = trial_keys("chat", 7)
    assert {layout.shard_of_name(key) for key in keys} == {7}
    assert all(key.startswith("chat:{") for key in keys)


def test_how_far_a_replica_is_behind_and_how_full_the_store_is(redis_server: Callable[..., RedisServer]) -> None:
    store = redis_server(tcp=True, options=("--maxmemory", "50mb"))
    replica = redis_server(options=("--replicaof", "127.0.0.1", str(store.port)))
    until(lambda: replica.client.info("replication")["master_link_status"] == "up", 30.0, "the replica follows")
    until(lambda: inspect(store.tcp_url, 5.0, "chat").replica_lag < 100_000, 30.0, "the replica has everything")
    replica.freeze()
    store.client.set("large", b"x" * 1_000_000)
    facts = inspect(store.tcp_url, 5.0, "chat")
    assert (facts.replicas, facts.replicas_to_write) == (1, 0)
    assert facts.replica_lag >= 1_000_000
    assert (facts.max_memory, facts.used_memory > 1_000_000) == (50 * 1024 * 1024, True)
    replica.thaw()
