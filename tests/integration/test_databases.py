"""Two instances on two databases of one store are strangers: pub/sub knows no databases, so the channels must."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest
import redis

from tests.support.server import Chatmaster
from tests.support.store import RedisServer
from tests.support.ws import ChatSocket
from workers.gateway import Gateway, GatewayNotFound

# Presence, typing and messages of rooms; inboxes share channels, and orders have one of their own.
SETTINGS = {"chat.presence_interval": 0.05}


@pytest.mark.timeout(90)
@pytest.mark.skipif(shutil.which("redis-server") is None, reason="no redis-server on PATH")
async def test_instances_on_two_databases_hear_nothing_of_each_other(
    chatmaster: Callable[..., Chatmaster], redis_server: Callable[..., RedisServer]
) -> None:
    store = redis_server(tcp=True, program=shutil.which("redis-server"))
    base = store.tcp_url.removesuffix("/0")
    # The chat of both has the same name, as production and its test have.
    zero, one = (chatmaster(workers=1, settings={"store.url": f"{base}/{number}", **SETTINGS}) for number in (0, 1))
    listener = await ChatSocket.enter(zero.url, "lobby", name="zero")
    stranger = await ChatSocket.enter(one.url, "lobby", name="one")
    stranger.send_json({"type": "typing", "room": "lobby"})
    await stranger.ask(type="say", room="lobby", text="for database 1")
    await stranger.ask(type="direct", to=listener.user, text="the same user id, of another instance")
    with Gateway(f"{base}/1") as gateway:
        gateway.say("lobby", "from the gateway", user="gate")
        with pytest.raises(GatewayNotFound):
            gateway.kick(listener.user)
    await stranger.expect("message", text="from the gateway")
    companion = await ChatSocket.enter(zero.url, "lobby", name="companion")
    await companion.ask(type="say", room="lobby", text="for database 0")
    await listener.expect("message", text="for database 0")
    for client in (listener, stranger, companion):
        await client.close()
    heard = [one for one in listener.passed if one.get("user") == stranger.user or "one" in str(one)]
    assert heard == []
    with redis.Redis.from_url(f"{base}/0", protocol=2) as client:
        channels = [name.decode() for name in client.pubsub_channels()]
    assert {name.partition(":")[0] for name in channels} == {"chat@0", "chat@1"}, "every channel names its database"
