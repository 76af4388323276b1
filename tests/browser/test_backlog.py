"""Opening with a backlog: the page begins at the first unread message, however far up in the log that is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.conftest import Person
from tests.browser.test_timeline import say_many

PLACES = """() => {
    const top = document.getElementById("scroll").getBoundingClientRect().top;
    const shown = [...document.querySelectorAll("#timeline > li")].filter((row) =>
        row.matches(".message, .line.new") && row.getBoundingClientRect().bottom > top + 1);
    return shown.slice(0, 5).map((row) => row.querySelector(".text")?.innerText ?? row.innerText);
}"""


@pytest.fixture
def server(chatmaster: Callable[..., Any]) -> Any:
    """One that lets a test say a lot."""
    return chatmaster(workers=2, settings={"limits.rate": 0, "store.history_size": 2000})


def come_back(person: Person, speaker: Person, count: int) -> Person:
    """Close the tab after two messages were read, let another person say so many, and open the page in a new tab."""
    context = person.page.context
    for text in ("read 1.", "read 2."):
        speaker.say(text)
        person.sees(text)
    speaker.expect(speaker.message("read 2.").locator(".readers")).to_be_attached()
    person.page.close()
    say_many(speaker, count)
    again = Person(context.new_page(), person.url)
    again.page.goto(f"{person.url}/#lobby")
    again.expect(again.page.locator(".line.new")).to_be_in_viewport()
    return again


@pytest.mark.parametrize("count", [60, 130, 350])
def test_the_view_begins_at_the_first_unread_message(server, visit, count):
    """Two that were read, the line, and what is new; nothing of it moves when older ones are loaded or one reads on."""
    ada, bob = visit(server, "Ada").come(), visit(server, "Bob").come()
    again = come_back(bob, ada, count)
    again.expect(again.page.locator(".loading")).to_have_count(0)
    expected = ["read 1.", "read 2.", "New messages", "message 1.", "message 2."]
    assert again.page.evaluate(PLACES) == expected
    again.expect(again.page.locator("#jump-text")).to_have_text(f"{count} new")
    ada.say("and one more")
    again.expect(again.page.locator("#jump-text")).to_have_text(f"{count + 1} new")
    assert again.page.evaluate(PLACES) == expected


@pytest.mark.timeout(90)
def test_a_button_leads_to_the_first_unread_message(server, visit):
    """Of more than 500 not all are loaded at once: the line is above the first of them, and has a way further up."""
    ada, bob = visit(server, "Ada").come(), visit(server, "Bob").come()
    again = come_back(bob, ada, 540)
    assert "message 1." not in again.texts()
    again.page.get_by_role("button", name="More unread above").click()
    again.sees("message 1.")
    again.expect(again.message("message 1.")).to_be_in_viewport()
    assert again.page.evaluate(PLACES) == ["read 1.", "read 2.", "New messages", "message 1.", "message 2."]
