"""Direct messages have what rooms have: answers, who is writing, how far the other has read."""

from __future__ import annotations

from typing import Any


def meet(one: Any, other: str) -> None:
    """Open the direct messages with somebody in the room."""
    one.page.locator(".member", has_text=other).click()
    one.page.get_by_role("menuitem", name="Write directly").click()
    one.expect(one.page.locator("#title-text")).to_have_text(other)


def test_answers_typing_and_reading(server, visit):
    """Both sides see the quoted message, whose places in the two inboxes differ; a press on the quote finds it."""
    ada, bob = visit(server, "Ada").come(), visit(server, "Bob").come()
    ada.page.locator(".member", has_text="Ada").click()
    ada.page.get_by_role("menuitem", name="Write a note to yourself").click()
    ada.say("so that the places differ")
    ada.kept("so that the places differ")
    ada.page.go_back()
    meet(ada, "Bob")
    meet(bob, "Ada")
    ada.say("will you come?")
    bob.sees("will you come?")
    ada.expect(ada.message("will you come?").locator(".readers")).to_have_attribute("title", "Read by Bob")
    bob.page.locator("#text").press_sequentially("wh")
    ada.expect(ada.page.locator("#typing")).to_have_text("Bob is writing…")
    bob.page.locator("#text").fill("")
    bob.act("will you come?", "Reply")
    bob.say("where to?")
    for person in (ada, bob):
        quote = person.message("where to?").locator(".quote")
        person.expect(quote).to_contain_text("will you come?")
    ada.act("where to?", "Reply")
    ada.say("the garden")
    bob.expect(bob.message("the garden").locator(".quote")).to_contain_text("where to?")
    bob.page.reload()
    bob.message("the garden").locator(".quote").click()
    bob.expect(bob.page.locator(".message[data-found] .text")).to_have_text("where to?")


def test_who_writes_to_nobody_is_told(server, visit):
    """It is kept, but whom it is kept for was never here; of somebody who was it is not said."""
    ada, bob = visit(server, "Ada").come(), visit(server, "Bob").come()
    ada.page.goto(f"{ada.url}/#@nobody-at-all")
    ada.say("is anybody there?")
    ada.kept("is anybody there?")
    subtitle = ada.page.locator("#subtitle")
    ada.expect(subtitle).to_contain_text("Nobody by this id has been seen here")
    ada.page.reload()
    ada.sees("is anybody there?")
    ada.expect(subtitle).to_contain_text("Nobody by this id has been seen here")
    ada.page.goto(f"{ada.url}/#lobby")
    meet(ada, "Bob")
    ada.expect(subtitle).to_have_text("online")
    bob.page.close()
    ada.expect(subtitle).to_have_text("away")
