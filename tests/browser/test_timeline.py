"""The list of messages: history by scrolling, days and times, and the lines that say what cannot be had any more."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.browser.conftest import Line
from tests.support import wait

SAY_MANY = """async ([room, count]) => {
    const { connect } = await import("./chat.js");
    const chat = connect(location.origin.replace("http", "ws") + "/", { rooms: [room], name: "Reader" });
    const say = (_, number) => chat.say(room, `message ${number + 1}.`);
    for (let done = 0; done < count; done += 50)
        await Promise.all(Array.from({ length: Math.min(50, count - done) }, (_, at) => say(_, done + at)));
    chat.close();
}"""
TO_TOP = "node => { node.scrollTop = 0 }"
SHOWN = 200  # as many messages as the page has in the document


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


@pytest.mark.timeout(150)
def test_the_page_does_not_grow_without_end(server, visit):
    """At the end of a busy room the oldest messages go; whoever scrolls up gets them again, each once and in order."""
    count = 620
    ada, elsewhere = visit(server, "Ada").come(), visit(server).come("garden")
    say_many(elsewhere, count)
    ada.sees(f"message {count}.")
    ada.expect(ada.page.locator(".message")).to_have_count(SHOWN)
    scroll_to_the_beginning(ada)
    assert ada.texts() == [f"message {number}." for number in range(1, SHOWN + 1)]
    ada.page.locator("#jump").click()
    ada.say("and one more")
    ada.kept("and one more")
    ada.expect(ada.page.locator(".message")).to_have_count(SHOWN)
    assert ada.texts() == [*(f"message {number}." for number in range(count - SHOWN + 2, count + 1)), "and one more"]


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_days_and_times_are_those_of_the_readers_own_zone(server, visit, zone):
    """At these two ends of the world it is never the same day."""
    ada = visit(server, "Ada").come()
    ada.say("hello")
    ada.kept("hello")
    reader = visit(server, timezone_id=zone)
    reader.page.clock.set_fixed_time(datetime.now(UTC) + timedelta(days=5))
    reader.come()
    time = reader.message("hello").locator(".head time")
    local = datetime.fromisoformat(time.get_attribute("datetime")).astimezone(ZoneInfo(zone))
    reader.expect(time).to_have_text(f"{local:%H:%M}")
    reader.expect(reader.page.locator(".line.day")).to_contain_text(f"{local.day} {local:%B}")


def test_a_line_between_the_days(server, visit):
    """Messages of one author are not grouped over it; what was today is yesterday's for who comes tomorrow."""
    ada = visit(server, "Ada").come()
    ada.say("good night")
    ada.say("good morning")
    ada.kept("good morning")
    ada.expect(ada.page.locator(".line.day")).to_have_text(["Today"])
    bob = visit(server, "Bob", timezone_id="UTC")
    now = datetime.now(UTC)
    bob.page.clock.set_fixed_time(now + timedelta(days=1))
    Line(bob.page).changed = lambda told: _a_day_older(told, "good night")
    bob.come()
    bob.expect(bob.page.locator(".line.day")).to_contain_text([f"{(now - timedelta(days=1)):%B}", "Yesterday"])
    assert bob.page.locator(".message .name").all_inner_texts() == ["Ada", "Ada"]


def _a_day_older(told: dict[str, Any], text: str) -> dict[str, Any]:
    for message in told.get("messages", []):
        if message.get("text") == text:
            message["time"] -= 86_400_000
    return told


def test_what_was_missed_is_counted(server, visit):
    """After a lost connection it is there, once, and the state line says how much it was."""
    ada, bob = visit(server, "Ada"), visit(server, "Bob").come()
    line = Line(ada.page)
    ada.come()
    bob.say("before")
    ada.sees("before")
    line.cut()
    ada.state("Reconnecting")
    for text in ("one", "two", "three"):
        bob.say(text)
    bob.kept("three")
    line.mend()
    ada.state("Caught up: 3 messages")
    assert ada.texts() == ["before", "one", "two", "three"]
    assert ada.page.locator(".line.lost").count() == 0


def test_what_cannot_be_recovered_is_said(chatmaster, visit):
    """Where the room's history is shorter than the absence, a line says how many are gone, and so does the state."""
    server = chatmaster(workers=2, settings={"limits.rate": 0, "store.history_size": 20})
    ada, bob = visit(server, "Ada"), visit(server, "Bob").come()
    line = Line(ada.page)
    ada.come()
    bob.say("before")
    ada.sees("before")
    line.cut()
    ada.state("Reconnecting")
    say_many(bob, 60)
    assert server.ctl("reload").returncode == 0  # the new workers remember no more than the store does
    line.mend()
    ada.sees("message 60.")
    lost = ada.page.locator(".line.lost")
    ada.expect(lost).to_have_text(re.compile(r"^\d+ messages could not be recovered$"))
    ada.state(lost.inner_text())
    count = int(lost.inner_text().split()[0])
    assert ada.texts() == ["before", *(f"message {number}." for number in range(count + 1, 61))]


def test_a_log_that_was_lost_is_said(chatmaster, redis_server, visit):
    """The store comes back with nothing: what was shown stays above a line, and the room goes on below it."""
    store = redis_server(fsync="always")
    server = chatmaster(workers=2, settings={"store.url": store.url, "store.timeout": 1.0})
    ada, bob = visit(server, "Ada").come(), visit(server, "Bob").come()
    ada.say("soon forgotten")
    ada.kept("soon forgotten")  # an answer that is lost with the store would send it again
    bob.sees("soon forgotten")
    store.kill()
    store.wipe()
    store.start()
    for person in (ada, bob):
        person.expect(person.page.locator(".line.lost")).to_contain_text("The server lost what was said before")
    ada.say("a new beginning")
    bob.sees("a new beginning")
    assert bob.page.locator(".text, .line.lost").all_inner_texts() == [
        "soon forgotten",
        "The server lost what was said before. It begins again here.",
        "a new beginning",
    ]
    bob.message("soon forgotten").hover()
    assert bob.page.get_by_role("toolbar").count() == 0, "it can be changed, though it is gone"
