"""Stores that answer and refuse: a start fails with their words, a running server says why and comes back."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from chatmaster.contract import ExitCode
from chatmaster.store import layout, refusals
from tests.support import processes
from tests.support.server import ROOT, Chatmaster, DidNotStart
from tests.support.store import RedisServer
from tests.support.wait import until
from tests.support.ws import ChatSocket

Make = Callable[..., Chatmaster]
MakeStore = Callable[..., RedisServer]

MIN = ("min-replicas-to-write",)
REDIS = shutil.which("redis-server") or ""
pytestmark = [pytest.mark.skipif(not REDIS, reason="no redis-server on PATH"), pytest.mark.timeout(120)]


def refused(chatmaster: Make, url: str) -> str:
    """What a start with that store says; it must refuse."""
    with pytest.raises(DidNotStart) as raised:
        chatmaster(workers=1, settings={"store.url": url})
    assert raised.value.exit_code == ExitCode.STORE_UNREACHABLE
    return str(raised.value)


def ready(server: Chatmaster) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"{server.http}/ready", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.fixture
def node_of_a_cluster(tmp_path: Path) -> Iterator[str]:
    """One node that serves half of the slots: commands are MOVED, or the cluster is down."""
    port = processes.free_port()
    command = [REDIS, "--port", str(port), "--cluster-enabled", "yes", "--dir", str(tmp_path), "--save", ""]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with redis.Redis(port=port, protocol=2) as client:
        until(lambda: _pings(client), what="the node answers")
        yield f"redis://127.0.0.1:{port}"
    process.terminate()
    process.wait(10)


def _pings(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


def test_a_node_of_a_cluster_is_refused(chatmaster: Make, node_of_a_cluster: str) -> None:
    said = refused(chatmaster, node_of_a_cluster)
    assert "CLUSTERDOWN" in said and "redis+cluster://HOST:PORT,HOST:PORT" in said


def test_a_replica_is_refused(chatmaster: Make, redis_server: MakeStore) -> None:
    store = redis_server(tcp=True, program=REDIS)
    replica = redis_server(tcp=True, program=REDIS, options=("--replicaof", "127.0.0.1", str(store.port)))
    until(lambda: replica.client.info("replication")["master_link_status"] == "up", what="the replica follows")
    assert "READONLY" in (said := refused(chatmaster, replica.tcp_url)) and "redis+sentinel://" in said


@pytest.mark.parametrize(
    "rules",
    [
        "~other:* &* +@all",
        "~chat:* resetchannels +@all",
        "~chat:* &chat@* +@all -eval -evalsha",
        "~chat:* &chat@* +ping",
    ],
    ids=["keys", "channels", "scripts", "commands"],
)
def test_a_user_without_a_permission_is_refused_with_what_is_needed(
    chatmaster: Make, redis_server: MakeStore, rules: str
) -> None:
    store = redis_server(tcp=True, program=REDIS)
    store.client.execute_command("ACL", "SETUSER", "app", "reset", "on", ">secret", *rules.split())
    said = refused(chatmaster, f"redis://app:secret@127.0.0.1:{store.port}/0")
    assert f"the user needs: ACL SETUSER USER {refusals.acl('chat')}" in said and "secret" not in said


@pytest.mark.parametrize("name", ["XADD", "HSET", "ZADD", "PUBLISH"])
def test_a_store_with_a_renamed_command_is_refused_by_its_name(
    chatmaster: Make, redis_server: MakeStore, name: str
) -> None:
    """It was ready, and refused whatever clients said."""
    store = redis_server(tcp=True, program=REDIS, options=("--rename-command", name, ""))
    said = refused(chatmaster, store.tcp_url)
    assert f"asked for {name}" in said and "must not rename commands" in said


def test_a_place_for_one_client_is_too_few_and_that_is_said(chatmaster: Make, redis_server: MakeStore) -> None:
    """The master finds room, its workers do not: they say why before the master gives them up."""
    store = redis_server(tcp=True, program=REDIS, options=("--maxclients", "1"))
    with pytest.raises(DidNotStart) as raised:
        chatmaster(workers=1, settings={"store.url": store.tcp_url, "master.ready_timeout": 5.0})
    assert raised.value.exit_code == ExitCode.STORE_UNREACHABLE and "raise its maxclients" in raised.value.reason


def test_a_permission_that_is_taken_away_while_it_runs_is_noticed(chatmaster: Make, redis_server: MakeStore) -> None:
    store = redis_server(tcp=True, program=REDIS)
    store.client.execute_command("ACL", "SETUSER", "app", "reset", "on", ">secret", *refusals.acl("chat").split())
    server = chatmaster(workers=1, settings={"store.url": f"redis://app:secret@127.0.0.1:{store.port}/0"})
    assert ready(server)[0] == 200
    store.client.execute_command("ACL", "SETUSER", "app", "-xadd")
    until(lambda: ready(server)[0] == 503, what="it is not ready")
    assert "NOPERM" in ready(server)[1]
    store.client.execute_command("ACL", "SETUSER", "app", "+xadd")
    until(lambda: ready(server)[0] == 200, what="it is ready again")
    assert server.ctl("say", "lobby", "one").returncode == 0
    store.client.execute_command("ACL", "SETUSER", "app", "-hset")
    assert server.ctl("say", "lobby", "refused").returncode == 1  # its entry was written, its position was not
    until(lambda: ready(server)[0] == 503, what="it is not ready")
    store.client.execute_command("ACL", "SETUSER", "app", "+hset")
    until(lambda: ready(server)[0] == 200, what="it is ready again")
    done = server.ctl("say", "lobby", "two")
    assert done.returncode == 0, f"the room takes nothing any more: {done.stderr}"
    assert store.client.xlen(layout.key("chat", "lobby", "log")) == 2
    assert "refused" not in repr(store.client.xrange(layout.key("chat", "lobby", "log")))


@pytest.mark.parametrize(("taken", "given"), [("-subscribe", "+subscribe"), ("resetchannels", "&chat@*")])
def test_subscriptions_that_are_forbidden_while_it_runs_are_noticed(
    chatmaster: Make, redis_server: MakeStore, taken: str, given: str
) -> None:
    store = redis_server(tcp=True, program=REDIS)
    store.client.execute_command("ACL", "SETUSER", "app", "reset", "on", ">secret", *refusals.acl("chat").split())
    server = chatmaster(workers=1, settings={"store.url": f"redis://app:secret@127.0.0.1:{store.port}/0"})
    pids = server.pids
    store.client.execute_command("ACL", "SETUSER", "app", taken)
    until(lambda: ready(server)[0] == 503, 20, "it is not ready")
    until(lambda: "NOPERM" in ready(server)[1], 20, "and says why")
    until(lambda: server.status()["store"]["state"] == "refusing", 20, "status says so")
    until(lambda: "NOPERM" in server.log(), 20, "so does the log")
    store.client.execute_command("ACL", "SETUSER", "app", given)
    until(lambda: ready(server)[0] == 200, 20, "it is ready again")
    assert server.ctl("say", "lobby", "one").returncode == 0 and server.pids == pids


@pytest.mark.parametrize(("login", "code"), [("", "NOAUTH"), (":wrong@", "WRONGPASS"), ("nobody:s3cret@", "WRONGPASS")])
def test_a_wrong_login_is_refused_with_the_stores_words(
    chatmaster: Make, redis_server: MakeStore, login: str, code: str
) -> None:
    store = redis_server(tcp=True, program=REDIS)
    store.client.config_set("requirepass", "s3cret")
    assert code in (said := refused(chatmaster, f"redis://{login}127.0.0.1:{store.port}/0")) and "percent-" in said


def test_a_full_store_and_one_without_a_place_for_clients_are_refused(
    chatmaster: Make, redis_server: MakeStore
) -> None:
    store = redis_server(tcp=True, program=REDIS)
    store.client.config_set("maxmemory", 1)
    assert "OOM" in (said := refused(chatmaster, store.tcp_url)) and "raise it (CONFIG SET maxmemory)" in said
    store.client.config_set("maxmemory", 0)
    store.client.config_set("maxclients", 1)
    assert "raise its maxclients" in refused(chatmaster, store.tcp_url)
    store.client.config_set("maxclients", 100)
    assert "the store has fewer databases" in refused(chatmaster, store.tcp_url.removesuffix("0") + "99")


async def test_the_documented_user_can_run_the_whole_server(chatmaster: Make, redis_server: MakeStore) -> None:
    assert f"on >PASSWORD {refusals.acl('chat')}\n" in (ROOT / "etc/doc/operating.md").read_text()
    store = redis_server(tcp=True, program=REDIS, options=("--maxmemory-policy", "allkeys-lru"))
    store.client.execute_command("ACL", "SETUSER", "app", "reset", "on", ">secret", *refusals.acl("chat").split())
    server = chatmaster(workers=2, settings={"store.url": f"redis://app:secret@127.0.0.1:{store.port}/1"})
    assert "allkeys-lru evicts messages" in server.log()
    async with (
        await ChatSocket.enter(server.url, "lobby", name="ann") as ann,
        await ChatSocket.enter(server.url, "lobby", name="bob") as bob,
    ):
        ack = await ann.ask(type="say", room="lobby", text="hello", key="k")
        await bob.expect("message", text="hello")
        await ann.ask(type="edit", room="lobby", offset=ack["offset"], text="hello!")
        await ann.ask(type="react", room="lobby", offset=ack["offset"], emoji="👍")
        await bob.ask(type="direct", to=ann.user, text="psst")
        await ann.expect("message", text="psst")
        assert (await ann.ask(type="history", room="lobby"))["type"] == "history"
        assert (await ann.ask(type="members", room="lobby"))["type"] == "members"
        assert server.ctl("mute", bob.user).returncode == ExitCode.DONE
        assert server.ctl("ban", bob.user).returncode == ExitCode.DONE
    assert server.ctl("reload").returncode == ExitCode.DONE
    denied = store.client.execute_command("ACL", "LOG")
    assert denied == [], "nothing that the server does is denied"
    assert "NOPERM" not in server.log()


async def test_a_store_that_fills_up_is_said_where_one_looks(chatmaster: Make, redis_server: MakeStore) -> None:
    store = redis_server(tcp=True, program=REDIS)
    server = chatmaster(workers=2, settings={"store.url": store.tcp_url})
    async with await ChatSocket.enter(server.url, "lobby", name="ann") as ann:
        await ann.ask(type="say", room="lobby", text="before")
        store.client.config_set("maxmemory", 1)
        for room in ("lobby",):
            answer = await ann.ask(type="say", room=room, text="during")
            assert (answer["type"], answer["code"]) == ("error", "refused") and "outcome" not in answer["message"]
        until(
            lambda: ready(server)[0] == 503 and "OOM" in ready(server)[1], what="/ready says that it is out of memory"
        )
        until(lambda: server.status()["store"]["state"] == "refusing", what="status says it")
        assert "OOM" in server.status()["store"]["reason"]
        told = server.ctl("status")
        assert "OOM" in told.stdout
        said = server.ctl("say", "lobby", "too much")
        assert said.returncode == ExitCode.FAILED and "OOM" in said.stderr, said.stderr
        until(lambda: server.log().count("the store writes nothing: OOM") == 2, what="each worker says it once")
        store.client.config_set("maxmemory", 0)
        until(lambda: server.status()["store"]["state"] == "ready", what="it is over")
        until(lambda: ready(server)[0] == 200, what="ready again")
    # Another one: while this test waited, the first may have missed its pings.
    async with await ChatSocket.enter(server.url, "lobby", name="ann") as ann:
        assert (await ann.ask(type="say", room="lobby", text="after"))["type"] == "ack"
    assert server.log().count("the store writes nothing: OOM") == 2, "one line for each worker"
    assert json.dumps(server.status())


@pytest.mark.parametrize(
    ("break_it", "mend_it", "word"),
    [
        (("ACL", "SETUSER", "default", "resetchannels"), ("ACL", "SETUSER", "default", "allchannels"), "NOPERM"),
        (
            ("CONFIG", "SET", "min-replicas-to-write", "1"),
            ("CONFIG", "SET", "min-replicas-to-write", "0"),
            "NOREPLICAS",
        ),
        (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE"), "READONLY"),
    ],
    ids=["channels", "replicas", "demoted"],
)
def test_a_store_that_begins_to_refuse_is_one_line_for_each_worker_and_a_cause(
    chatmaster: Make, redis_server: MakeStore, break_it: tuple[str, ...], mend_it: tuple[str, ...], word: str
) -> None:
    store = redis_server(tcp=True, program=REDIS)
    server = chatmaster(workers=2, settings={"store.url": store.tcp_url, "store.timeout": 1.0})
    before = len(server.log())
    store.client.execute_command(*break_it)
    until(lambda: word in json.dumps(server.status()["faults"]), 30, what="status has the cause")
    until(lambda: ready(server)[0] == 503 and word in ready(server)[1], 30, what="/ready has it, too")
    store.client.execute_command(*mend_it)
    until(lambda: server.status()["store"]["state"] == "ready", 30, what="it serves again")
    until(lambda: server.log().count("connected to the store again") == 2, 30, what="and both say so")
    lines = [line for line in server.log()[before:].splitlines() if " worker " in line or "bus" in line]
    assert len([line for line in lines if word in line]) == 2, "\n".join(lines)
    assert server.ctl("say", "lobby", "hello").returncode == ExitCode.DONE


def test_a_store_that_another_script_occupies_is_said_once_and_nothing_is_lost(
    chatmaster: Make, redis_server: MakeStore
) -> None:
    store = redis_server(tcp=True, program=REDIS)
    server = chatmaster(workers=2, settings={"store.url": store.tcp_url, "store.timeout": 1.0})
    store.client.config_set("busy-reply-threshold", 100)
    store.client.connection_pool.disconnect()
    endless = redis.Redis(port=store.port, protocol=2, retry=Retry(NoBackoff(), 0), socket_timeout=0.2)
    with endless, pytest.raises(redis.TimeoutError):
        endless.eval("while true do end", 0)
    until(lambda: "SCRIPT KILL ends it" in json.dumps(server.status()["faults"]), 30, what="status has the cause")
    said = server.ctl("say", "lobby", "hello")
    assert said.returncode == ExitCode.FAILED and "BUSY" in said.stderr, said.stderr
    store.client.script_kill()
    until(lambda: server.log().count("connected to the store again") == 2, 30, what="it serves again")
    assert server.log().count("BUSY") == 2, "one line for each worker"
    assert server.ctl("say", "lobby", "hello").returncode == ExitCode.DONE


def test_a_store_that_reads_its_data_is_waited_for(chatmaster: Make, redis_server: MakeStore) -> None:
    store = redis_server(tcp=True, program=REDIS, fsync="everysec")
    with store.client.pipeline(transaction=False) as pipe:
        for number in range(5000):
            pipe.set(f"key-{number}", "x")
        pipe.execute()
    store.stop()
    store.options = ("--key-load-delay", "1000")  # µs for each command of the file: five seconds in all
    with ThreadPoolExecutor(1) as pool, redis.Redis(port=store.port, protocol=2, retry=Retry(NoBackoff(), 0)) as client:
        started = pool.submit(store.start)
        until(lambda: _is_loading(client), what="the store takes connections and reads its data")
        server = chatmaster(workers=1, settings={"store.url": store.tcp_url})
        started.result(30)
    assert server.states() == ["ready"]


def _is_loading(client: redis.Redis) -> bool:
    try:
        client.get("key-1")
    except redis.exceptions.BusyLoadingError:
        return True
    except redis.RedisError:
        pass
    return False
