"""What is pointed at, pressed, focused, selected or read stays where it is while the lists about it change."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.test_busy import TALK, TO_END
from tests.browser.test_timeline import say_many
from tests.support import wait

# People without a window: `people[name]` is one of them in the lobby.
COME = """async (name) => {
    const { connect } = await import("./chat.js");
    window.people ??= {};
    window.people[name] = connect(location.origin.replace("http", "ws") + "/", { rooms: ["lobby"], name });
    await new Promise((resolve) => window.people[name].on("welcome", resolve));
}"""
WRITE = "([name, user, text]) => window.people[name].direct(user, text)"
SAY_LONG = """async (count) => {
    for (let number = 1; number <= count; number += 1)
        await window.people.Long.say("lobby", `${number}: ` + "words for more than one line, ".repeat(12));
}"""
SELECT = """([selector, from, to]) => {
    const node = document.querySelector(selector).firstChild;
    getSelection().setBaseAndExtent(node, from, node, to);
}"""
SELECTED = "() => getSelection().toString()"
# The first message in view, and how far below the top of the view it begins.
READ = """() => {
    const top = document.getElementById("scroll").getBoundingClientRect().top;
    const seen = [...document.querySelectorAll(".message")].find((node) => node.getBoundingClientRect().bottom > top);
    return [seen.dataset.row, Math.round(seen.getBoundingClientRect().top - top)];
}"""

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def server(chatmaster):
    return chatmaster(workers=1, settings={"limits.rate": 0})


@pytest.fixture
def outside(server, visit):
    """A page from which people come who have no window."""
    return visit(server, "Zoe").come("elsewhere").page


def test_no_row_moves_under_the_mouse(server, visit, outside):
    """Direct messages by the latest and people by name: in order once the mouse is away. A selected title stays."""
    ada = visit(server, "Ada").come()
    user = ada.page.locator(".member", has_text="Ada").get_attribute("data-user")
    for name in ("One", "Two"):
        outside.evaluate(COME, name)
        outside.evaluate(WRITE, [name, user, "hello"])
        ada.expect(ada.page.locator("#directs .room-name").first).to_have_text(name)
    names = ada.page.locator("#directs .room-name")
    names.first.hover()
    outside.evaluate(WRITE, ["One", user, "hello again"])
    ada.expect(ada.page.locator("#directs .badge")).to_have_text(["1", "2"])
    ada.expect(names).to_have_text(["Two", "One"])
    people = ada.page.locator("#members .member bdi")
    ada.expect(people).to_have_text(["Ada (you)", "One", "Two", "Zoe"])
    ada.page.locator("#members .member", has_text="One").hover()
    ada.expect(names).to_have_text(["One", "Two"])
    ada.page.evaluate(SELECT, ["#title-text", 0, 5])
    outside.evaluate(COME, "Aaron")
    ada.expect(people).to_have_text(["Ada (you)", "One", "Two", "Zoe", "Aaron"])
    assert ada.page.evaluate(SELECTED) == "lobby"
    ada.page.locator("#text").hover()
    ada.expect(people.first).to_have_text("Aaron")


def test_a_press_that_ends_elsewhere_holds_nothing(server, visit, outside):
    """Of the right button, whose menu takes the release, and of the left one, released where the page hears nothing."""
    ada = visit(server, "Ada").come()
    outside.evaluate(TALK, ["lobby", 20])
    wait.until(lambda: ada.page.locator(".message").count() > 30, 20, "a full view")
    scroller = ada.page.locator("#scroll")

    def follows() -> None:
        last = ada.page.locator(".message").last.inner_text()
        wait.until(lambda: ada.page.locator(".message").last.inner_text() != last, 20, "another message")
        wait.until(lambda: scroller.evaluate(TO_END) < 2, 5, "the end")

    scroller.hover()
    ada.page.mouse.down(button="right")
    ada.page.wait_for_timeout(1100)  # so long a press may hold the page
    follows()
    ada.page.mouse.up(button="right")
    ada.page.evaluate("() => document.body.dispatchEvent(new PointerEvent('pointerdown', { bubbles: true }))")
    ada.page.wait_for_timeout(1100)
    scroller.hover(position={"x": 200, "y": 100})
    follows()


def test_focus_and_selection_outlast_two_hundred_messages(server, visit, outside):
    """What one reads by keys or has selected stays; who removes a reaction by a key is at its message."""
    ada, bob = visit(server, "Ada").come(), visit(server, "Bob").come()
    ada.say("read this")
    ada.kept("read this")
    bob.sees("read this")
    ada.act("read this", "React with 👍")
    ada.message("read this").locator(".reaction").focus()
    ada.page.keyboard.press("Enter")
    ada.expect(ada.message("read this").locator(".reaction")).to_have_count(0)
    ada.expect(ada.message("read this")).to_be_focused()
    bob.page.evaluate(SELECT, [".message .text", 0, 4])
    say_many(ada, 230)
    for person in (ada, bob):
        person.expect(person.page.locator("#jump")).to_be_visible()
    ada.expect(ada.message("read this")).to_be_focused()
    assert bob.page.evaluate(SELECTED) == "read"
    ada.page.keyboard.press("End")
    ada.expect(ada.message("message 230.")).to_be_focused()
    ada.expect(ada.page.locator("#jump")).to_be_hidden()


def test_the_view_outlasts_another_size(server, visit, outside):
    """A narrower window, the list of people, larger letters: what one reads stays, and so does the end."""
    outside.evaluate(COME, "Long")
    outside.evaluate(SAY_LONG, 40)
    ada = visit(server, "Ada").come()
    scroller = ada.page.locator("#scroll")
    changes: list[Any] = [
        lambda: ada.page.set_viewport_size({"width": 700, "height": 800}),
        lambda: ada.page.set_viewport_size({"width": 1280, "height": 800}),
        lambda: ada.page.get_by_role("button", name="People", exact=True).click(),
        lambda: ada.page.evaluate("() => { document.documentElement.style.fontSize = '21px' }"),
    ]
    for change in changes:
        change()
        wait.until(lambda: scroller.evaluate(TO_END) < 2, 5, "the end")
    scroller.evaluate("node => { node.scrollTop -= 1500 }")
    ada.page.locator("#jump").wait_for()
    row, top = ada.page.evaluate(READ)

    def stays() -> bool:
        now, at = ada.page.evaluate(READ)
        return bool(now == row and abs(at - top) <= 1)  # of fractions of a pixel

    for change in changes[:3]:
        change()
        wait.until(stays, 5, f"{row} at {top}")


def test_the_bar_of_actions_goes_with_its_message(server, visit):
    """Nothing is offered for a message that was deleted under the mouse."""
    ada, bob = visit(server, "Ada").come(), visit(server, "Bob").come()
    ada.say("soon gone")
    bob.sees("soon gone")
    bob.message("soon gone").hover()
    bob.expect(bob.page.get_by_role("toolbar")).to_be_visible()
    ada.act("soon gone", "More actions")
    ada.page.get_by_role("menuitem", name="Delete").click()
    ada.page.get_by_role("button", name="Delete", exact=True).click()
    bob.expect(bob.page.locator(".tombstone")).to_be_visible()
    bob.expect(bob.page.get_by_role("toolbar")).to_have_count(0)
