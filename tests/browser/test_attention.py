"""How the page calls for attention: real notifications, where the browser allows them, and where it only says so."""

from __future__ import annotations

import re
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


# The sounds that were begun.
LISTEN = """
    window.sounds = 0;
    const start = OscillatorNode.prototype.start;
    OscillatorNode.prototype.start = function (when) {
        window.sounds += 1;
        start.call(this, when);
    };
"""


def choose(person: Any, **choices: str) -> None:
    """In the dialog that is open, by the beginnings of the labels."""
    for label, choice in choices.items():
        person.page.get_by_role("combobox", name=label.replace("_", " ")).select_option(choice)
    person.page.get_by_role("button", name="Save").click()
    person.expect(person.page.get_by_role("dialog")).to_have_count(0)


def settings(person: Any, **choices: str) -> None:
    person.page.get_by_role("button", name="Settings").click()
    person.page.get_by_role("menuitem", name="Notifications").click()
    choose(person, **choices)


def of_the_room(person: Any, choice: str) -> None:
    person.page.get_by_role("button", name="About this conversation").click()
    person.page.get_by_role("menuitem", name="Notifications").click()
    choose(person, Tell_me_of=choice)


def test_a_person_chooses_of_what_a_room_tells(server, visit, bob):
    """All, mentions, nothing; what is silent counts neither in the title nor on the icon; the choice stays."""
    ada = visit(server, "Ada").come()
    bob.page.add_init_script(REMEMBER)
    bob.come()
    turn_on(bob)
    ada.expect(ada.page.locator(".member", has_text="Bob")).to_be_visible()
    of_the_room(bob, "All messages")
    ada.say("talk")
    bob.sees("talk")
    assert notes(bob) == [["Ada in lobby", "talk"]]
    bob.expect(bob.page).to_have_title(re.compile(r"^\(1\) "))
    bob.expect(bob.page.locator("#icon")).to_have_attribute("href", re.compile("circle"))
    of_the_room(bob, "Nothing")
    bob.expect(bob.page).to_have_title("#lobby – Chatmaster")
    bob.expect(bob.page.locator("#icon")).not_to_have_attribute("href", re.compile("circle"))
    ada.say("hello @Bob!")
    bob.sees("hello")
    bob.page.reload()
    bob.sees("hello")
    ada.say("again @Bob!")
    bob.sees("again")
    assert notes(bob) == []
    of_the_room(bob, "Only mentions of me")
    ada.say("more talk")
    ada.say("now @Bob!")
    bob.sees("now")
    assert notes(bob) == [["Ada in lobby", "now @Bob!"]]


def test_a_sound_and_no_disturbance(server, visit, bob):
    """Mentions sound where that is wanted, once; nothing does while nobody is to be disturbed, and the bell says so."""
    ada = visit(server, "Ada").come()
    bob.page.add_init_script(REMEMBER + LISTEN)
    bob.come()
    turn_on(bob)
    ada.expect(ada.page.locator(".member", has_text="Bob")).to_be_visible()
    ada.say("silent @Bob!")
    bob.sees("silent")
    assert bob.page.evaluate("sounds") == 0
    settings(bob, Sound="On")
    bob.page.wait_for_timeout(1100)  # the sound of the choice itself is over
    before = bob.page.evaluate("sounds")
    ada.say("aloud @Bob!")
    bob.sees("aloud")
    assert bob.page.evaluate("sounds") == before + 2
    settings(bob, Do_not_disturb="Until I turn it off")
    bob.expect(bob.page.get_by_role("button", name="Notifications", exact=True)).to_have_attribute(
        "title", "Do not disturb"
    )
    ada.say("hush @Bob!")
    bob.sees("hush")
    assert len(notes(bob)) == 2
    assert bob.page.evaluate("sounds") == before + 2
    settings(bob, Do_not_disturb="Off")
    ada.say("awake @Bob!")
    bob.sees("awake")
    assert len(notes(bob)) == 3
