"""The page under a finger: sheets, swipes, the keyboard of a phone, and what the edges of its screen cover."""

from __future__ import annotations

from typing import Any

import pytest

WIDTH, HEIGHT = 360, 740


@pytest.fixture
def phone(server: Any, visit: Any) -> Any:
    """Ada with a phone in a room where Bob has said something."""
    bob = visit(server, "Bob").come()
    bob.say("touch me")
    ada = visit(server, "Ada", width=WIDTH, height=HEIGHT, has_touch=True, is_mobile=True).come()
    ada.sees("touch me")
    return ada


def finger(person: Any, node: Any, *, by: int = 0, hold: int = 0) -> None:
    """Put a finger on a message, move it sideways by so many px, leave it there for `hold` ms, lift it."""
    box = node.locator(".text").bounding_box()
    x, y = box["x"] + 20, box["y"] + box["height"] / 2
    session = person.page.context.new_cdp_session(person.page)

    def send(kind: str, *points: dict[str, float]) -> None:
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": list(points)})

    send("touchStart", {"x": x, "y": y})
    for step in range(1, 9 if by else 0):
        send("touchMove", {"x": x + by * step / 8, "y": y})
    person.page.wait_for_timeout(hold)
    send("touchEnd")
    session.detach()


def test_a_long_press_opens_a_sheet(phone):
    """At the foot of the screen, over its whole width, and still there when the finger is lifted."""
    page = phone.page
    finger(phone, phone.message("touch me"), hold=700)
    sheet = page.locator("dialog.sheet")
    phone.expect(sheet).to_be_visible()
    box = sheet.bounding_box()
    assert box["width"] == WIDTH and abs(box["y"] + box["height"] - HEIGHT) < 1
    assert min(item.bounding_box()["height"] for item in sheet.get_by_role("menuitem").all()) >= 44
    sheet.get_by_role("menuitem", name="React with 👍").tap()
    phone.expect(phone.message("touch me").locator(".reaction")).to_be_visible()
    phone.expect(sheet).to_have_count(0)
    finger(phone, phone.message("touch me"), hold=700)
    phone.expect(sheet).to_be_visible()
    page.wait_for_timeout(100)  # a hand takes longer
    page.touchscreen.tap(100, 40)
    phone.expect(sheet).to_have_count(0)


def test_a_short_press_and_a_scroll_open_nothing(phone):
    """Only what is held still is meant."""
    finger(phone, phone.message("touch me"), hold=50)
    finger(phone, phone.message("touch me"), by=30, hold=700)
    assert phone.page.locator("dialog.sheet").count() == 0
    phone.expect(phone.page.locator("#context")).to_be_hidden()


def test_a_swipe_answers(phone):
    """Far enough to the side; the message goes back to its place."""
    before = phone.message("touch me").bounding_box()
    finger(phone, phone.message("touch me"), by=120)
    phone.expect(phone.page.locator("#context-text")).to_have_text("Replying to Bob: touch me")
    phone.page.wait_for_function(
        "(x) => Math.abs(document.querySelector('.message').getBoundingClientRect().x - x) < 1", arg=before["x"]
    )


def test_enter_begins_a_new_line(phone):
    """There is no Shift under a thumb; the button sends."""
    page = phone.page
    page.locator("#text").fill("one")
    page.locator("#text").press("End")
    page.keyboard.press("Enter")
    page.keyboard.type("two")
    phone.expect(page.locator("#text")).to_have_value("one\ntwo")
    assert page.locator("#text").get_attribute("enterkeyhint") == "enter"
    page.locator("#send").tap()
    phone.kept("one")
    assert phone.texts()[-1] == "one\ntwo"


def test_the_picker_brings_up_no_keyboard(phone):
    """No box has the focus when it opens, and the emoji goes into the message."""
    page = phone.page
    page.get_by_role("button", name="Insert an emoji").tap()
    phone.expect(page.locator(".emoji-picker")).to_be_visible()
    assert page.evaluate("() => document.activeElement.matches('input, textarea')") is False
    page.locator(".emoji-grid button").first.tap()
    assert page.locator("#text").input_value() != ""


def test_nothing_lies_under_the_edges_of_the_screen(phone):
    """The notch, and the bar by which one goes home."""
    page = phone.page
    session = page.context.new_cdp_session(page)
    session.send("Emulation.setSafeAreaInsetsOverride", {"insets": {"top": 40, "bottom": 34, "left": 0, "right": 0}})
    phone.expect(page.locator("#title")).to_be_visible()
    page.wait_for_function("() => document.querySelector('#title').getBoundingClientRect().top >= 40")
    box = page.locator("#send").bounding_box()
    assert box["y"] + box["height"] <= HEIGHT - 34
    page.get_by_role("button", name="Conversations").tap()
    page.wait_for_function("() => document.querySelector('#close-sidebar').getBoundingClientRect().left >= 0")
    assert page.locator("#close-sidebar").bounding_box()["y"] >= 40
    me = page.locator("#my-name").bounding_box()
    assert me["y"] + me["height"] <= HEIGHT - 34
