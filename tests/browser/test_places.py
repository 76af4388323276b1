"""Where one is: rooms that are remembered, Back, what is typed early, and input methods that compose."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support import wait


def test_a_room_entered_by_a_link_is_remembered(server, visit):
    """At the next load it is there, and it is the one that is shown."""
    ada = visit(server, "Ada").come("garden")
    ada.page.goto(f"{server.http}/#lobby")
    ada.expect(ada.page.locator("#title-text")).to_have_text("lobby")
    page = ada.page.context.new_page()
    page.goto(f"{server.http}/")
    ada.expect(page.locator("#title-text")).to_have_text("lobby")
    ada.expect(page.locator("#rooms .room-name")).to_have_text(["garden", "lobby"])


def test_two_tabs_share_their_rooms_and_theme(server, visit):
    """Neither writes over what the other one has joined; what one leaves is left."""
    ada = visit(server, "Ada").come("one")
    other = ada.page.context.new_page()
    other.goto(f"{server.http}/#two")
    ada.expect(other.locator("#timeline .start")).to_be_attached()
    ada.page.goto(f"{server.http}/#three")
    ada.expect(ada.page.locator("#title-text")).to_have_text("three")
    ada.expect(ada.page.locator("#rooms .room-name", has_text="three")).to_be_visible()
    ada.page.wait_for_function("() => localStorage['chatmaster.rooms'].includes('three')")
    kept = json.loads(ada.page.evaluate("() => localStorage['chatmaster.rooms']"))
    assert {"one", "two", "three"} <= set(kept)
    other.get_by_role("button", name="Theme").click()
    theme = "() => document.documentElement.dataset.theme"
    ada.page.wait_for_function("() => document.documentElement.dataset.theme")
    assert ada.page.evaluate(theme) == other.evaluate(theme)


def test_back_costs_no_dead_step_and_joins_nothing_again(server, visit):
    """The first page is one step; Back to a room that was left shows that one is not in it, and a button to join."""
    ada = visit(server, "Ada")
    ada.page.goto(f"{server.http}/health")
    ada.page.goto(f"{server.http}/")
    ada.expect(ada.page.locator("#title-text")).to_have_text("lobby")
    ada.page.go_back()
    assert ada.page.url == f"{server.http}/health"
    ada.come("lobby").page.goto(f"{server.http}/#garden")
    ada.expect(ada.page.locator("#title-text")).to_have_text("garden")
    ada.page.goto(f"{server.http}/#lobby")
    ada.expect(ada.page.locator("#title-text")).to_have_text("lobby")
    ada.page.locator("#rooms .room", has_text="garden").click()
    ada.page.get_by_role("button", name="About this conversation").click()
    ada.page.get_by_role("menuitem", name="Leave this room").click()
    ada.expect(ada.page.locator("#title-text")).to_have_text("lobby")
    ada.page.go_back()
    ada.page.go_back()
    ada.expect(ada.page.locator("#title-text")).to_have_text("garden")
    ada.expect(ada.page.locator("#subtitle")).to_have_text("You are not in this room")
    ada.expect(ada.page.locator("#text")).to_be_disabled()
    assert "garden" not in ada.page.evaluate("() => localStorage['chatmaster.rooms']")
    ada.page.get_by_role("button", name="Join this room").click()
    ada.say("back by choice")
    ada.kept("back by choice")
    ada.complaints.clear()  # `/health` has no icon


def test_what_is_typed_before_the_welcome_stays(server, visit):
    """The connection takes its time; the words are there, the focus too."""
    ada = visit(server, "Ada")
    held: list[Any] = []
    is_slow = [True]

    def opened(route: Any) -> None:
        upstream = route.connect_to_server()
        upstream.on_message(lambda text: held.append((route, text)) if is_slow[0] else route.send(text))

    ada.page.route_web_socket("**", opened)
    ada.page.goto(f"{server.http}/#lobby")
    box = ada.page.locator("#text")
    box.press_sequentially("early bird")
    wait.until(lambda: ada.page.evaluate("() => true") and held, 10, "the welcome")
    is_slow[0] = False
    for route, text in held:
        route.send(text)
    ada.expect(ada.page.locator("#timeline .start")).to_be_attached()
    ada.expect(box).to_have_value("early bird")
    ada.expect(box).to_be_focused()
    box.press("Enter")
    ada.kept("early bird")


COMPOSE = """(node) => {
    const key = (type, more) => node.dispatchEvent(
        new KeyboardEvent(type, { key: "Enter", bubbles: true, cancelable: true, ...more }),
    );
    node.focus();
    node.dispatchEvent(new CompositionEvent("compositionstart", { bubbles: true }));
    key("keydown", { isComposing: true, keyCode: 229 });
    node.dispatchEvent(new CompositionEvent("compositionend", { bubbles: true, data: "日本" }));
    key("keydown", { keyCode: 229 });
}"""


@pytest.mark.parametrize("words", ["日本", "中文", "한국어"])
def test_enter_that_ends_a_composition_does_nothing_else(server, visit, words):
    """In the message box, in the search for an emoji, and in a dialog; the next Enter counts."""
    ada = visit(server, "Ada").come()
    box = ada.page.locator("#text")
    box.fill(words)
    box.evaluate(COMPOSE)
    ada.expect(box).to_have_value(words)
    box.press("Enter")
    ada.kept(words)
    ada.page.get_by_role("button", name="Insert an emoji").click()
    search = ada.page.get_by_role("searchbox")
    search.fill("heart")
    search.evaluate(COMPOSE)
    ada.expect(search).to_be_visible()
    ada.expect(box).to_have_value("")
    ada.page.keyboard.press("Escape")
    ada.page.locator("#my-name").click()
    name = ada.page.get_by_role("textbox", name="Your name")
    name.fill(words)
    name.evaluate(COMPOSE)
    ada.expect(name).to_be_visible()
    name.press("Enter")
    ada.expect(ada.page.locator("#my-name-text")).to_have_text(words)
