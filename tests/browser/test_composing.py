"""What is done in the box and its neighbours: composing by an input method, mentions, quotes, files, over a reload."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.test_timeline import say_many

FIRST_SEEN = """() => {
    const top = document.querySelector("#scroll").getBoundingClientRect().top;
    const seen = [...document.querySelectorAll(".message")].find((node) => node.getBoundingClientRect().bottom > top);
    return seen ? [seen.dataset.row, seen.getBoundingClientRect().top] : [];
}"""
GIVE_FILE = """([place, type]) => {
    const data = new DataTransfer();
    data.items.add(new File(["x"], "image.png", { type: "image/png" }));
    const options = { clipboardData: data, dataTransfer: data, bubbles: true, cancelable: true };
    const event = type === "paste" ? new ClipboardEvent(type, options) : new DragEvent(type, options);
    document.querySelector(place).dispatchEvent(event);
    return event.defaultPrevented;
}"""


@pytest.fixture
def server(chatmaster):
    return chatmaster(workers=1, settings={"limits.rate": 0})


def composes(person: Any, key: str, **how: Any) -> bool:
    """A key that an input method takes, at what has the focus. Returns whether the page leaves it alone."""
    script = """([key, how]) => document.activeElement.dispatchEvent(new KeyboardEvent("keydown", {
        key, keyCode: 229, isComposing: true, bubbles: true, cancelable: true, ...how }))"""
    left: bool = person.page.evaluate(script, [key, how])
    return left


def test_keys_of_an_input_method_are_its_own(server, visit):
    """In the box with its offers, and in the search for an emoji, a dialog and the search for a conversation."""
    ada = visit(server, "Ada").come()
    page, box = ada.page, ada.page.locator("#text")
    ada.say("mine")
    ada.kept("mine")
    keys = ("Enter", "Escape", "ArrowUp", "ArrowDown", "Tab", "Process")
    assert all(composes(ada, key) for key in keys)
    ada.expect(page.locator("#context")).to_be_hidden()
    title = page.locator("#title-text")
    page.evaluate("() => { location.hash = '#garden' }")
    ada.expect(title).to_have_text("garden")
    box.focus()
    assert composes(ada, "ArrowUp", altKey=True) and composes(ada, "k", ctrlKey=True)
    ada.expect(title).to_have_text("garden")
    ada.expect(box).to_be_focused()
    box.press_sequentially("@ro")
    page.get_by_role("option").wait_for()
    assert all(composes(ada, key) for key in keys)
    ada.expect(page.get_by_role("option")).to_be_visible()
    ada.expect(box).to_have_value("@ro")
    box.fill("")
    page.get_by_role("button", name="Insert an emoji").click()
    page.get_by_role("searchbox").fill("rocket")
    assert not composes(ada, "Escape")  # else the browser would close the picker
    assert composes(ada, "Enter") and composes(ada, "ArrowDown")
    ada.expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Join or create a room").click()
    page.get_by_role("textbox", name="Name of the room").fill("nihon")
    assert not composes(ada, "Escape") and not composes(ada, "Enter")
    ada.expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("Control+k")
    page.keyboard.type("lob")
    assert all(composes(ada, key) for key in keys)
    ada.expect(title).to_have_text("garden")
    ada.expect(page.locator("#filter")).to_have_value("lob")


def test_a_composition_is_not_cut_off_by_an_emoji(server, visit):
    """`:tada:` becomes one when the input method is done with it."""
    ada = visit(server, "Ada").come()
    box = ada.page.locator("#text")
    compose = """(node, [text, isComposing]) => {
        node.value = text;
        node.dispatchEvent(new InputEvent("input", { isComposing, bubbles: true }));
    }"""
    box.focus()
    box.evaluate(compose, [":tada", True])
    ada.page.get_by_role("option").first.wait_for()  # they are loaded
    box.evaluate(compose, [":tada:", True])
    ada.expect(ada.page.get_by_role("option")).to_have_count(0)
    ada.expect(box).to_have_value(":tada:")
    box.dispatch_event("compositionend")
    ada.expect(box).to_have_value("🎉")


def test_what_is_typed_next_goes_into_the_box(server, visit):
    """After a dialog, whose button would take a space as a press, and after the button that sends."""
    ada = visit(server, "Ada").come()
    keys, box = ada.page.keyboard, ada.page.locator("#text")
    ada.page.locator("#my-name").click()
    ada.page.get_by_role("textbox", name="Your name").wait_for()
    keys.type("Ada Lovelace")
    keys.press("Enter")
    ada.expect(ada.page.locator("#my-name-text")).to_have_text("Ada Lovelace")
    ada.page.get_by_role("dialog").wait_for(state="detached")
    keys.type("hello everybody")
    ada.expect(box).to_have_value("hello everybody")
    ada.page.get_by_role("button", name="Join or create a room").click()
    ada.page.get_by_role("textbox", name="Name of the room").wait_for()
    keys.type("garden")
    keys.press("Enter")
    ada.expect(ada.page.locator("#title-text")).to_have_text("garden")
    ada.page.get_by_role("dialog").wait_for(state="detached")
    keys.type("by hand")
    ada.page.locator("#send").click()
    ada.kept("by hand")
    keys.type("by keys")
    ada.page.locator("#send").focus()
    keys.press("Enter")
    ada.kept("by keys")
    keys.type("and on")
    ada.expect(box).to_have_value("and on")


def test_a_mention_begins_behind_a_space(server, visit):
    """Glued to a word it would be none; each insertion can be undone."""
    ada, bob = visit(server, "Ada").come(), visit(server, "Bob").come()
    box = ada.page.locator("#text")
    box.press_sequentially("hello")
    ada.page.locator(".member", has_text="Bob").click()
    ada.page.get_by_role("menuitem", name="Mention").click()
    ada.expect(box).to_have_value("hello @Bob ")
    ada.page.keyboard.press("Control+z")
    ada.expect(box).to_have_value("hello")
    box.press_sequentially(" @Bo")
    ada.page.get_by_role("option", name="Bob").wait_for()
    ada.page.keyboard.press("Tab")
    ada.expect(box).to_have_value("hello @Bob ")
    ada.page.keyboard.press("Control+z")
    ada.expect(box).to_have_value("hello @Bo")
    bob.page.close()


def test_quote_and_what_is_known_of_a_message(server, visit):
    """The menu quotes, and says in words who reacted and who has read: under a finger and by keys there is no title."""
    ada, bob = visit(server, "Ada").come(), visit(server, "Bob").come()
    ada.say("first line\nsecond line")
    bob.sees("second line")
    bob.act("second line", "React with 👍")
    ada.expect(ada.message("second line").locator(".reaction")).to_be_visible()
    ada.expect(ada.message("second line").locator(".readers")).to_be_visible()
    ada.act("second line", "More actions")
    ada.expect(ada.page.get_by_role("menu", name="Ada, 👍 Bob, Read by Bob")).to_be_visible()
    ada.expect(ada.page.locator(".menu-facts")).to_contain_text("Read by Bob")
    ada.page.keyboard.press("Escape")
    box = bob.page.locator("#text")
    box.fill("see")
    bob.act("second line", "More actions")
    bob.page.get_by_role("menuitem", name="Quote").click()
    bob.expect(box).to_have_value("see\n> first line\n> second line\n")
    bob.page.keyboard.type("indeed")
    bob.page.keyboard.press("Enter")
    ada.expect(ada.page.locator(".message blockquote")).to_contain_text("second line")


@pytest.mark.parametrize("place", ["#text", "#timeline", "#filter", "body"])
def test_a_file_is_refused_with_a_word(server, visit, place):
    """Wherever it is let go: the browser would show it in the page's place."""
    ada = visit(server, "Ada").come()
    toasts = ada.page.locator(".toast", has_text="cannot be sent here, only text")
    assert ada.page.evaluate(GIVE_FILE, [place, "dragover"])
    ada.expect(toasts).to_have_count(0)
    assert ada.page.evaluate(GIVE_FILE, [place, "drop"]) and ada.page.evaluate(GIVE_FILE, [place, "paste"])
    ada.expect(toasts.first).to_be_visible()


def test_a_reload_keeps_reply_edit_and_place(server, visit):
    """Of the conversation that is shown, and of one that was shown before."""
    ada = visit(server, "Ada").come()
    say_many(ada, 120)
    ada.sees("message 120.")
    box, context = ada.page.locator("#text"), ada.page.locator("#context")
    ada.act("message 119.", "Reply")
    box.fill("half an answer")
    ada.page.locator("#scroll").evaluate("node => { node.scrollTop -= 1500 }")
    ada.page.locator("#jump").wait_for()
    row, top = ada.page.evaluate(FIRST_SEEN)
    ada.page.evaluate("() => { location.hash = '#garden' }")
    ada.expect(ada.page.locator("#title-text")).to_have_text("garden")
    ada.say("tpyo")
    ada.kept("tpyo")
    box.fill("a draft")
    ada.act("tpyo", "Edit")
    box.fill("typo")
    ada.page.reload()
    ada.expect(context).to_contain_text("Editing your message: tpyo")
    ada.expect(box).to_have_value("typo")
    box.press("Enter")
    ada.sees("typo")
    ada.expect(box).to_have_value("a draft")
    ada.page.reload()
    ada.expect(context).to_be_hidden()
    ada.page.evaluate("() => { location.hash = '#lobby' }")
    ada.expect(context).to_contain_text("Replying to")
    ada.expect(box).to_have_value("half an answer")
    script = (
        f"([row, top]) => {{ const seen = ({FIRST_SEEN})(); return seen[0] === row && Math.abs(seen[1] - top) < 2 }}"
    )
    ada.page.wait_for_function(script, arg=[row, top])
    ada.page.reload()
    ada.page.wait_for_function(script, arg=[row, top])
    ada.expect(box).to_have_value("half an answer")
    box.press("Enter")
    ada.expect(ada.message("half an answer").locator(".quote")).to_contain_text("message 119.")
