"""What comes before the first message, and what comes when it is needed: no press is lost for that."""

from __future__ import annotations

import re
import urllib.request
from typing import Any

import pytest

from tests.browser.measure import WATCH
from tests.support.wait import until

FIRST = 60 * 1024  # bytes on the wire, in brotli
LANGUAGES = ("de", "ja", "zh-Hans")


def on_the_wire(url: str) -> tuple[bytes, dict[str, str]]:
    """The body as it is sent to a browser, and the headers."""
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept-Encoding": "br"})) as response:
        return response.read(), {name.lower(): value for name, value in response.headers.items()}


def test_at_most_60_kib_come_before_the_first_message(server):
    """The page, its client and the largest catalogue; what they load by themselves is no more than that."""
    page, headers = on_the_wire(server.http)
    assert headers["content-encoding"] == "br"
    with urllib.request.urlopen(server.http) as response:
        script = re.search(r"assets/chat-[0-9a-f]+\.js", response.read().decode())
    assert script is not None
    client, headers = on_the_wire(f"{server.http}/{script[0]}")
    assert "immutable" in headers["cache-control"]
    words = max(len(on_the_wire(f"{server.http}/words/{language}.json")[0]) for language in LANGUAGES)
    assert len(page) + len(client) + words <= FIRST, (len(page), len(client), words)


def test_a_press_waits_for_what_is_not_there_yet(server, visit):
    """The card of a person, the emoji, a moderator's dialog; where it does not come, a sentence says so."""
    ada, bob = visit(server, "Ada"), visit(server, "Bob").come()
    held: list[Any] = []
    ada.page.route("**/assets/later-*", lambda route: held.append(route))

    def wait_until_asked() -> Any:
        until(lambda: held or ada.page.wait_for_timeout(20), 30)
        return held.pop()

    ada.come()
    bob.say("hello")
    ada.sees("hello")
    ada.page.locator(".message .name").click()
    coming = wait_until_asked()
    assert ada.page.get_by_role("menu").count() == 0
    coming.abort()
    ada.expect(ada.page.locator(".toast", has_text="could not be loaded")).to_be_visible()
    ada.page.get_by_role("button", name="Insert an emoji").click()
    wait_until_asked().continue_()
    ada.expect(ada.page.get_by_role("searchbox")).to_be_focused()
    ada.page.keyboard.press("Escape")
    ada.page.locator(".message .name").click()
    ada.expect(ada.page.get_by_role("menuitem", name="Write directly")).to_be_focused()
    ada.complaints.clear()  # of the load that was made to fail


@pytest.mark.parametrize("offline", [False, True])
def test_it_is_there_before_it_is_needed(server, visit, offline):
    """Once the page has nothing else to do; without a network it is used all the same."""
    ada = visit(server, "Ada")
    with ada.page.expect_response("**/assets/later-*", timeout=30_000):
        ada.come()
    ada.say("mine")
    ada.kept("mine")
    ada.page.context.set_offline(offline)
    ada.page.locator(".message .name").click()
    ada.expect(ada.page.get_by_role("menuitem", name="Change your name")).to_be_visible()
    ada.complaints.clear()


def test_nothing_moves_while_the_page_comes_to_a_phone(server, visit):
    """Cumulative layout shift: what says that there is no connection yet lies over the messages."""
    bob = visit(server, "Bob").come()
    for number in range(12):
        bob.say(f"line {number}")
    bob.kept("line 11")
    ada = visit(server, "Ada", width=360, height=740, people=False, has_touch=True, is_mobile=True)
    ada.page.add_init_script(WATCH)
    ada.come().sees("line 11")
    ada.expect(ada.page.locator("#state")).to_have_attribute("data-kind", "calm")
    assert ada.page.evaluate("() => window.shift") <= 0.02
