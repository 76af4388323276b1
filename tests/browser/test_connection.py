"""The page while the server or its store comes and goes: nothing is lost, and the line about the connection is true."""

from __future__ import annotations

import signal

import pytest

from tests.browser.conftest import Line
from tests.support import processes, wait
from tests.support.server import Chatmaster, DidNotStart

PARTS_COME_AFTER = 3000  # ms after the welcome


def test_a_reload_of_the_server_goes_unnoticed(server, visit):
    """Both go on chatting over a rolling restart; only the state line tells."""
    ada, bob = visit(server, "Ada").come(), visit(server, "Bob").come()
    ada.say("before")
    bob.sees("before")
    old = set(server.pids)
    assert server.ctl("reload").returncode == 0
    wait.until(lambda: len(server.pids) == 2 and old.isdisjoint(server.pids), 30, "new workers")
    for number in range(5):
        ada.say(f"meanwhile {number}")
    bob.sees("meanwhile 4")
    bob.say("after")
    ada.sees("after")
    ada.state("Connected")
    bob.state("Connected")
    expected = ["before", *(f"meanwhile {number}" for number in range(5)), "after"]
    assert ada.texts() == bob.texts() == expected
    assert ada.page.locator(".line.lost").count() == bob.page.locator(".line.lost").count() == 0


def test_a_killed_worker_costs_a_moment(server, visit):
    """The connection is lost and comes back by itself; what was written meanwhile is said once."""
    ada, bob = visit(server, "Ada").come(), visit(server, "Bob").come()
    for pid in server.pids:
        processes.send(pid, signal.SIGKILL)
    ada.say("into the void")
    ada.expect(ada.page.locator(".message.waiting, .message.sent, .message[data-offset]")).to_have_count(1)
    bob.sees("into the void")
    ada.kept("into the void")
    ada.state("Connected")
    assert ada.texts() == bob.texts() == ["into the void"]


def test_the_store_goes_away_and_comes_back(chatmaster, redis_server, visit):
    """What is written meanwhile waits, visibly, and is kept once when the store is there again."""
    store = redis_server(fsync="always")
    server = chatmaster(workers=2, settings={"store.url": store.url, "store.timeout": 1.0})
    ada, bob = visit(server, "Ada").come(), visit(server, "Bob").come()
    ada.say("kept before")
    bob.sees("kept before")
    store.kill()
    ada.say("kept after")
    ada.state("cannot reach its store")
    ada.expect(ada.message("kept after").locator(".mark")).to_have_count(1)
    store.start()
    bob.sees("kept after")
    ada.kept("kept after")
    ada.state("Connected")
    assert ada.texts() == bob.texts() == ["kept before", "kept after"]


def test_an_outage_is_told_and_ends(server, visit):
    """Without a server the line counts down and offers to try now; a reload of the page loses no message."""
    ada, bob = visit(server, "Ada").come(), visit(server, "Bob").come()
    server.kill()
    wait.until(lambda: not server.running)
    ada.state("Reconnecting")
    ada.say("written in the dark")
    ada.expect(ada.message("written in the dark").locator(".mark")).to_have_attribute("title", "Waiting to be sent")
    wait.until(lambda: _starts(server), 30, "the server starts again")
    bob.sees("written in the dark")
    ada.kept("written in the dark")


@pytest.mark.parametrize("width", [360, 768])
def test_an_outage_on_a_small_screen(server, visit, width):
    """The line and its button are there whole, one can still write, and nobody is shown as present."""
    ada = visit(server, "Ada", width=width, height=700).come()
    server.kill()
    wait.until(lambda: not server.running)
    ada.state("Reconnecting in")
    for node in ("#state-text", "#state-button", "#text", "#send", "#open-people"):
        ada.expect(ada.page.locator(node)).to_be_in_viewport(ratio=1)
    assert ada.page.locator("html").evaluate("(node) => node.scrollWidth <= node.clientWidth")
    ada.say("in the dark")
    ada.expect(ada.message("in the dark").locator(".mark")).to_be_visible()
    ada.page.locator("#open-people").click()
    ada.expect(ada.page.locator(".member")).to_be_visible()
    ada.expect(ada.page.locator(".member .presence")).to_be_hidden()


def test_what_comes_later_is_asked_for_over_a_connection_only(server, visit):
    """The connection ends before the page has loaded its second script: nothing is asked for until it is back."""
    ada = visit(server, "Ada")
    line, asked = Line(ada.page), []
    ada.page.on("request", lambda request: asked.append(request.url) if "/assets/later-" in request.url else None)
    ada.come()
    line.cut()
    ada.state("Reconnecting")
    ada.page.wait_for_timeout(PARTS_COME_AFTER + 1500)
    assert asked == []
    line.mend()
    ada.page.evaluate("() => dispatchEvent(new Event('online'))")
    wait.until(lambda: asked or ada.page.wait_for_timeout(20), 30, "the second script")


def _starts(server: Chatmaster) -> bool:
    """Its store may still hold the directory for a moment."""
    try:
        server.start()
    except DidNotStart:
        return False
    return True


@pytest.mark.parametrize(
    ("text", "fits"),
    [("a" * 65_530, True), ('"' * 40_000, True), ("\u00e9" * 40_000, False)],
    ids=["letters", "quotes", "bytes"],
)
def test_a_text_that_is_too_long_costs_no_connection(server, visit, text, fits):
    """What the limit allows is kept; of more the page says so before it is sent, and leaves it in the box."""
    ada = visit(server, "Ada").come()
    box = ada.page.locator("#text")
    box.fill(text)
    box.press("Enter")
    if fits:
        ada.expect(ada.page.locator(".message[data-offset]")).to_have_count(1)
    else:
        ada.expect(ada.page.locator(".toast")).to_contain_text("80000 bytes, and 65536 are allowed")
        ada.expect(box).to_have_value(text)
    box.fill("and on")
    box.press("Enter")
    ada.kept("and on")
    ada.expect(ada.page.locator(".message[data-offset]")).to_have_count(2 if fits else 1)
    ada.state("Connected")
