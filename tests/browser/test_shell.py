"""The page as an installed application: manifest, icons, and a service worker that never shows an old page."""

from __future__ import annotations

import json
from typing import Any
from urllib.request import urlopen

import pytest

from tests.browser.conftest import Person
from tests.support import wait
from tests.support.server import Chatmaster

REGISTERED = "async () => Boolean((await navigator.serviceWorker.ready).active && navigator.serviceWorker.controller)"
# The browser gives no push service to a headless page: what the worker shows is asked of its registration.
SHOWN = """async () => (await (await navigator.serviceWorker.ready).getNotifications())
    .map(({ title, body, tag }) => [title, body, tag])"""


@pytest.fixture
def ada(server: Chatmaster, visit: Any) -> Person:
    """Somebody whose browser has the worker, and has loaded the page with it once."""
    ada: Person = visit(server, "Ada", service_workers="allow").come()
    ada.page.wait_for_function(REGISTERED)
    ada.page.reload()
    ada.expect(ada.page.locator("#timeline .start")).to_be_attached()
    return ada


def test_the_manifest_and_its_icons_are_served(server):
    """With their types, and icons of the sizes that they are said to have."""
    with urlopen(f"{server.http}/manifest.webmanifest", timeout=10) as answer:
        assert answer.headers["Content-Type"] == "application/manifest+json"
        manifest = json.load(answer)
    for icon in manifest["icons"]:
        with urlopen(f"{server.http}/{icon['src']}", timeout=10) as answer:
            assert answer.headers["Content-Type"] == "image/png"
            head = answer.read(24)
        width, height = (int.from_bytes(head[start : start + 4], "big") for start in (16, 20))
        assert icon["sizes"] == f"{width}x{height}"
    assert manifest["display"] == "standalone" and manifest["start_url"] == "./"


def test_the_page_opens_without_a_server(server, ada):
    """From what was kept; and says that it has no connection."""
    kept = ada.page.evaluate(
        "async () => (await (await caches.open('chatmaster-shell-1')).keys()).map(({ url }) => url)"
    )
    assert f"{server.http}/" in kept
    assert not [url for url in kept if "health" in url]
    server.stop()
    ada.page.goto(f"{server.http}/#lobby")
    ada.state("Reconnecting")
    ada.expect(ada.page.locator(".brand-name")).to_have_text("Chatmaster")
    ada.complaints = [one for one in ada.complaints if "Failed to load" not in one and "fetch" not in one]


def test_an_old_page_is_never_shown_while_the_server_answers(server, ada):
    """What was kept loses against the network."""
    ada.page.evaluate(
        """async () => {
            const page = new Response("<title>old</title>", { headers: { "Content-Type": "text/html" } });
            await (await caches.open("chatmaster-shell-1")).put(new URL("./", location.href), page);
        }"""
    )
    ada.page.goto(f"{server.http}/?again#lobby")
    ada.expect(ada.page.locator("#timeline .start")).to_be_attached()
    ada.page.goto(f"{server.http}/#lobby")
    ada.page.reload()
    ada.expect(ada.page.locator("#timeline .start")).to_be_attached()


def test_a_push_is_shown(server, ada):
    """The worker's own part, pushed by the browser's developer tools."""
    ada.page.context.grant_permissions(["notifications"], origin=server.http)
    session = ada.page.context.new_cdp_session(ada.page)
    ids: list[str] = []
    session.on(
        "ServiceWorker.workerRegistrationUpdated",
        lambda told: ids.extend(one["registrationId"] for one in told["registrations"]),
    )
    session.send("ServiceWorker.enable")
    wait.until(lambda: ada.page.evaluate("1") and ids, 10.0, "the browser names its registrations")
    ada.page.goto("about:blank")  # no page of ours is looked at
    data = json.dumps({"title": "Bob · #garden", "body": "psst", "place": "garden"})
    message = {"origin": server.http, "registrationId": ids[0], "data": data}
    session.send("ServiceWorker.deliverPushMessage", message)
    ada.page.goto(f"{server.http}/health")
    wait.until(lambda: ada.page.evaluate(SHOWN), 10.0, "a notification")
    ada.complaints.clear()  # about:blank has no storage, and /health no icon
    assert ada.page.evaluate(SHOWN) == [["Bob · #garden", "psst", "garden"]]
