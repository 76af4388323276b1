"""Unread mentions on the page: over a reload and an absence, the badge of the room, and the way to them."""

from __future__ import annotations


def test_a_mention_waits_for_who_is_away(server, visit):
    """Bob closes the page; he is mentioned far above what fits; back again a press leads there, and reading ends it."""
    ada, bob = visit(server, "Ada").come(), visit(server, "Bob").come()
    ada.expect(ada.page.locator("#subtitle")).to_have_text("2 people here")
    ada.say("hello all")
    bob.sees("hello all")
    bob.expect(bob.page.locator("#rooms .badge")).to_have_count(0)
    context = bob.page.context
    bob.page.close()
    ada.say("where is the key, @Bob?")
    ada.kept("where is the key")
    ada.expect(ada.message("where is the key").locator(".mention")).to_have_text("@Bob")
    for number in range(30):
        ada.say(f"{number} and so on and on")
    ada.kept("29 and so on")
    bob.page = context.new_page()
    bob.come("elsewhere")
    badge = bob.page.locator("#rooms [data-conversation=lobby] .badge")
    bob.expect(badge).to_contain_text("@")
    bob.page.reload()  # told again, since nothing was read
    bob.expect(badge).to_contain_text("@")
    bob.page.locator("#rooms [data-conversation=lobby]").click()
    jump = bob.page.get_by_role("button", name="1 mention")
    jump.click()
    bob.expect(bob.message("where is the key")).to_be_in_viewport()
    bob.expect(jump).to_be_hidden()
    bob.page.locator("#jump").click()
    bob.expect(badge).to_have_count(0)
    bob.page.reload()
    bob.expect(bob.page.locator("#rooms [data-conversation=lobby]")).to_be_visible()
    bob.expect(badge).to_have_count(0)
