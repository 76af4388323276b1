"""What one has typed or pressed is not lost to a refusal, a limit, or a connection that is not there."""

from __future__ import annotations

import pytest

from tests.browser.conftest import Line

SMALL = '[[rooms]]\nmatch = "small"\nmessage_size = 100\n'
LONG = "x" * 150


@pytest.fixture
def server(chatmaster):
    return chatmaster(workers=1, config=SMALL)


def test_a_refused_edit_is_given_back(server, visit):
    """A room may allow less than the server: the text is in the box again, as an edit."""
    ada = visit(server, "Ada").come("small")
    ada.say("short")
    ada.kept("short")
    ada.act("short", "Edit")
    ada.say(LONG)
    ada.expect(ada.page.locator(".toast")).to_have_count(1)
    ada.expect(ada.page.locator("#context-text")).to_contain_text("Editing your message")
    ada.expect(ada.page.locator("#text")).to_have_value(LONG)
    ada.say("mended")
    ada.kept("mended")


def test_a_name_that_is_too_long_stays_in_the_box(server, visit):
    """Of a person or a room: a sentence says so, and nothing is cut off what was typed. Counted are characters."""
    ada = visit(server, "Ada").come()
    for button, box, most in (("#my-name", "Your name", 32), ("#join-room", "Name of the room", 64)):
        ada.page.locator(button).click()
        field = ada.page.get_by_role("textbox", name=box)
        field.fill("")
        ada.page.keyboard.insert_text("𠀀" * (most + 1))
        field.press("Enter")
        said = f"This is too long: {most + 1} characters, and {most} are allowed"
        ada.expect(ada.page.locator(".field-error")).to_have_text(said)
        ada.expect(field).to_have_value("𠀀" * (most + 1))
        field.press("Backspace")
        field.press("Enter")
        ada.expect(field).to_have_count(0)
    ada.expect(ada.page.locator("#my-name-text")).to_have_text("𠀀" * 32)


def test_enter_before_the_server_is_there_sends_later(server, visit):
    """Before the welcome, and in a room that one is not in yet."""
    ada = visit(server, "Ada")
    line = Line(ada.page)
    line.is_cut = True
    ada.page.goto(f"{server.http}/#lobby")
    ada.page.locator("#text").press_sequentially("early bird")
    ada.page.keyboard.press("Enter")
    line.mend()
    ada.kept("early bird")
    ada.expect(ada.page.locator("#text")).to_have_value("")
    line.cut()
    ada.state("Reconnecting")
    ada.page.evaluate("() => { location.hash = '#garden' }")
    ada.expect(ada.page.locator("#title-text")).to_have_text("garden")
    ada.say("first in here")
    ada.page.evaluate("() => { location.hash = '#lobby' }")
    ada.expect(ada.page.locator("#title-text")).to_have_text("lobby")
    ada.page.get_by_role("button", name="About this conversation").click()
    ada.page.get_by_role("menuitem", name="Leave this room").click()
    ada.expect(ada.page.locator("#title-text")).to_have_text("garden")
    line.mend()
    ada.kept("first in here")
    ada.expect(ada.page.locator("#rooms .room-name")).to_have_text(["garden"])


def test_a_link_to_no_message_is_said_to_lead_nowhere(server, visit):
    """A reaction has an offset, too; nothing more is loaded for it. Pages turn by keys from the box."""
    ada = visit(server, "Ada").come()
    for number in range(30):
        ada.say(f"{number} of many lines")
    ada.kept("29 of many")
    ada.message("0 of many").scroll_into_view_if_needed()
    ada.act("0 of many", "React with 👍")
    ada.expect(ada.message("0 of many").locator(".reaction")).to_be_visible()
    bob = visit(server, "Bob")
    bob.page.goto(f"{server.http}/#lobby/31")
    bob.expect(bob.page.locator(".toast")).to_contain_text("not kept any more")
    bob.expect(bob.message("29 of many")).to_be_in_viewport()
    bob.page.locator("#text").press("PageUp")
    bob.expect(bob.page.locator("#jump")).to_be_visible()
