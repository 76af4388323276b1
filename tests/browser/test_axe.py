"""The page in 31 states as axe-core judges it: WCAG 2.2 A and AA, and best practices.

It finds what is named, ordered and coloured badly by rule; `test_accessibility.py` tests what a person does.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from chatmaster import tokens
from tests.browser.conftest import Line
from tests.support.server import Chatmaster

AXE = Path(__file__).resolve().parents[2] / "etc/javascript/node_modules/axe-core/axe.min.js"
RUN = """async () => {
    const { violations } = await axe.run(document, {
        runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
        resultTypes: ["violations"],
    });
    return violations.flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) =>
        `${id}: ${target.join(" ")}: ${failureSummary.split("\\n").slice(1).join(" ")}`));
}"""
STATES = 31

pytestmark = pytest.mark.timeout(240)


class Judge:
    """Looks at a page in one state after the other, and remembers what was wrong."""

    def __init__(self) -> None:
        self.states: list[str] = []
        self.wrong: list[str] = []

    def look(self, person: Any, state: str) -> None:
        page = person.page
        if not page.evaluate("() => 'axe' in window"):
            page.evaluate(AXE.read_text())
        self.states.append(state)
        self.wrong += [f"{state}: {found}" for found in page.evaluate(RUN)]


@pytest.fixture
def judge() -> Judge:
    if not AXE.exists():
        reason = "axe-core is not installed: npm ci in etc/javascript"
        if os.environ.get("CI") == "true" and shutil.which("npm"):
            pytest.fail(reason)
        pytest.skip(reason)
    return Judge()


def escape(person: Any, opened: str = ".popup") -> None:
    person.page.keyboard.press("Escape")
    person.expect(person.page.locator(opened)).to_have_count(0)


def see_messages(judge: Judge, ada: Any, bob: Any) -> None:
    """A room that is empty, one in which people talk, and what one does there."""
    page = ada.page
    judge.look(ada, "empty room")
    bob.say("Hello @Ada, see https://example.org and `code`")
    ada.sees("Hello")
    ada.say("https://example.org/" + "long" * 40)
    ada.say("regretted")
    ada.kept("regretted")
    ada.act("Hello", "React with 👍")
    ada.expect(ada.message("Hello").locator(".reaction")).to_be_visible()
    judge.look(ada, "messages, a mention, a reaction")
    ada.message("Hello").hover()
    judge.look(ada, "the bar of actions")
    ada.message("Hello").focus()
    judge.look(ada, "a message with the focus")
    ada.act("Hello", "More actions")
    page.get_by_role("menu").wait_for()
    judge.look(ada, "menu of a message")
    escape(ada)
    ada.act("regretted", "More actions")
    page.get_by_role("menuitem", name="Delete").click()
    judge.look(ada, "question before deleting")
    page.get_by_role("button", name="Delete", exact=True).click()
    ada.sees("Message deleted")
    judge.look(ada, "a deleted message")
    ada.act("Hello", "Reply")
    judge.look(ada, "replying")
    ada.say("an answer")
    ada.kept("an answer")
    ada.act("an answer", "Edit")
    judge.look(ada, "editing")
    page.keyboard.press("Escape")


def see_popups(judge: Judge, ada: Any) -> None:
    """Menus, pickers, dialogs."""
    page = ada.page
    page.get_by_role("button", name="Insert an emoji").click()
    judge.look(ada, "emoji")
    page.get_by_role("searchbox").fill("qqqq")
    judge.look(ada, "no such emoji")
    page.get_by_role("searchbox").fill("")
    escape(ada)
    ada.act("Hello", "React")
    judge.look(ada, "emoji for a reaction")
    escape(ada)
    page.get_by_role("button", name="About this conversation").click()
    page.get_by_role("menu").wait_for()
    judge.look(ada, "menu of the room")
    escape(ada)
    page.get_by_role("button", name="About this conversation").click()
    page.get_by_role("menuitem", name="Notifications").click()
    page.get_by_role("combobox", name="Tell me of").wait_for()
    judge.look(ada, "dialog of what a room tells")
    escape(ada, "dialog")
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("menu").wait_for()
    judge.look(ada, "settings")
    page.get_by_role("menuitem", name="Notifications").click()
    page.get_by_role("combobox", name="Sound").wait_for()
    judge.look(ada, "dialog of notifications")
    escape(ada, "dialog")
    page.get_by_role("button", name="Join or create a room").click()
    judge.look(ada, "dialog for a room")
    page.get_by_role("textbox", name="Name of the room").fill("no/good")
    page.get_by_role("button", name="Join", exact=True).click()
    ada.expect(page.get_by_role("dialog")).to_contain_text("letters and digits")
    judge.look(ada, "dialog with a complaint")
    escape(ada, "dialog")
    page.get_by_role("button", name="Change your name").click()
    judge.look(ada, "dialog for a name")
    escape(ada, "dialog")
    page.locator("#text").press_sequentially("@Bo")
    page.get_by_role("option", name="Bob").wait_for()
    judge.look(ada, "people to mention")
    page.keyboard.press("Escape")
    page.locator("#text").fill("")


def see_people(judge: Judge, ada: Any) -> None:
    """The list of people, and one of them."""
    page = ada.page
    ada.show_people()
    judge.look(ada, "people")
    page.locator(".member", has_text="Bob").click()
    page.get_by_role("menu").wait_for()
    judge.look(ada, "about a person")
    page.get_by_role("menuitem", name="Write directly").click()
    ada.expect(page.locator("#title-text")).to_have_text("Bob")
    judge.look(ada, "direct messages, none yet")
    ada.say("privately")
    ada.kept("privately")
    judge.look(ada, "direct messages")
    page.get_by_role("textbox", name="Find a conversation").fill("lob")
    judge.look(ada, "conversations found")
    page.keyboard.press("Escape")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(server: Chatmaster, visit: Any, judge: Judge, scheme: str) -> None:
    """In all states, in both colour schemes, on a wide screen and a narrow one, connected and not."""
    ada, bob = visit(server, "Ada", color_scheme=scheme, reduced_motion="reduce"), visit(server, "Bob")
    line = Line(ada.page)
    ada.come()
    bob.come()
    see_messages(judge, ada, bob)
    see_popups(judge, ada)
    see_people(judge, ada)
    ada.page.goto(f"{server.http}/#garden")
    ada.expect(ada.page.locator("#timeline .start")).to_contain_text("garden")
    ada.page.get_by_role("button", name="About this conversation").click()
    ada.page.get_by_role("menuitem", name="Leave this room").click()
    ada.expect(ada.page.locator("#title-text")).to_have_text("lobby")
    ada.page.goto(f"{server.http}/#garden")
    ada.expect(ada.page.locator("#timeline .start")).to_contain_text("You are not in this room")
    judge.look(ada, "a room that was left")
    ada.page.goto(f"{server.http}/#lobby")
    ada.page.get_by_role("button", name="About this conversation").click()
    ada.page.get_by_role("menuitem", name="Copy a link to this room").click()
    ada.page.locator(".toast").wait_for()
    judge.look(ada, "a notice")
    line.cut()
    ada.state("Reconnecting")
    ada.say("waits")
    judge.look(ada, "no connection")
    ada.page.set_viewport_size({"width": 360, "height": 700})
    judge.look(ada, "a narrow screen")
    ada.page.get_by_role("button", name="Conversations").click()
    judge.look(ada, "drawer of conversations")
    ada.page.keyboard.press("Escape")
    ada.page.get_by_role("button", name="Conversations").click()
    ada.page.locator("#rooms .room").first.click()
    ada.page.get_by_role("button", name="People", exact=True).click()
    judge.look(ada, "drawer of people")
    assert not judge.wrong, "\n".join(judge.wrong)
    assert len(judge.states) == STATES, judge.states


def test_axe_finds_nothing_under_a_finger(server: Chatmaster, visit: Any, judge: Judge) -> None:
    """The sheets of a phone: of a message, of emoji, of a person."""
    bob = visit(server, "Bob").come()
    bob.say("**touch** me\n- one\n> two\n```python\nprint(3)\n```")
    how = {"has_touch": True, "is_mobile": True, "reduced_motion": "reduce"}
    ada = visit(server, "Ada", width=360, height=740, **how).come()
    ada.sees("touch")
    ada.message("touch").focus()
    ada.page.keyboard.press("Enter")
    ada.page.locator("dialog.sheet").wait_for()
    judge.look(ada, "sheet of a message")
    escape(ada, ".sheet")
    ada.page.get_by_role("button", name="Insert an emoji").tap()
    ada.page.locator(".emoji-group button").first.wait_for()
    judge.look(ada, "sheet of emoji")
    escape(ada, ".sheet")
    ada.message("touch").locator(".name").tap()
    ada.page.locator(".card").wait_for()
    judge.look(ada, "sheet of a person")
    assert not judge.wrong, "\n".join(judge.wrong)


def test_axe_finds_nothing_at_400_percent(server: Chatmaster, visit: Any, judge: Judge) -> None:
    """A window of 1280 by 1024 zoomed so far: what is longer than it is reached by keys. Names have two words."""
    bob = visit(server, "Bob Marley").come()
    bob.say("hello")
    ada = visit(server, "Ada Lovelace", width=320, height=256, people=False, reduced_motion="reduce").come()
    ada.sees("hello")
    judge.look(ada, "messages")
    box = ada.page.locator("#text")
    box.press_sequentially(":heart")
    ada.page.get_by_role("option").first.wait_for()
    judge.look(ada, "emoji offered")
    ada.page.keyboard.press("ArrowUp")
    ada.expect(ada.page.get_by_role("option").last).to_be_in_viewport(ratio=0.9)
    ada.page.keyboard.press("Escape")
    box.fill("")
    ada.page.goto(f"{server.http}/#@nobody")
    ada.page.locator("#timeline .start").wait_for()
    judge.look(ada, "direct messages to nobody")
    ada.page.keyboard.press("Control+/")
    ada.page.get_by_role("dialog", name="Keyboard shortcuts").wait_for()
    judge.look(ada, "list of keys")
    assert not judge.wrong, "\n".join(judge.wrong)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_about_the_login(chatmaster: Any, visit: Any, judge: Judge, scheme: str) -> None:
    """The button of a guest, the question about a login that nobody began, the sign-out, a login that is required."""
    secret = "a secret for tests, and long enough"
    settings = {"auth.secret": secret, "auth.login_url": "/login"}
    server = chatmaster(workers=1, settings=settings)
    how = {"color_scheme": scheme, "reduced_motion": "reduce"}
    guest = visit(server, **how).come()
    guest.page.get_by_role("button", name="Sign in").wait_for()
    judge.look(guest, "a guest")
    token = tokens.sign("mia", secret=secret, name="Mia")
    guest.page.evaluate("(hash) => { location.hash = hash }", f"token={token}")
    judge.look(guest, "question about a login")
    guest.page.get_by_role("dialog").get_by_role("button", name="Sign in").click()
    guest.expect(guest.page.locator("#my-name-text")).to_have_text("Mia")
    guest.page.get_by_role("button", name="Settings").click()
    guest.page.get_by_role("menuitem", name="Sign out").click()
    judge.look(guest, "question about the sign-out")
    closed = chatmaster(workers=1, settings={"auth.secret": secret, "auth.mode": "token"})
    nobody = visit(closed, width=360, **how)
    nobody.page.goto(closed.http)
    nobody.page.get_by_role("dialog").wait_for()
    judge.look(nobody, "a login is required")
    assert not judge.wrong, "\n".join(judge.wrong)
