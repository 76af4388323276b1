"""The list of conversations when there are many, and what a switch between them keeps."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.browser.test_timeline import say_many


@pytest.fixture
def server(chatmaster):
    return chatmaster(workers=2, settings={"limits.rate": 0})


def test_many_rooms_hide_nothing_that_is_unread(server, visit):
    """Unread ones come first, direct messages are in view, and Ctrl+K finds a room by a part of its name."""
    ada = visit(server, "Ada", height=600)
    rooms = json.dumps(json.dumps(["lobby", *(f"room-{number:02}" for number in range(36))]))
    ada.page.add_init_script(f"localStorage['chatmaster.rooms'] ??= {rooms}")
    ada.come()
    ada.expect(ada.page.locator("#rooms .room")).to_have_count(37)
    ada.expect(ada.page.locator("#directs-title")).to_be_in_viewport(ratio=1)
    bob = visit(server, "Bob").come("room-35")
    bob.say("over here")
    unread = ada.page.locator("#rooms .room.unread")
    ada.expect(unread).to_be_in_viewport(ratio=1)
    ada.page.keyboard.press("Control+k")
    ada.page.keyboard.type("M-17")
    ada.expect(ada.page.locator("#rooms .room")).to_have_count(1)
    ada.page.keyboard.press("Enter")
    ada.expect(ada.page.locator("#title-text")).to_have_text("room-17")
    ada.expect(ada.page.locator("#text")).to_be_focused()
    ada.expect(ada.page.locator("#rooms .room")).to_have_count(37)


def test_a_switch_keeps_reply_edit_and_place(server, visit):
    """Back in the room one answers the same message, and reads where one was."""
    ada = visit(server, "Ada").come()
    say_many(ada, 120)
    ada.sees("message 120.")
    ada.act("message 120.", "Reply")
    ada.page.locator("#text").fill("half an answer")
    ada.page.locator("#scroll").evaluate("node => { node.scrollTop -= 1500 }")
    ada.page.locator("#jump").wait_for()
    row = ada.page.evaluate("() => document.querySelectorAll('.message')[30].dataset.row")
    top = f"() => document.querySelector('[data-row=\"{row}\"]')?.getBoundingClientRect().top"
    before = ada.page.evaluate(top)
    ada.page.evaluate("() => { location.hash = '#garden' }")
    ada.expect(ada.page.locator("#title-text")).to_have_text("garden")
    ada.expect(ada.page.locator("#context")).to_be_hidden()
    ada.page.evaluate("() => { location.hash = '#lobby' }")
    ada.expect(ada.page.locator("#title-text")).to_have_text("lobby")
    ada.expect(ada.page.locator("#context")).to_contain_text("Replying to Reader")
    ada.expect(ada.page.locator("#text")).to_have_value("half an answer")
    assert abs(ada.page.evaluate(top) - before) < 2


def test_the_loss_of_the_network_is_told_at_once(server, visit):
    """While nothing is heard after it; a server that still answers is connected."""
    ada = visit(server, "Ada")
    is_deaf = [False]

    def opened(route: Any) -> None:
        upstream = route.connect_to_server()
        upstream.on_message(lambda text: None if is_deaf[0] else route.send(text))

    ada.page.route_web_socket("**", opened)
    ada.come()
    ada.state("Connected")
    is_deaf[0] = True
    ada.page.evaluate("() => { dispatchEvent(new Event('offline')) }")
    assert ada.page.locator("#state-text").inner_text() == "No network"
    is_deaf[0] = False
    ada.page.evaluate("() => { dispatchEvent(new Event('offline')) }")
    ada.state("Connected")
    is_deaf[0] = True  # and nobody tells the browser
    ada.expect(ada.page.locator("#state-text")).to_have_text("The server does not answer", timeout=15_000)
    is_deaf[0] = False
    ada.expect(ada.page.locator("#state-text")).to_have_text(re.compile("Caught up|Connected"), timeout=20_000)


def test_unread_direct_messages_are_in_view_too(server, visit):
    """They come first; what lies out of view is told with its direction; Ctrl+K finds people, too."""
    ada = visit(server, "Ada", height=600)
    rooms = json.dumps(json.dumps(["lobby", *(f"room-{number:02}" for number in range(36))]))
    ada.page.add_init_script(f"localStorage['chatmaster.rooms'] ??= {rooms}")
    ada.come()
    user = ada.page.evaluate("() => document.querySelector('.member').dataset.user")
    bob = visit(server, "Bob").come()
    for number in range(8):
        ada.page.evaluate("(id) => { location.hash = id }", f"#@somebody-{number}")
        ada.say("a note")
        ada.kept("a note")
    ada.page.evaluate("() => { location.hash = '#lobby' }")
    ada.page.locator("#directs").hover()  # nothing moves under the pointer
    bob.page.goto(f"{bob.url}/#@{user}")
    bob.say("hello you")
    unread = ada.page.locator("#directs .room.unread")
    more = ada.page.locator("#more-directs")
    ada.expect(unread).to_have_count(1)
    if not ada.page.locator("#directs").evaluate("node => node.scrollHeight > node.clientHeight + 40"):
        raise AssertionError("the list is not long enough for the test")
    ada.page.locator("#text").hover()
    ada.expect(unread).to_be_in_viewport(ratio=1)
    ada.page.locator("#directs").evaluate("node => { node.scrollTop = node.scrollHeight }")
    ada.expect(more).to_have_text("More unread above")
    more.click()
    ada.expect(more).to_be_hidden()
    ada.page.keyboard.press("Shift+Escape")
    ada.expect(unread).to_have_count(0)
    eve = visit(server, "Eve").come()
    ada.expect(ada.page.locator(".member", has_text="Eve")).to_be_visible()
    ada.page.keyboard.press("Control+k")
    ada.page.keyboard.type("eve")
    ada.page.keyboard.press("Enter")
    ada.expect(ada.page.locator("#title-text")).to_have_text("Eve")
    eve.page.close()


def test_the_menu_of_a_conversation_in_the_list(server, visit):
    """By the right button, a long press or the menu key: what is unread there is marked as read, in other tabs too."""
    ada, bob = visit(server, "Ada").come("garden"), visit(server, "Bob").come("garden")
    ada.page.goto(f"{ada.url}/#lobby")
    other = ada.page.context.new_page()
    other.goto(f"{ada.url}/#lobby")
    for page in (ada.page, other):
        ada.expect(page.locator("#rooms .room", has_text="garden")).to_be_visible()
        ada.expect(page.locator("#state-text")).to_have_text("Connected")
    bob.say("over here")
    badges = [page.locator("#rooms .badge") for page in (ada.page, other)]
    for badge in badges:
        ada.expect(badge).to_have_text("1")
    ada.page.locator("#rooms .room", has_text="garden").click(button="right")
    ada.page.get_by_role("menuitem", name="Mark as read").click()
    for badge in badges:
        ada.expect(badge).to_have_count(0)
    ada.expect(ada.page.locator("#title-text")).to_have_text("lobby")
    ada.page.keyboard.press("Control+/")
    ada.expect(ada.page.get_by_role("dialog", name="Keyboard shortcuts")).to_contain_text("Ctrl+K")


def test_undo_and_paste(server, visit):
    """An emoji can be undone, and an image is refused with a word."""
    ada = visit(server, "Ada").come()
    box = ada.page.locator("#text")
    box.press_sequentially("hello")
    ada.page.get_by_role("button", name="Insert an emoji").click()
    ada.page.get_by_role("searchbox").fill("rocket")
    ada.page.keyboard.press("Enter")
    ada.expect(box).to_have_value("hello🚀")
    ada.page.keyboard.press("Control+z")
    ada.expect(box).to_have_value("hello")
    box.evaluate(
        """(node) => {
            const clipboardData = new DataTransfer();
            clipboardData.items.add(new File(["x"], "image.png", { type: "image/png" }));
            node.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
        }"""
    )
    ada.expect(ada.page.locator(".toast")).to_contain_text("cannot be sent")
