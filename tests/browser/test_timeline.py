"""The list of messages: history by scrolling, days and times, and the lines that say what cannot be had any more."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import wait

SAY_MANY = """async ([room, count]) => {
    const { connect } = await import("/chat.js");
    const chat = connect(location.origin.replace("http", "ws") + "/", { rooms: [room], name: "Reader" });
    const say = (_, number) => chat.say(room, `message ${number + 1}.`);
    for (let done = 0; done < count; done += 50)
        await Promise.all(Array.from({ length: Math.min(50, count - done) }, (_, at) => say(_, done + at)));
    chat.close();
}"""
TO_TOP = "node => { node.scrollTop = 0 }"
KEPT = 600  # as many messages as the page keeps of a room


@pytest.fixture
def server(chatmaster):
    """One that lets a test say a lot."""
    return chatmaster(workers=2, settings={"limits.rate": 0})


def say_many(person: Any, count: int) -> None:
    """`message 1.` and so on, by somebody else."""
    person.page.evaluate(SAY_MANY, ["lobby", count])


def scroll_to_the_beginning(person: Any) -> None:
    scroller, start = person.page.locator("#scroll"), person.page.locator("#timeline .start")
    wait.until(lambda: scroller.evaluate(TO_TOP) or start.count(), 30, what="the room's beginning")


def test_history_comes_by_scrolling(server, visit):
    """Older messages load as one scrolls up, and what one looks at stays where it is."""
    say_many(visit(server, "Ada").come(), 160)
    bob = visit(server, "Bob")
    bob.page.goto(f"{bob.url}/#lobby")
    bob.sees("message 160.")
    scroller = bob.page.locator("#scroll")
    before = bob.page.locator(".message").count()
    assert before < 160
    looked_at = bob.page.locator(".message").first.inner_text()
    scroller.evaluate(TO_TOP)
    bob.expect(bob.page.locator(".message")).not_to_have_count(before)
    assert scroller.evaluate("node => node.scrollTop") > 300, f"{looked_at} was pushed away"
    scroll_to_the_beginning(bob)
    assert bob.texts() == [f"message {number}." for number in range(1, 161)]


def test_the_page_does_not_grow_without_end(server, visit):
    """At the end of a busy room the oldest messages go; whoever scrolls up gets them again."""
    count = KEPT + 90
    ada = visit(server, "Ada").come()
    say_many(ada, count)
    ada.sees(f"message {count}.")
    ada.expect(ada.page.locator(".message")).to_have_count(KEPT)
    scroll_to_the_beginning(ada)
    assert ada.texts() == [f"message {number}." for number in range(1, count + 1)]
    ada.page.locator("#jump").click()
    ada.say("and one more")
    ada.kept("and one more")
    ada.expect(ada.page.locator(".message")).to_have_count(KEPT)
