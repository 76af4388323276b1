"""What every bus promises when connections, scripts, memory or the store itself go away."""

from __future__ import annotations

import asyncio
import signal

import pytest

from chatmaster.store.layout import shard_of
from tests.contract.conftest import until
from tests.contract.stores import RealStore, only_on
from workers.bus.port import Placed, Position, StoreRefused, Unavailable
from workers.rooms.recovery import Continue, HistoryReset, judge


async def steady(under, count: int, *, key: bool):
    """Publish one after the other as they are answered, 50 under way; what each was told."""
    results: list[object] = [None] * count

    async def one(number: int) -> None:
        try:
            results[number] = await under.publish(
                "lobby", b'{"n":%d}' % number, author="ann", key=f"k{number}" if key else ""
            )
        except Unavailable as error:
            results[number] = error

    running: set[asyncio.Task[None]] = set()
    for number in range(count):
        running.add(asyncio.create_task(one(number)))
        if len(running) >= 50:
            _, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.gather(*running)
    return results


async def kept(under) -> list[bytes]:
    page = await under.bus.read("lobby", after=0, limit=1_000_000, max_bytes=1 << 30)
    return [entry.payload for entry in page.entries]


async def test_scripts_that_the_store_forgets_are_loaded_again_and_nothing_overtakes(under):
    with under.store.each() as clients:
        for round_ in range(20):
            burst = [under.publish("lobby", b'{"n":%d}' % (round_ * 10 + n)) for n in range(10)]
            answers = asyncio.gather(*burst)
            for client in clients:
                client.script_flush()
            await answers
    assert await kept(under) == [b'{"n":%d}' % n for n in range(200)]


async def test_cut_connections_lose_and_double_nothing_that_has_a_key(make):
    under = await make(history_size=100_000)

    async def cut() -> None:
        with under.store.each() as clients:
            for _ in range(10):
                await asyncio.sleep(0.05)
                for client in clients:
                    client.client_kill_filter(_type="normal", skipme=True)
                    client.client_kill_filter(_type="pubsub")

    results, _ = await asyncio.gather(steady(under, 3000, key=True), cut())
    assert all(isinstance(one, Placed) for one in results)
    payloads = await kept(under)
    assert sorted(payloads) == sorted(b'{"n":%d}' % n for n in range(3000))


async def test_cut_connections_double_nothing_that_has_no_key_and_say_unavailable(make):
    under = await make(history_size=100_000)

    async def cut() -> None:
        with under.store.each() as clients:
            for _ in range(10):
                await asyncio.sleep(0.05)
                for client in clients:
                    client.client_kill_filter(_type="normal", skipme=True)

    results, _ = await asyncio.gather(steady(under, 3000, key=False), cut())
    payloads = await kept(under)
    assert len(set(payloads)) == len(payloads)
    for number, result in enumerate(results):
        if isinstance(result, Placed):
            assert payloads[result.offset - 1] == b'{"n":%d}' % number


async def test_a_lost_subscription_is_told_and_confirmed_again(under):
    await under.subscribe("lobby")
    hang_up(under.store)
    await until(lambda: under.heard.events.count("subscribed lobby") == 2)
    assert under.heard.times("disconnected", "lobby") == 1
    await under.publish("lobby")
    await until(lambda: under.heard.publications)


def hang_up(store) -> None:
    """End every subscription of every client."""
    with store.each() as clients:
        for client in clients:
            client.client_kill_filter(_type="pubsub")


async def test_inboxes_are_confirmed_together_after_a_lost_subscription(under):
    """By a cluster for each node, of whose shards alone it is told."""
    told = under.heard.disconnected

    def disconnected(shards=None):
        told(shards)
        if shards is None or shard_of("@ann") in shards:
            under.bus.subscribe("@ann")  # what is shared is not followed just now

    assert under.heard.times("shared", "@ann") == 1, "followed before anything that is published comes back"
    under.heard.disconnected = disconnected
    hang_up(under.store)
    await until(lambda: under.heard.times("shared", "@ann") == 2)
    assert under.heard.times("disconnected", "@ann") == 1 and "subscribed @ann" not in under.heard.events
    under.bus.subscribe("@ann")
    assert under.heard.events[-1] == "subscribed @ann"


async def test_an_unsubscribe_while_the_store_is_away_is_confirmed(under):
    await under.subscribe("lobby")
    under.store.kill()
    await until(lambda: under.heard.events[-1] == "disconnected")
    under.bus.unsubscribe("lobby")
    await until(lambda: under.heard.events[-1] == "unsubscribed lobby")
    under.bus.subscribe("lobby")
    under.store.start()
    await until(lambda: under.heard.events[-1] == "subscribed lobby")


async def test_a_store_that_was_killed_and_comes_back_is_used_again(make):
    under = await make(timeout=10.0)
    first = await under.publish("lobby")
    under.store.kill()
    await until(lambda: under.bus.state == "away")
    waiting = asyncio.ensure_future(under.publish("lobby"))
    under.store.start()
    second = await waiting
    assert second.offset == first.offset + 1
    assert second.epoch != first.epoch
    state = await under.state("lobby")
    assert judge(Position(first.epoch, first.offset), state) == Continue(first.offset)
    await until(lambda: under.bus.state == "ready")


async def test_a_store_that_stays_away_means_unavailable_in_time(make):
    under = await make(timeout=0.5)
    await under.publish("lobby")
    under.store.kill()
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(Unavailable):
        await under.publish("lobby", author="ann", key="k")
    assert loop.time() - began < 2.0
    with pytest.raises(Unavailable):
        await under.bus.read("lobby", after=0, limit=1, max_bytes=1)


async def test_a_frozen_store_means_unavailable_in_time_and_keyed_retries_are_kept_once(make):
    under = await make(timeout=0.5)
    await under.publish("lobby")
    under.store.signal(signal.SIGSTOP)
    try:
        for _ in range(3):
            with pytest.raises(Unavailable):
                await under.publish("lobby", author="ann", key="k")
    finally:
        under.store.signal(signal.SIGCONT)
    await until(lambda: under.bus.state == "ready")
    placed = await under.publish("lobby", author="ann", key="k")
    assert placed.offset == 2
    assert (await under.state("lobby")).top == 2


async def test_a_full_store_refuses_and_burns_no_offset(under):
    await under.publish("lobby")
    with under.store.each() as clients:
        for client in clients:
            client.config_set("maxmemory", 1)
        with pytest.raises(StoreRefused, match="OOM"):
            await under.publish("lobby", author="ann", key="k")
        together = await asyncio.gather(*(under.publish("lobby") for _ in range(20)), return_exceptions=True)
        assert {type(one) for one in together} == {StoreRefused}
        assert (await under.state("lobby")).top == 1
        for client in clients:
            client.config_set("maxmemory", 0)
    assert (await under.publish("lobby", author="ann", key="k")).offset == 2


async def test_what_a_restart_lost_is_seen_from_every_lost_position(under):
    """Kept to an append-only file that is older than what was acknowledged."""
    for _ in range(5):
        await under.publish("lobby")
    old = under.store.append_only()
    lost = [await under.publish("lobby") for _ in range(5)]
    under.store.kill()
    under.store.put_back(old)
    under.store.start()
    again = [await under.publish("lobby", author="a", key=str(n)) for n in range(5)]
    assert [one.offset for one in again] == [one.offset for one in lost]
    state = await under.state("lobby")
    for one in lost:
        assert isinstance(judge(Position(one.epoch, one.offset), state), HistoryReset)
    assert judge(Position(lost[0].epoch, 5), state) == Continue(5)


@only_on("valkey", "redis", "sentinel")
async def test_a_replica_that_is_promoted_is_another_reign(under):
    """A node of a cluster refuses REPLICAOF; `test_cluster_faults.py` has its replicas."""
    with under.store.client() as client:
        before = await under.publish("lobby")
        client.slaveof("127.0.0.1", 1)
        waiting = asyncio.ensure_future(under.publish("lobby", author="ann", key="k"))
        await until(lambda: not under.bus._commands.usable)
        client.slaveof()
        placed = await waiting
    assert placed.offset == before.offset + 1
    assert placed.epoch[:8] == before.epoch[:8] and placed.epoch != before.epoch


@only_on("valkey", "redis")
async def test_reads_go_where_the_other_connections_go(under):
    """Another server is master now; the reading connection to the one that was lives on.

    With Sentinel and in a cluster the servers themselves change their roles, as in the next test.
    """
    other = RealStore(under.store.kind)
    try:
        other.start()
        await under.subscribe("lobby")
        await under.publish("lobby")
        under.bus._opener._options["path"] = str(other.path)
        for line in under.bus.servers[0]._lines[::2]:
            line.reconnect()
        await until(lambda: under.heard.events[-2:] == ["disconnected", "subscribed lobby"])
        state = await under.state("lobby")
        assert state.top == 0
    finally:
        other.close()


@only_on("sentinel")
async def test_a_failover_takes_every_connection_along(make):
    """Of Sentinel; `test_cluster_faults.py` has that of a cluster."""
    under = await make(timeout=20.0)
    await under.subscribe("lobby")
    first = await under.publish("lobby")
    await asyncio.to_thread(under.store.fail_over)
    second = await under.publish("lobby", author="ann", key="k")
    assert (second.offset, second.epoch == first.epoch) == (2, False)
    await until(
        lambda: under.heard.events[-1] == "subscribed lobby" and under.heard.events.count("subscribed lobby") > 1
    )
    assert len(await kept(under)) == 2
    await under.publish("lobby")
    await until(lambda: under.heard.offsets("lobby")[-1:] == [3])
    with under.store.deposed() as client:
        left = [one for one in client.client_list() if one["name"] == "chatmaster-chat"]
    assert not left, "a connection stays at the server that was deposed"


async def test_a_worker_that_hears_nothing_connects_anew_and_then_asks_to_be_replaced(make, monkeypatch):
    from workers.bus import health, server

    for name, value in (("INTERVAL", 0.05), ("DEAF_AFTER", 0.4), ("HOPELESS_AFTER", 1.2), ("LOOK", 0.05)):
        monkeypatch.setattr(health, name, value)
    monkeypatch.setattr(server, "DEAF_AFTER", 0.4)
    under = await make()
    assert under.bus.probe_age < 1

    def deaf() -> bool:
        for one in under.bus.servers:
            if (link := one._lines[2].link) is not None:
                link.transport.pause_reading()
        return bool(under.deaf) and under.bus.state == "away"

    await until(deaf)
    assert under.bus.servers[0].probe.reconnects >= 1
    for one in under.bus.servers:
        one.reconnect_all()
    await until(lambda: under.bus.state == "ready")


@pytest.mark.parametrize("forbidden", ["-publish", "-set"])
async def test_a_store_that_forbids_something_is_refusing_and_nobody_takes_himself_for_deaf(
    make, monkeypatch, caplog, forbidden
):
    from workers.bus import health, server

    for name, value in (("INTERVAL", 0.05), ("DEAF_AFTER", 1.2), ("HOPELESS_AFTER", 1.6), ("LOOK", 0.05)):
        monkeypatch.setattr(health, name, value)
    monkeypatch.setattr(server, "DEAF_AFTER", 1.2)
    under = await make()
    caplog.set_level("INFO")
    if forbidden == "-publish" and under.store.kind == "cluster":
        forbidden = "-spublish"
    with under.store.each() as clients:
        for client in clients:
            client.acl_setuser("default", enabled=True, nopass=True, commands=["+@all", forbidden])
        await until(lambda: under.bus.state == "refusing")
        began = asyncio.get_running_loop().time()
        await until(lambda: asyncio.get_running_loop().time() - began > 3.2)  # longer than all patience together
        reconnects = sum(one.probe.reconnects for one in under.bus.servers)
        assert (under.bus.state, reconnects, under.deaf) == ("refusing", 0, [])
        assert "ACL SETUSER USER ~chat:* &chat@* +@all" in under.bus.why
        said = sum("the store writes nothing: " in one for one in caplog.messages)
        assert said == len(under.bus.servers), caplog.messages
        for client in clients:
            client.acl_setuser("default", enabled=True, nopass=True, commands=["+@all"])
    await until(lambda: under.bus.state == "ready")
    await until(lambda: any(one.startswith("connected to the store again") for one in caplog.messages))
    await until(lambda: under.bus.why == "")


async def test_a_store_that_forbids_subscriptions_is_refusing_and_what_is_followed_goes_on(make, monkeypatch, caplog):
    from workers.bus import health, server

    for name, value in (("INTERVAL", 0.1), ("DEAF_AFTER", 2.0), ("HOPELESS_AFTER", 2.0), ("LOOK", 0.05)):
        monkeypatch.setattr(health, name, value)
    monkeypatch.setattr(server, "DEAF_AFTER", 2.0)
    under = await make()
    await under.subscribe("lobby")
    caplog.set_level("INFO")
    forbidden = "-ssubscribe" if under.store.kind == "cluster" else "-subscribe"
    with under.store.each() as clients:
        for client in clients:
            client.acl_setuser("default", enabled=True, nopass=True, commands=["+@all", forbidden])
        await until(lambda: under.bus.state == "refusing")
        under.bus.subscribe("other")
        began = asyncio.get_running_loop().time()
        await until(lambda: asyncio.get_running_loop().time() - began > 3.0)  # longer than the patience
        reconnects = sum(one.probe.reconnects for one in under.bus.servers)
        assert (under.bus.state, reconnects, under.deaf) == ("refusing", 0, [])
        assert "the store allows no subscription" in under.bus.why and "&chat@* +@all" in under.bus.why
        await under.publish("lobby")
        await until(lambda: under.heard.offsets("lobby") == [1])
        assert under.heard.events == ["subscribed lobby"]
        for client in clients:
            client.acl_setuser("default", enabled=True, nopass=True, commands=["+@all"])
    await until(lambda: under.bus.state == "ready" and "subscribed other" in under.heard.events)
    await until(lambda: under.bus.why == "")
    assert sum("the store allows no subscription" in one for one in caplog.messages) == len(under.bus.servers)


async def test_channels_that_a_store_forbids_while_it_runs_are_missed(make, monkeypatch):
    """The server ends the subscriptions; the probe's own may be allowed still."""
    from workers.bus import health

    for name, value in (("INTERVAL", 0.1), ("LOOK", 0.05)):
        monkeypatch.setattr(health, name, value)
    under = await make(timeout=20.0)
    await under.subscribe("lobby")
    with under.store.each() as clients:
        for client in clients:
            client.execute_command("ACL", "SETUSER", "default", "resetchannels", "&chat@0:*:!*")
        await until(lambda: "the store allows no subscription" in under.bus.why)
        for client in clients:
            client.execute_command("ACL", "SETUSER", "default", "allchannels")
    await until(lambda: under.heard.events.count("subscribed lobby") > 1 and under.bus.state == "ready", within=20)
    await under.publish("lobby")
    await until(lambda: under.heard.offsets("lobby"))


async def test_a_store_that_is_full_is_refusing_and_what_was_said_is_known_not_to_be_kept(make, monkeypatch):
    from workers.bus import health

    monkeypatch.setattr(health, "INTERVAL", 0.05)
    monkeypatch.setattr(health, "LOOK", 0.05)
    under = await make()
    with under.store.each() as clients:
        for client in clients:
            client.config_set("maxmemory", 1)
        await until(lambda: under.bus.state == "refusing")
        assert "OOM" in under.bus.why and "raise it (CONFIG SET maxmemory)" in under.bus.why
        with pytest.raises(StoreRefused):
            await under.publish("lobby")
        for client in clients:
            client.config_set("maxmemory", 0)
    await until(lambda: under.bus.state == "ready")


async def test_an_outage_however_long_is_no_reason_to_replace_workers(make, monkeypatch):
    from workers.bus import health, reconnect

    for name, value in (("INTERVAL", 0.05), ("DEAF_AFTER", 1.0), ("HOPELESS_AFTER", 2.5), ("LOOK", 0.01)):
        monkeypatch.setattr(health, name, value)
    monkeypatch.setattr(reconnect, "LAST_DELAY", 0.2)
    some = [await make() for _ in range(4)]
    some[0].store.kill()
    await until(lambda: all(under.bus.probe_age > 3.0 for under in some))
    some[0].store.start()
    for under in some:
        await under.bus.ready(10)
        assert not under.deaf


async def test_a_store_with_a_password_and_a_database(tmp_path):
    real = RealStore("valkey", "--requirepass", "s3cret")
    from chatmaster.settings import Settings
    from tests.contract.conftest import Under

    real.url = f"unix://:s3cret@{real.path}?db=2"
    try:
        real.start(password="s3cret")
        under = Under(real, Settings())
        under.bus.start()
        await under.bus.ready(10)
        assert (await under.publish("lobby")).offset == 1
        await under.bus.stop()
    finally:
        real.close()
