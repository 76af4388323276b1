"""The page in Firefox: its core journeys by a hand's own presses and keys, and nothing on the console.

One Firefox and one server serve all of them, each test in a room of its own. Where Firefox is not installed the tests
are skipped; one that hangs ends with its process in a minute.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.browser.measure import talker
from tests.browser.test_busy import TO_END
from tests.browser.test_places import COMPOSE
from tests.support import wait
from tests.support.firefox import Firefox, Tab, find_firefox
from tests.support.server import Chatmaster

RATE = 30  # messages a second, in a room that talks

# The middle of the last shown element that has the text, or null.
MIDDLE = """(selector, text) => {
    const node = [...document.querySelectorAll(selector)]
        .filter((one) => one.checkVisibility() && `${one.ariaLabel ?? ""} ${one.textContent}`.includes(text)).at(-1);
    const box = node?.getBoundingClientRect();
    return box && [box.left + box.width / 2, box.top + box.height / 2];
}"""
TEXTS = "(selector) => [...document.querySelectorAll(selector)].map((node) => node.textContent)"
SCROLL = "document.querySelector('#scroll')"
DRAWN = "() => new Promise((drawn) => requestAnimationFrame(() => setTimeout(drawn)))"

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def firefox() -> Iterator[Firefox]:
    path = find_firefox()
    if path is None:
        pytest.skip("Firefox is not installed")
    with Firefox(path) as firefox:
        yield firefox


@pytest.fixture(scope="module")
def server() -> Iterator[Chatmaster]:
    with Chatmaster(workers=2, settings={"limits.rate": 0}) as server:
        yield server


class Guest:
    """Somebody at the page in Firefox."""

    def __init__(self, tab: Tab, url: str) -> None:
        self.tab = tab
        self.url = url

    def come(self, room: str) -> Guest:
        """Open the page and wait until the room is there."""
        self.tab.go(f"{self.url}/#{room}")
        self.sees("#timeline .start")
        return self

    def sees(self, selector: str, text: str = "", seconds: float = 20.0) -> tuple[float, float]:
        """Wait until such an element is shown; returns its middle."""
        middle = wait.until(lambda: self.tab.run(MIDDLE, selector, text), seconds, f"{selector} {text!r} is shown")
        return middle[0], middle[1]

    def sees_no(self, selector: str, text: str = "") -> None:
        """Wait until there is none."""
        wait.until(lambda: self.tab.run(MIDDLE, selector, text) is None, 20, f"{selector} {text!r} is gone")

    def press(self, selector: str, text: str = "") -> None:
        self.tab.press(self.sees(selector, text))

    def say(self, text: str) -> None:
        self.press("#text")
        self.tab.type(text)
        self.tab.key("Enter")

    def act(self, text: str, action: str) -> None:
        """Press a button of the bar at a message."""
        self.tab.point(self.sees(".message .text", text))
        self.press("[role=toolbar] button", action)

    def value(self, selector: str) -> Any:
        """What stands in a box."""
        return self.tab.run("(selector) => document.querySelector(selector).value", selector)

    def texts(self, selector: str = ".message .text") -> Any:
        return self.tab.run(TEXTS, selector)


@pytest.fixture
def guest(firefox: Firefox, server: Chatmaster) -> Iterator[Callable[..., Guest]]:
    """`guest("Ada")`: somebody with storage of their own."""
    tabs: list[Tab] = []

    def make(name: str, *, width: int = 1280) -> Guest:
        tab = firefox.visit(width)
        tabs.append(tab)
        for key, value in (("name", name), ("people", True)):
            statement = f"localStorage['chatmaster.{key}'] ??= {json.dumps(json.dumps(value))}"
            tab.before_each_page(f"try {{ {statement} }} catch {{}}")
        return Guest(tab, server.http)

    yield make
    complaints = [complaint for tab in tabs for complaint in tab.complaints]
    for tab in tabs:
        tab.close()
    assert not complaints, complaints


def test_two_people_chat(guest):
    """What one writes with marks comes to both; the other reacts and answers; a reload keeps it all."""
    ada, bob = guest("Ada").come("garden"), guest("Bob").come("chat")
    ada.come("chat").say("good **morning** `all`")
    bob.sees(".message .text strong", "morning")
    bob.sees(".message .text code", "all")
    bob.act("good", "React with 👍")
    ada.sees(".reaction", "1")
    bob.act("good", "Reply")
    bob.say("to you, too")
    ada.sees(".quote", "good morning")
    ada.tab.reload()
    ada.sees(".message .text", "to you, too")
    assert ada.texts() == ["good morning all", "to you, too"]
    assert {"chat", "garden"} <= set(ada.texts("#rooms .room-name"))


def test_ten_of_ten_presses_while_others_talk(guest, server):
    """On rooms and on people, held for 100 ms, at 30 messages a second; "Latest" arrives at 0 px and stays."""
    ada = guest("Ada").come("rest")
    ada.come("busy")
    with talker(server.url, RATE, "busy"):
        ada.sees(".message .text", "talk")
        for _ in range(5):
            for room in ("rest", "busy"):
                ada.press("#rooms .room", room)
                ada.sees("#title-text", room, seconds=3)
        for _ in range(10):
            ada.press(".member", "Talker")
            ada.sees("[role=menu]", seconds=3)
            ada.tab.key("Escape")
            ada.sees_no("[role=menu]")
        wait.until(lambda: ada.tab.run(f"() => {SCROLL}.scrollHeight > 3000"), 20, "a long room")
        ada.tab.run(f"() => {{ {SCROLL}.scrollTop -= 2000 }}")
        ada.press("#jump")
        short = f"() => ({TO_END})({SCROLL})"
        wait.until(lambda: ada.tab.run(short) < 1, 10, "the end")
        for _ in range(10):
            ada.tab.run(DRAWN)
            assert ada.tab.run(short) < 1


def test_a_press_on_a_quote_leads_there(guest):
    """The message that was answered is further up; it comes into view and has the focus."""
    ada = guest("Ada").come("quotes")
    ada.say("the beginning")
    for number in range(30):
        ada.say(f"line {number}")
    ada.sees(".message[data-offset] .text", "line 29")
    ada.tab.run(f"() => {{ {SCROLL}.scrollTop = 0 }}")
    ada.act("the beginning", "Reply")
    ada.say("an answer")
    ada.press(".quote", "the beginning")
    focused = "() => document.activeElement.matches('.message') && document.activeElement.textContent"
    wait.until(lambda: "the beginning" in (ada.tab.run(focused) or ""), 20, "the message has the focus")
    top = f"() => document.activeElement.getBoundingClientRect().top - {SCROLL}.getBoundingClientRect().top"
    wait.until(lambda: 0 <= ada.tab.run(top) < 700, 20, "the message is in view")


def test_enter_that_ends_a_composition_sends_nothing(guest):
    """In the box and in the search for an emoji; the next Enter counts, and so does the emoji that is chosen by it."""
    ada = guest("Ada").come("words")
    ada.press("#text")
    ada.tab.type("日本")
    ada.tab.run(f"() => ({COMPOSE})(document.querySelector('#text'))")
    assert ada.value("#text") == "日本" and ada.texts() == []
    ada.tab.key("Enter")
    ada.sees(".message[data-offset] .text", "日本")
    ada.press("#emoji")
    search = ".emoji-picker input"
    ada.sees(search)
    ada.tab.type("heart")
    ada.tab.run(f"() => ({COMPOSE})(document.querySelector('{search}'))")
    ada.sees(search)
    assert ada.value("#text") == ""
    ada.tab.key("Enter")
    ada.sees_no(search)
    wait.until(lambda: ada.value("#text"), 20, "an emoji in the box")
    ada.tab.key("Enter")
    wait.until(lambda: len(ada.texts()) == 2, 20, "the emoji is said")


def test_without_a_network_words_wait(guest, server):
    """The line says so; what is written meanwhile is said once when the network is there again."""
    ada, bob = guest("Ada").come("dark"), guest("Bob").come("dark")
    ada.say("before")
    bob.sees(".message .text", "before")
    ada.tab.set_offline(True)
    ada.sees("#state-text", "No network")
    ada.say("in the dark")
    ada.sees(".message .mark, .message .text", "in the dark")
    ada.tab.set_offline(False)
    bob.sees(".message .text", "in the dark")
    ada.sees(".message[data-offset] .text", "in the dark")
    ada.sees_no("#state-text", "etwork")
    assert bob.texts() == ["before", "in the dark"]


def test_dialogs_by_keyboard(guest):
    """Ctrl+K finds a conversation; the name's dialog keeps the focus inside, ends with Escape and gives it back."""
    ada = guest("Ada").come("keys")
    ada.tab.key("Control", "k")
    focus = "() => document.activeElement.id"
    wait.until(lambda: ada.tab.run(focus) == "filter", 20, "the filter has the focus")
    ada.tab.key("Escape")
    ada.press("#my-name")
    ada.sees("dialog input")
    for _ in range(2):  # to its two buttons; Firefox's own come after them
        ada.tab.key("Tab")
        assert ada.tab.run("() => document.activeElement.closest('dialog') !== null")
    ada.tab.key("Escape")
    ada.sees_no("dialog")
    assert ada.tab.run(focus) == "my-name"
    ada.tab.key("Enter")
    ada.sees("dialog input")
    ada.tab.run("() => document.querySelector('dialog input').select()")
    ada.tab.type("Ada Lovelace")
    ada.tab.key("Enter")
    ada.sees("#my-name-text", "Ada Lovelace")


def test_a_phone_and_right_to_left(guest):
    """Each text has its own direction, and 320 px are enough for all of it."""
    ada = guest("ليلى", width=320).come("phone")
    ada.say("مرحبا بالجميع")
    ada.say("https://example.org/" + "long" * 30)
    ada.sees(".message[data-offset] .text", "longlong")
    directions = "() => [...document.querySelectorAll('.message .text')].map((node) => node.matches(':dir(rtl)'))"
    assert ada.tab.run(directions) == [True, False]
    narrow = f"() => [document.documentElement, {SCROLL}].every((node) => node.scrollWidth <= node.clientWidth)"
    assert ada.tab.run(narrow)
