"""Web Push from a whole server to a push service over https, which reads what a browser would."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jwt
import pytest

from tests.support.push_service import PushService, coded
from tests.support.server import Chatmaster
from tests.support.wait import until_async
from tests.support.ws import ChatSocket

SECRET = "a secret of more than thirty-two characters"

pytestmark = pytest.mark.timeout(90)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PushService]:
    service = PushService(tmp_path_factory.mktemp("push"))
    yield service
    service.close()


@pytest.fixture(scope="module")
def server(service: PushService) -> Iterator[Chatmaster]:
    settings = {
        "auth.secret": SECRET, "push.contact": "mailto:ops@example.org", "push.hosts": [f"localhost:{service.port}"],
        "limits.rate": 0,
    }  # fmt: skip
    with Chatmaster(workers=2, settings=settings, environment={"SSL_CERT_FILE": str(service.ca)}) as made:
        yield made


@asynccontextmanager
async def person(server: Chatmaster, user: str, *rooms: str) -> AsyncIterator[ChatSocket]:
    token = jwt.encode({"sub": user, "name": user.title()}, SECRET)
    async with await ChatSocket.enter(server.url, *rooms, token=token) as socket:
        yield socket


async def subscribe(server: Chatmaster, service: PushService, user: str, **wishes: Any) -> str:
    """Somebody subscribes and goes; returns the path at the service."""
    browser = service.browser(f"{user}-{len(service.browsers)}")
    async with person(server, user, "lobby") as socket:
        assert socket.welcome["push"] and len(socket.welcome["push"]) == 87
        request = {"type": "subscribe", **browser.subscription(), **wishes}
        assert (await socket.ask(**request))["type"] == "ack"
        await socket.ask(type="say", room="lobby", text="whoever reads this knows my name")
    return "/" + browser.endpoint.rpartition("/")[2]


def notes(service: PushService, path: str) -> list[dict[str, Any]]:
    return [one.note for one in service.received if one.path == path]


async def is_away(server: Chatmaster, user: str) -> None:
    """Wait until the server counts no connection of a user."""

    async def gone() -> bool:
        called = await asyncio.to_thread(server.ctl, "call", "is_online", json.dumps({"user": user}))
        assert called.returncode == 0, called.stderr
        return json.loads(called.stdout)["online"] is False

    await until_async(gone, 20.0, f"{user} is gone")


async def test_who_is_away_is_told_of_mentions_and_direct_messages(server: Chatmaster, service: PushService) -> None:
    """In full, encrypted for the browser, by the server's own key; not of talk, nor while a page is open."""
    path = await subscribe(server, service, "bob", rooms=["lobby"])
    async with person(server, "ada", "lobby") as ada:
        await is_away(server, "bob")
        await ada.ask(type="history", room="lobby")  # as the page does: names are known to a worker that read them
        for text in ("talk", "lunch, @Bob?"):
            assert (await ada.ask(type="say", room="lobby", text=text))["type"] == "ack"
        await ada.ask(type="direct", to="bob", text="x" * 5000)
        await until_async(lambda: len(notes(service, path)) >= 2, 20.0, "two notes")
        first, second = sorted(notes(service, path), key=lambda one: len(str(one)))
        assert first == {"title": "Ada · #lobby", "body": "lunch, @Bob?", "place": "lobby"}
        assert (second["title"], second["place"], len(second["body"])) == ("Ada", "@ada", 300)
        async with person(server, "bob", "lobby"):
            await ada.ask(type="direct", to="bob", text="you are here")
        await is_away(server, "bob")
        await ada.ask(type="direct", to="bob", text="gone again")
        await until_async(lambda: len(notes(service, path)) >= 3, 20.0, "a third note")
    assert [one["body"] for one in notes(service, path)][2:] == ["gone again"]
    sent = service.received[-1]
    assert sent.claims["sub"] == "mailto:ops@example.org"
    assert sent.headers["content-encoding"] == "aes128gcm" and sent.headers["ttl"] == "86400"
    assert all(one.size < 4096 for one in service.received)


async def test_what_is_not_wanted_is_not_told(server: Chatmaster, service: PushService) -> None:
    """Rooms that were not named, or not entered; silent users; and nothing to who must not be disturbed."""
    quiet = await subscribe(server, service, "cleo", rooms=["lobby"], quiet_until=2**53 - 1)
    silent = await subscribe(server, service, "cleo", silent=["ada"], rooms=["elsewhere"])
    wanted = await subscribe(server, service, "cleo", rooms=["lobby"])
    async with person(server, "ada", "lobby") as ada:
        await is_away(server, "cleo")
        await ada.ask(type="history", room="lobby")
        await ada.ask(type="say", room="lobby", text="hello @Cleo")
        await ada.ask(type="direct", to="cleo", text="psst")
        await until_async(lambda: len(notes(service, wanted)) >= 2, 20.0, "what is wanted")
    assert notes(service, quiet) == notes(service, silent) == []


async def test_a_subscription_that_is_over_is_forgotten(server: Chatmaster, service: PushService) -> None:
    """After 410 nothing goes there any more; and a user has five at most."""
    paths = [await subscribe(server, service, "dan") for _ in range(6)]
    async with person(server, "ada", "lobby") as ada:
        await is_away(server, "dan")
        await ada.ask(type="direct", to="dan", text="one")
        await until_async(lambda: sum(len(notes(service, path)) for path in paths) >= 5, 20.0, "five notes")
        assert notes(service, paths[0]) == [], "the oldest made room"
        service.status = 410
        try:
            await ada.ask(type="direct", to="dan", text="two")
            await until_async(lambda: sum(len(notes(service, path)) for path in paths) >= 10, 20.0, "refused notes")
        finally:
            service.status = 201
        again = await subscribe(server, service, "dan")
        await is_away(server, "dan")
        await ada.ask(type="direct", to="dan", text="three")
        await until_async(lambda: notes(service, again), 20.0, "the new one")
    assert [len(notes(service, path)) for path in paths[1:]] == [2] * 5


async def test_a_flood_is_told_a_few_times(server: Chatmaster, service: PushService) -> None:
    """Ten notes a minute for a user; messages go on."""
    path = await subscribe(server, service, "eva")
    async with person(server, "ada", "lobby") as ada:
        await is_away(server, "eva")
        for number in range(30):
            assert (await ada.ask(type="direct", to="eva", text=f"number {number}"))["type"] == "ack"
        await until_async(lambda: len(notes(service, path)) >= 10, 20.0, "ten notes")
        frank = await subscribe(server, service, "frank")
        await is_away(server, "frank")
        await ada.ask(type="direct", to="frank", text="another user")
        await until_async(lambda: notes(service, frank), 20.0, "a note behind the flood")
    assert len(notes(service, path)) == 10


async def test_who_is_banned_from_a_room_is_not_told_of_it(server: Chatmaster, service: PushService) -> None:
    """Though the subscription was made before."""
    path = await subscribe(server, service, "gil", rooms=["lobby"])
    boss = jwt.encode({"sub": "boss", "role": "admin"}, SECRET)
    async with await ChatSocket.enter(server.url, "lobby", token=boss) as admin:
        await is_away(server, "gil")
        await admin.ask(type="history", room="lobby")
        await admin.ask(type="ban", user="gil", room="lobby")
        await admin.ask(type="say", room="lobby", text="a secret of the room, @Gil")
        await admin.ask(type="direct", to="gil", text="in private")
        await until_async(lambda: notes(service, path), 20.0, "a note")
    assert [one["body"] for one in notes(service, path)] == ["in private"]


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://localhost:{port}/x", "https://localhost/x", "https://127.0.0.1:{port}/x", "https://localhost:{port}@evil/x",
        "https://u:p@localhost:{port}/x", "https://fcm.googleapis.com/x", "https://localhost:{port}.evil.example/x",
        "https://localhost:6379/x", "file:///etc/passwd", "https://localhost:{port}\\@evil/x", "https://[::1]:{port}/x",
    ],
)  # fmt: skip
async def test_only_push_services_are_asked(server: Chatmaster, service: PushService, endpoint: str) -> None:
    """An endpoint is a request that a stranger has the server make: others are refused."""
    good = service.browser("unused").subscription()
    async with person(server, "eve", "lobby") as eve:
        answer = await eve.ask(**{**good, "type": "subscribe", "endpoint": endpoint.format(port=service.port)})
        assert (answer["type"], answer["code"], answer["field"]) == ("error", "bad_request", "endpoint")
        for field, value in (("p256dh", coded(b"\x04" * 64)), ("auth", "short"), ("auth", "not base64!")):
            answer = await eve.ask(**{**good, "type": "subscribe", field: value})
            assert (answer["code"], answer["field"]) == ("bad_request", field)


def test_the_key_is_for_the_server_alone_and_stays(server: Chatmaster) -> None:
    """Both workers have the same; nobody else can read it."""
    (path,) = Path(server.state_dir).glob("*.vapid.pem*")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().startswith("-----BEGIN PRIVATE KEY")


async def test_without_a_contact_there_is_no_push(chatmaster: Callable[..., Chatmaster], service: PushService) -> None:
    """No key is told or made."""
    server = chatmaster(workers=1)
    async with await ChatSocket.enter(server.url, "lobby") as guest:
        assert "push" not in guest.welcome
        answer = await guest.ask(type="subscribe", **service.browser("none").subscription())
        assert answer["code"] == "forbidden"
    assert not list(Path(server.state_dir).glob("*.pem"))
