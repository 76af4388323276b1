"""The page's part of Web Push: it subscribes while notifications are on, and ends that when they are turned off.

A headless browser has no push service: its PushManager is replaced by one whose subscription is at a service of the
test, which reads the notes as the browser would.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.conftest import Person
from tests.support import wait
from tests.support.push_service import PushService
from tests.support.server import Chatmaster

MANAGER = """
    const given = SUBSCRIPTION;
    const made = (options) => ({
        endpoint: given.endpoint,
        options: { applicationServerKey: Uint8Array.from(atob(options.applicationServerKey.replace(/-/g, "+")
            .replace(/_/g, "/")), (one) => one.charCodeAt(0)).buffer },
        toJSON: () => ({ endpoint: given.endpoint, keys: { p256dh: given.p256dh, auth: given.auth } }),
        unsubscribe: async () => { localStorage.removeItem("test.options"); return true; },
    });
    PushManager.prototype.subscribe = async (options) => {
        localStorage["test.options"] = JSON.stringify(options);
        return made(options);
    };
    PushManager.prototype.getSubscription = async () =>
        localStorage["test.options"] ? made(JSON.parse(localStorage["test.options"])) : null;
"""


@pytest.fixture
def service(tmp_path: Any) -> Iterator[PushService]:
    service = PushService(tmp_path)
    yield service
    service.close()


@pytest.fixture
def server(chatmaster: Any, service: PushService) -> Chatmaster:
    settings = {"push.contact": "mailto:ops@example.org", "push.hosts": [f"localhost:{service.port}"]}
    made: Chatmaster = chatmaster(workers=1, settings=settings, environment={"SSL_CERT_FILE": str(service.ca)})
    return made


def test_who_closed_the_page_is_told(server: Chatmaster, service: PushService, visit: Any) -> None:
    """A mention in a room that tells of mentions; and nothing once notifications are off."""
    bob: Person = visit(server, "Bob", service_workers="allow")
    bob.page.context.grant_permissions(["notifications"], origin=server.http)
    bob.page.add_init_script(MANAGER.replace("SUBSCRIPTION", json.dumps(service.browser("bob").subscription())))
    bob.come()
    bob.page.get_by_role("button", name="Notifications").click()
    subscribed = "() => localStorage['chatmaster.pushed'] === 'true' && 'test.options' in localStorage"
    bob.page.wait_for_function(subscribed, timeout=30_000)
    bob.say("be back soon")
    bob.kept("be back soon")
    bob.page.goto(f"{server.http}/health")
    ada: Person = visit(server, "Ada").come()
    ada.sees("be back soon")

    def told() -> bool:
        ada.say("lunch, @Bob!")
        ada.page.wait_for_timeout(500)
        return bool(service.received)

    wait.until(told, 20.0, "a note")
    assert service.received[0].note == {"title": "Ada · #lobby", "body": "lunch, @Bob!", "place": "lobby"}
    bob.come()
    bob.page.get_by_role("button", name="Notifications", pressed=True).click()
    bob.page.wait_for_function(
        "() => !('test.options' in localStorage) && !localStorage['chatmaster.pushed']", timeout=30_000
    )
    bob.complaints = [one for one in bob.complaints if "404" not in one]  # /health has no icon
