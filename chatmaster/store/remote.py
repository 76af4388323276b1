"""Inspects a configured store: whether it answers, does what workers need, and how it is configured.

A start, `doctor` and `check --store` use it. The import of redis takes 0.1 s or more, so only code that asks a
configured store may import this file. No message shows a password.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

import redis
from redis.sentinel import MasterNotFoundError

from chatmaster.errors import StoreUnreachable
from chatmaster.store import client as store_client
from chatmaster.store import layout, refusals
from chatmaster.store import url as store_url
from chatmaster.store.cluster_map import Address, ClusterMap, map_of


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """The configuration of a store; "" for unknown values (a managed service may forbid CONFIG)."""

    program: str  # "Valkey 9.1.2"
    durability: str  # "disk", "second", "replica" (in memory of more than one, or with Sentinel), "memory" or ""
    maxmemory_policy: str
    pubsub_buffer: str  # client-output-buffer-limit of subscribers: "hard soft seconds"
    clock_offset: float  # seconds that the store's clock is ahead of ours
    replicas: int
    replica_lag: int  # bytes that the slowest replica has still to get
    used_memory: int  # bytes
    max_memory: int  # bytes; 0: no limit
    shards_away: int = 0  # of a cluster: shards that no node serves now
    whole_or_nothing: bool = False  # of a cluster: with one shard away all nodes refuse everything
    masters: int = 1
    replicas_to_write: int = -1  # without which the master refuses writes (min-replicas-to-write); -1: not known


_OLDEST: Final = (6, 2)
_TRIAL: Final = "!trial"  # beside no room

# Tries every command that the workers' scripts use: a managed service may have renamed one, an ACL user may lack one.
# KEYS[1] is a string, KEYS[2] a stream, KEYS[3] a hash, KEYS[4] a sorted set, ARGV[1] a channel. The script deletes
# its keys, except for the string, which expires.
_TRIALS: Final = """
local string, stream, hash, set = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local trials = {
  { 'INFO', 'replication' }, { 'TIME' }, { 'PUBLISH', ARGV[1], '' },
  { 'SET', string, '', 'EX', 60 }, { 'GET', string }, { 'EXISTS', string }, { 'PERSIST', string },
  { 'PEXPIREAT', string, '99999999999999' }, { 'EXPIRE', string, 60 }, { 'TTL', string }, { 'PTTL', string },
  { 'PEXPIRE', string, 60000 }, { 'RPUSH', stream, '' }, { 'DEL', stream },
  { 'XADD', stream, 'MAXLEN', '~', 1, '*', 'e', '' }, { 'XLEN', stream }, { 'XRANGE', stream, '-', '+' },
  { 'XREVRANGE', stream, '+', '-' }, { 'XDEL', stream, '0-1' },
  { 'HSET', hash, 'a', '1' }, { 'HINCRBY', hash, 'a', 1 }, { 'HGET', hash, 'a' }, { 'HMGET', hash, 'a' },
  { 'HEXISTS', hash, 'a' }, { 'HLEN', hash }, { 'HKEYS', hash }, { 'HVALS', hash }, { 'HGETALL', hash },
  { 'HSCAN', hash, '0' }, { 'HDEL', hash, 'b' },
  { 'HSETNX', hash, 'a', '1' }, { 'HRANDFIELD', hash, 1 },
  { 'ZADD', set, 1, 'a' }, { 'ZSCORE', set, 'a' }, { 'ZRANGE', set, 0, -1 }, { 'ZRANGEBYSCORE', set, 0, 1 },
  { 'ZREM', set, 'b' }, { 'ZCOUNT', set, 0, 1 }, { 'ZREMRANGEBYSCORE', set, 5, 6 },
  { 'DEL', stream, hash, set },
}
for _, trial in ipairs(trials) do
  local answer = redis.pcall(unpack(trial))
  if type(answer) == 'table' and answer.err then
    return redis.error_reply(answer.err .. ' (asked for ' .. trial[1] .. ')')
  end
end
return 1
"""
TRIAL: Final = _TRIALS.strip()


def inspect(url: str, timeout: float, name: str) -> StoreFacts:
    """Read the configuration of the store and try every command that the instance `name` needs.

    Raises StoreUnreachable with a sentence; its `transient` is true for an error that passes by itself.
    """
    try:
        where = store_url.parse(url)
    except ValueError as error:
        raise StoreUnreachable(f"store.url: {error}") from None
    try:
        if where.is_cluster:
            return _inspect_cluster(where, timeout, name)
        with store_client.connect(where, timeout) as client:
            facts = _facts(client, fails_over=bool(where.service))
            _use(client, name, layout.shard_of(_TRIAL), database=where.database)
            return facts
    except MasterNotFoundError:
        raise StoreUnreachable(f"{where.shown}: no sentinel knows a master for that service") from None
    except redis.TimeoutError:
        raise StoreUnreachable(f"{where.shown}: no answer within {timeout:g} s") from None
    except (redis.RedisError, OSError, ValueError) as error:
        words = store_client.words_of(error)
        why = refusals.explained(words, name) if words else _reason(error)
        raise StoreUnreachable(f"{where.shown}: {why}", transient=refusals.is_transient(words)) from None


def _inspect_cluster(where: store_url.StoreUrl, timeout: float, name: str) -> StoreFacts:
    """The facts of the worst node in each respect, after each master was used in one of its shards.

    A master that is away is counted as its shards: the others serve. Raises the errors of redis where all are away.
    """
    found = _map(where, timeout)
    shards: dict[Address, list[int]] = {}
    for shard, owner in enumerate(found.owners):
        if owner is not None:
            shards.setdefault(owner, []).append(shard)
    facts: list[StoreFacts] = []
    away = sum(owner is None for owner in found.owners)
    why: Exception = redis.ConnectionError("no node has a shard")
    for address, own in shards.items():
        with store_client.connect_node(where, address, timeout) as client:
            try:
                facts.append(_facts(client, fails_over=False))
            except (redis.ConnectionError, redis.TimeoutError) as error:
                away, why = away + len(own), error
                continue
            _use(client, name, own[0], sharded=found.sharded)
    if not facts:
        raise why
    ranks = ("", "memory", "replica", "second", "disk")
    fullest = max(facts, key=lambda one: one.used_memory / one.max_memory if one.max_memory else 0.0)
    return dataclasses.replace(
        facts[0],
        program=min((one.program for one in facts), key=lambda program: program.split()[-1]),
        durability=min((one.durability for one in facts), key=ranks.index),
        maxmemory_policy=next((one.maxmemory_policy for one in facts if refusals.eviction(one.maxmemory_policy)), ""),
        pubsub_buffer=min((one.pubsub_buffer for one in facts), key=_soft_limit),
        clock_offset=max((one.clock_offset for one in facts), key=abs),
        replicas=min(one.replicas for one in facts),
        replica_lag=max(one.replica_lag for one in facts),
        used_memory=fullest.used_memory,
        max_memory=fullest.max_memory,
        shards_away=away,
        whole_or_nothing=any(one.whole_or_nothing for one in facts),
        masters=len(shards),
        replicas_to_write=min((one.replicas_to_write for one in facts if one.replicas), default=-1),
    )


def _map(where: store_url.StoreUrl, timeout: float) -> ClusterMap:
    """The map of the first node that answers. Raises the errors of redis, ValueError."""
    why: Exception = redis.ConnectionError("no node is named")
    for address in where.hosts:
        try:
            with store_client.connect_node(where, address, timeout) as client:
                slots = client.execute_command("CLUSTER", "SLOTS")
                info = cast(Mapping[str, Any], client.info("server"))
        except (redis.ConnectionError, redis.TimeoutError) as error:
            why = error
            continue
        return map_of(slots, address, sharded=_version(info) >= (7, 0))
    raise why


def _soft_limit(limits: str) -> int:
    parts = limits.split()
    return int(parts[1]) or 1 << 60 if len(parts) > 1 else 1 << 60


def _use(client: redis.Redis, name: str, shard: int, *, database: int = 0, sharded: bool = False) -> None:
    """Publish, write and subscribe in a shard as a worker does. Raises the errors of redis."""
    channel = layout.channel_in(name, database, shard, _TRIAL)
    keys = trial_keys(name, shard)
    client.eval(TRIAL.replace("'PUBLISH'", "'SPUBLISH'") if sharded else TRIAL, len(keys), *keys, channel)
    with client.pubsub() as subscription:  # type: ignore[no-untyped-call]  # redis-py leaves it unannotated
        (subscription.ssubscribe if sharded else subscription.subscribe)(channel)
        subscription.parse_response(timeout=client.connection_pool.connection_kwargs.get("socket_timeout"))


def _facts(client: redis.Redis, *, fails_over: bool) -> StoreFacts:
    seconds, microseconds = client.time()
    offset = seconds + microseconds / 1e6 - time.time()
    info = cast(Mapping[str, Any], client.info())
    if _version(info) < _OLDEST:
        raise redis.ResponseError(
            f"the store is Redis {info.get('redis_version')}, and 6.2 is the oldest supported version"
        )
    if info.get("role") == "slave":
        raise redis.ResponseError("READONLY the store is a replica")
    program = f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {info.get('redis_version')}"
    config = _config(client)
    replicas = int(info.get("connected_slaves", 0))
    buffers = config.get("client-output-buffer-limit", "")
    return StoreFacts(
        program=program,
        durability=_durability(config, replicas, fails_over=fails_over),
        maxmemory_policy=config.get("maxmemory-policy", ""),
        pubsub_buffer=buffers.partition("pubsub ")[2].strip(),
        clock_offset=offset,
        replicas=replicas,
        replica_lag=_replica_lag(info, replicas),
        used_memory=int(info.get("used_memory", 0)),
        max_memory=int(info.get("maxmemory", 0)),
        whole_or_nothing=config.get("cluster-require-full-coverage") == "yes",
        replicas_to_write=int(config.get("min-replicas-to-write", -1)),
    )


def _replica_lag(info: Mapping[str, Any], replicas: int) -> int:
    """How far the slowest replica is behind, in bytes of the stream of changes."""
    written = int(info.get("master_repl_offset", 0))
    rows = [row for number in range(replicas) if isinstance(row := info.get(f"slave{number}"), Mapping)]
    return max((written - int(row.get("offset", 0)) for row in rows), default=0)


def _version(info: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(int(part) for part in str(info.get("redis_version", "")).split(".")[:2] if part.isdigit())


def _config(client: redis.Redis) -> Mapping[str, str]:
    try:
        found = client.config_get(
            "append*", "maxmemory-policy", "client-output-buffer-limit", "cluster-require*", "min-replicas-to-write"
        )
    except redis.ResponseError:
        return {}  # forbidden by an ACL or renamed by a managed service
    return cast(Mapping[str, str], {_text(key): _text(value) for key, value in cast(Mapping[Any, Any], found).items()})


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _durability(config: Mapping[str, str], replicas: int, *, fails_over: bool) -> str:
    """Where an acknowledged message is safe. With Sentinel that is the memory of a replica.

    However the master syncs, messages that the replica does not have yet are lost with the master.
    """
    if fails_over:
        return "replica"
    if "appendonly" not in config:
        return ""
    synced = config.get("appendfsync", "") if config["appendonly"] == "yes" else ""
    return {"always": "disk", "everysec": "second"}.get(synced, "replica" if replicas else "memory")


def _reason(error: Exception) -> str:
    """The text of the innermost system error, which redis wraps in a text with numbers."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return str(error) or type(error).__name__


def trial_keys(name: str, shard: int) -> list[str]:
    """KEYS of `TRIAL`: in one slot, and within the permissions of the instance `name`."""
    return layout.keys_in(name, shard, _TRIAL, "stamp", "stream", "hash", "set")
