"""How the page calls for attention: real notifications, where the browser allows them, and where it only says so."""

from __future__ import annotations

from typing import Any

import pytest

# The browser's own notifications, remembered.
REMEMBER = """
    const notes = (window.notes = []);
    window.Notification = class extends Notification {
        constructor(title, options) {
            super(title, options);
            notes.push(this);
        }
    };
"""
# Chrome on Android: the permission can be had, the constructor throws.
ANDROID = """
    window.Notification = class {
        static permission = "granted";
        constructor() {
            throw new TypeError("Illegal constructor. Use ServiceWorkerRegistration.showNotification() instead.");
        }
    };
"""
AWAY = "document.hasFocus = () => false;"  # Playwright gives every page the focus


@pytest.fixture
def bob(server, visit):
    """Somebody who looks elsewhere."""
    bob = visit(server, "Bob")
    bob.page.context.grant_permissions(["notifications"], origin=server.http)
    bob.page.add_init_script(AWAY)
    return bob


def turn_on(bob: Any) -> None:
    bob.page.get_by_role("button", name="Notifications").click()
    bob.expect(bob.page.get_by_role("button", name="Notifications", pressed=True)).to_be_visible()


def notes(bob: Any) -> list[list[str]]:
    found: list[list[str]] = bob.page.evaluate("() => notes.map(({ title, body }) => [title, body])")
    return found


def test_notifications_of_what_is_for_me(server, visit, bob):
    """A mention and a direct message, not the talk of others; a press leads there, and off is off."""
    ada = visit(server, "Ada").come()
    bob.page.add_init_script(REMEMBER)
    bob.come()
    turn_on(bob)
    ada.expect(ada.page.locator(".member", has_text="Bob")).to_be_visible()
    ada.say("nobody in particular")
    ada.say("lunch, @Bob?")
    bob.sees("lunch")
    assert notes(bob) == [["Ada in lobby", "lunch, @Bob?"]]
    ada.page.locator(".member", has_text="Bob").click()
    ada.page.get_by_role("menuitem", name="Write directly").click()
    ada.say("psst")
    bob.expect(bob.page.locator("#directs .badge")).to_have_text("1")
    assert notes(bob)[1:] == [["Ada to you", "psst"]]
    bob.page.evaluate("() => notes[1].onclick()")
    bob.sees("psst")
    bob.page.get_by_role("button", name="Notifications").click()
    ada.say("still there?")
    bob.sees("still there?")
    assert len(notes(bob)) == 2


def test_a_browser_that_cannot_notify_still_shows_the_message(server, visit, bob):
    """It is drawn and counted, and the button goes off and says why."""
    ada = visit(server, "Ada").come()
    bob.page.add_init_script(ANDROID)
    bob.come()
    turn_on(bob)
    ada.expect(ada.page.locator(".member", has_text="Bob")).to_be_visible()
    ada.say("lunch, @Bob?")
    bob.sees("lunch")
    bob.expect(bob.page.locator(".toast")).to_contain_text("shows no notifications")
    bob.expect(bob.page.get_by_role("button", name="Notifications", pressed=False)).to_be_visible()
    bob.expect(bob.page.locator("#said")).to_have_text("Ada: lunch, @Bob?")
