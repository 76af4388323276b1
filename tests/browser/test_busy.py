"""The page in a room that talks: what is pressed, selected, sought and looked at outlasts the messages that come."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.browser.test_timeline import say_many, scroll_to_the_beginning
from tests.support import wait

TALK = """async ([room, rate]) => {
    const { connect } = await import("./chat.js");
    const chat = connect(location.origin.replace("http", "ws") + "/", { rooms: [room], name: "Talker" });
    await new Promise((resolve) => chat.on("welcome", resolve));
    let number = 0;
    window.talking = setInterval(() => chat.say(room, `talk ${++number}`).catch(() => {}), 1000 / rate);
}"""
TO_END = "node => node.scrollHeight - node.scrollTop - node.clientHeight"
PRESSED_FOR = 0.1  # seconds, as a hand does
AIMS = 10

pytestmark = pytest.mark.timeout(150)


@pytest.fixture
def server(chatmaster):
    return chatmaster(workers=2, settings={"limits.rate": 0})


@pytest.fixture
def talk(server, visit):
    """Let somebody talk in a room, so many messages a second, until the end of the test."""

    def start(rate: int, room: str = "lobby") -> None:
        visit(server).come("elsewhere").page.evaluate(TALK, [room, rate])

    return start


def hears(person: Any) -> None:
    """Messages come."""
    person.expect(person.page.locator(".message .text", has_text="talk").first).to_be_attached()


def press(person: Any, what: Any) -> None:
    """Down and up at the same point, with messages between; what moved away before that is aimed at anew."""
    for _ in range(AIMS):
        box = what.bounding_box()
        at = [box["x"] + box["width"] / 2, box["y"] + box["height"] / 2]
        person.page.mouse.move(*at)
        person.page.mouse.down()
        if what.evaluate("(node, at) => node.contains(document.elementFromPoint(...at))", at):
            break
        person.page.mouse.up()
    time.sleep(PRESSED_FOR)
    person.page.mouse.up()


def more_comes_below(person):
    """Wait until messages have come below what is in view."""
    told = person.page.locator("#jump-text").inner_text()
    wait.until(lambda: person.page.locator("#jump-text").inner_text() != told, 20, "more messages below")


def test_ten_of_ten_presses_on_rooms(server, visit, talk):
    """Badges count, names change weight, and the press still arrives."""
    ada = visit(server, "Ada").come("garden")
    ada.page.goto(f"{ada.url}/#lobby")
    talk(30)
    hears(ada)
    for _ in range(5):
        for room in ("garden", "lobby"):
            press(ada, ada.page.locator("#rooms .room", has_text=room))
            ada.expect(ada.page.locator("#title-text")).to_have_text(room, timeout=2000)


def test_ten_of_ten_presses_on_people(server, visit, talk):
    """The menu about a person opens each time, and its own entry arrives."""
    ada = visit(server, "Ada").come()
    talk(30)
    hears(ada)
    for _ in range(10):
        press(ada, ada.page.locator(".member", has_text="Talker"))
        ada.expect(ada.page.get_by_role("menu")).to_be_visible(timeout=2000)
        ada.page.keyboard.press("Escape")
        ada.expect(ada.page.get_by_role("menu")).to_have_count(0)
    press(ada, ada.page.locator(".member", has_text="Talker"))
    press(ada, ada.page.get_by_role("menuitem", name="Mention"))
    ada.expect(ada.page.locator("#text")).to_have_value("@Talker ")


def test_ten_of_ten_presses_on_a_reaction(server, visit, talk):
    """Its message is read further up, while others come below."""
    ada = visit(server, "Ada").come()
    ada.say("react to this")
    ada.kept("react to this")
    ada.act("react to this", "React with 👍")
    say_many(ada, 40)
    ada.sees("message 40.")
    scroll_to_the_beginning(ada)
    talk(30)
    wait.until(lambda: ada.page.locator("#jump.unread").count() > 0, 20, "messages below")
    chip = ada.message("react to this").locator(".reaction")
    for round_ in range(10):
        press(ada, chip) if round_ % 2 == 0 else press(ada, ada.page.get_by_role("button", name="React with 👍"))
        if round_ % 2 == 0:
            ada.expect(chip).to_have_count(0, timeout=3000)
            ada.message("react to this").hover()
        else:
            ada.expect(chip).to_have_attribute("aria-pressed", "true", timeout=3000)


def test_presses_at_the_end_of_a_room_that_talks(server, visit, talk):
    """What is pressed stays under the hand until it is lifted, though new messages push it up."""
    ada = visit(server, "Ada").come()
    talk(10)
    hears(ada)
    wait.until(lambda: ada.page.locator(".message").count() > 30, 20, "a full view")
    for _ in range(5):
        position = ada.page.evaluate(
            """() => {
                const scroll = document.getElementById("scroll").getBoundingClientRect();
                return [scroll.left + scroll.width / 3, scroll.top + scroll.height / 2];
            }"""
        )
        ada.page.mouse.move(*position)
        ada.page.mouse.down()
        under = "(at) => document.elementFromPoint(...at).closest('.message')?.dataset.row"
        before = ada.page.evaluate(under, position)
        time.sleep(PRESSED_FOR * 4)
        assert ada.page.evaluate(under, position) == before
        ada.page.mouse.up()
        wait.until(lambda: ada.page.locator("#scroll").evaluate(TO_END) < 2, 5, "the end again")


def test_a_selection_outlasts_what_changes_its_message(server, visit):
    """A reaction, a read mark and new messages leave the selected text alone."""
    ada, bob = visit(server, "Ada").come(), visit(server, "Bob").come()
    ada.say("select these words")
    bob.sees("select these words")
    bob.page.evaluate(
        """() => {
            const text = document.querySelector(".message .text").firstChild;
            getSelection().setBaseAndExtent(text, 7, text, 12);
        }"""
    )
    ada.act("select these words", "React with 👍")
    bob.expect(bob.message("select these words").locator(".reaction")).to_be_visible()
    ada.say("more")
    bob.sees("more")
    assert bob.page.evaluate("() => getSelection().toString()") == "these"


@pytest.mark.parametrize("rate", [2, 30])
def test_latest_arrives(server, visit, talk, rate):
    """0 px from the end, and it stays there."""
    ada = visit(server, "Ada").come()
    say_many(ada, 160)
    ada.sees("message 160.")
    talk(rate)
    hears(ada)
    scroller = ada.page.locator("#scroll")
    for _ in range(2):
        scroller.evaluate("node => { node.scrollTop -= 3000 }")
        ada.page.locator("#jump").wait_for()
        press(ada, ada.page.locator("#jump"))
        for _ in range(20):
            assert scroller.evaluate(f"node => new Promise(r => requestAnimationFrame(() => r(({TO_END})(node))))") < 1
            time.sleep(0.05)
        ada.expect(ada.page.locator("#jump")).to_be_hidden()


def test_the_document_holds_about_two_hundred_messages(server, visit, talk):
    """At the end and far up; what was looked at does not move by a pixel while others come and go."""
    ada = visit(server, "Ada").come()
    say_many(ada, 450)
    ada.sees("message 450.")
    scroller = ada.page.locator("#scroll")
    scroll_to_the_beginning(ada)
    assert ada.page.locator(".message").count() <= 200
    scroller.evaluate("node => { node.scrollTop = node.scrollHeight }")
    ada.page.wait_for_function("() => !document.querySelector('.start')")
    talk(30)
    ada.page.wait_for_function("() => !document.querySelector('.loading')")
    row = ada.page.locator(".message").nth(90).get_attribute("data-row")
    top = f"() => document.querySelector('[data-row=\"{row}\"]').getBoundingClientRect().top"
    before = ada.page.evaluate(top)
    wait.until(lambda: "new" in ada.page.locator("#jump-text").inner_text(), 20, "messages below")
    more_comes_below(ada)
    assert ada.page.evaluate(top) == before
    assert ada.page.locator(".message").count() <= 200
    numbers = set()
    for _ in range(200):
        numbers.update(ada.texts())
        if "message 450." in numbers:
            break
        scroller.evaluate("node => { node.scrollTop += 2000 }")
        time.sleep(0.05)
    assert {f"message {number}." for number in range(200, 451)} <= numbers


def test_a_quote_and_a_link_lead_to_what_is_not_loaded(server, visit, talk):
    """It is loaded, shown in the middle, and stays there while others talk; what is gone is said to be gone."""
    ada = visit(server, "Ada").come()
    ada.say("the beginning of it all")
    ada.kept("the beginning of it all")
    offset = ada.message("the beginning").get_attribute("data-offset")
    say_many(visit(server).come("elsewhere"), 400)
    ada.sees("message 400.")
    ada.page.evaluate(
        """async (offset) => {
        const { connect } = await import("./chat.js");
        const chat = connect(location.origin.replace("http", "ws") + "/", { rooms: ["lobby"], name: "Replier" });
        await chat.say("lobby", "an answer", { replyTo: Number(offset) });
        chat.close();
    }""",
        offset,
    )
    bob, eve = visit(server, "Bob"), visit(server, "Eve")
    bob.page.goto(f"{bob.url}/#lobby")
    bob.sees("an answer")
    talk(2)
    press(bob, bob.message("an answer").locator(".quote"))
    eve.page.goto(f"{eve.url}/#lobby/{offset}")
    for person in (bob, eve):
        target = person.page.locator(f".message[data-offset='{offset}']")
        person.expect(target).to_be_in_viewport(timeout=20_000)
        more_comes_below(person)
        person.expect(target).to_be_in_viewport()
        person.expect(target).to_be_focused()
    eve.page.evaluate("() => { location.hash = '#lobby/999999' }")
    eve.expect(eve.page.locator(".toast")).to_contain_text("not kept any more")


def test_the_bar_of_actions_is_in_reach_of_a_tall_message(server, visit):
    """Its top is above the view: the bar is inside the view all the same."""
    ada = visit(server, "Ada").come()
    ada.page.locator("#text").fill("\n".join(f"line {number}" for number in range(80)))
    ada.page.keyboard.press("Enter")
    ada.kept("line 0")
    ada.page.get_by_role("button", name="Show the whole message").click()
    ada.kept("line 79")
    ada.page.locator("#jump").click()
    ada.page.wait_for_timeout(100)  # no hand is faster
    box = ada.page.locator("#scroll").bounding_box()
    ada.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    bar = ada.page.get_by_role("toolbar")
    ada.expect(bar).to_be_in_viewport(ratio=1)
    press(ada, bar.get_by_role("button", name="React with 👍"))
    ada.expect(ada.message("line 79").locator(".reaction")).to_be_attached()
