"""People chat at the page: what one does, the others see."""

from __future__ import annotations

import re


def test_two_people_chat(server, visit):
    """What one writes comes to both, in order, grouped under the author's name."""
    ada, bob = visit(server, "Ada").come(), visit(server, "Bob").come()
    ada.say("Good morning")
    ada.say("Is anybody here?")
    bob.sees("Is anybody here?")
    bob.say("I am")
    ada.sees("I am")
    assert ada.texts() == bob.texts() == ["Good morning", "Is anybody here?", "I am"]
    assert bob.page.locator(".message .name").all_inner_texts() == ["Ada", "Bob"]
    ada.expect(ada.page.locator("#members .member")).to_have_count(2)


def test_edit_delete_react_reply(server, visit):
    """Each changes the message for everybody, and still does after a reload."""
    ada, bob = visit(server, "Ada").come(), visit(server, "Bob").come()
    ada.say("first")
    ada.say("secnod")
    ada.say("third")
    ada.kept("third")
    ada.act("secnod", "Edit")
    ada.say("second")
    bob.sees("second")
    bob.act("first", "React with 👍")
    ada.expect(ada.message("first").locator(".reaction")).to_contain_text("1")
    ada.message("first").locator(".reaction").click()
    bob.expect(bob.message("first").locator(".reaction")).to_contain_text("2")
    bob.act("third", "Reply")
    bob.say("an answer")
    ada.expect(ada.message("an answer").locator(".quote")).to_contain_text("third")
    ada.message("third").hover()
    ada.page.get_by_role("button", name="More actions").click()
    ada.page.get_by_role("menuitem", name="Delete").click()
    ada.page.get_by_role("button", name="Delete", exact=True).click()
    bob.sees("Message deleted")
    bob.page.reload()
    bob.sees("Message deleted")
    assert bob.texts() == ["first", "second(edited)", "Message deleted", "an answer"]
    bob.expect(bob.message("first").locator(".reaction")).to_contain_text("2")


def test_mentions_unread_and_the_new_line(server, visit):
    """Elsewhere one sees how much is unread and that one is meant; coming back, where the new messages begin."""
    ada, bob = visit(server, "Ada").come(), visit(server, "Bob").come()
    ada.say("old")
    bob.sees("old")
    bob.page.goto(f"{bob.url}/#garden")
    bob.expect(bob.page.locator("#title-text")).to_have_text("garden")
    ada.page.locator("#text").press_sequentially("hello @bo")
    ada.page.get_by_role("option", name="Bob").wait_for()
    ada.page.keyboard.press("Tab")
    ada.page.keyboard.press("Enter")
    lobby = bob.page.locator("#rooms .room", has_text="lobby")
    bob.expect(lobby.locator(".badge.loud")).to_have_text("@ 1")
    bob.expect(bob.page).to_have_title(re.compile(r"^\(1\) #garden"))
    lobby.click()
    bob.expect(bob.message("hello").locator(".mention.mine")).to_have_text("@Bob")
    bob.expect(bob.page.locator(".line.new")).to_be_visible()
    bob.expect(lobby.locator(".badge")).to_have_count(0)


def test_typing_and_read_marks(server, visit):
    """Who writes is named while they do; who has read is shown at the message."""
    ada, bob = visit(server, "Ada").come(), visit(server, "Bob").come()
    bob.page.locator("#text").press_sequentially("Hm")
    ada.expect(ada.page.locator("#typing")).to_have_text("Bob is writing…")
    ada.say("read this")
    bob.sees("read this")
    ada.expect(ada.message("read this").locator(".readers")).to_have_attribute("title", "Read by Bob")


def test_direct_messages(server, visit):
    """They reach the other alone, wait for them, and are there after a reload."""
    ada, bob, eve = (visit(server, name).come() for name in ("Ada", "Bob", "Eve"))
    ada.page.locator(".member", has_text="Bob").click()
    ada.page.get_by_role("menuitem", name="Write directly").click()
    ada.say("between us")
    ada.kept("between us")
    entry = bob.page.locator("#directs .room", has_text="Ada")
    bob.expect(entry.locator(".badge")).to_have_text("1")
    bob.page.reload()
    bob.expect(entry.locator(".badge")).to_have_text("1")
    entry.click()
    bob.sees("between us")
    bob.say("understood")
    ada.sees("understood")
    bob.page.reload()
    bob.sees("understood")
    bob.expect(entry.locator(".badge")).to_have_count(0)
    assert eve.page.locator("#directs .room").count() == 0


def test_direct_messages_can_be_edited_deleted_and_reacted_to(server, visit):
    """On both sides, and still after a reload; one deletes only what one has written."""
    ada, bob = visit(server, "Ada").come(), visit(server, "Bob").come()
    for one, other in ((ada, "Bob"), (bob, "Ada")):
        one.page.locator(".member", has_text=other).click()
        one.page.get_by_role("menuitem", name="Write directly").click()
    ada.say("tpyo")
    ada.say("regretted")
    bob.sees("regretted")
    ada.kept("regretted")
    bob.act("tpyo", "React with 👍")
    ada.expect(ada.message("tpyo").locator(".reaction")).to_contain_text("1")
    ada.act("regretted", "More actions")
    ada.page.get_by_role("menuitem", name="Delete").click()
    ada.page.get_by_role("button", name="Delete", exact=True).click()
    bob.sees("Message deleted")
    ada.page.locator("#text").press("ArrowUp")
    ada.expect(ada.page.locator("#text")).to_have_value("tpyo")
    ada.say("typo")
    bob.sees("typo")
    bob.act("typo", "More actions")
    bob.expect(bob.page.get_by_role("menuitem")).to_have_text(["Reply", "Quote", "Copy text", "About Ada"])
    bob.page.reload()
    bob.sees("Message deleted")
    assert bob.texts() == ["typo(edited)", "Message deleted"]
    bob.expect(bob.message("typo").locator(".reaction")).to_contain_text("1")


def test_drafts_and_the_guest_survive_a_reload(server, visit):
    """What was not sent yet is still there, and one is still the same guest."""
    ada = visit(server, "Ada").come()
    ada.say("mine")
    ada.kept("mine")
    ada.page.locator("#text").fill("half a thought")
    ada.page.reload()
    ada.sees("mine")
    ada.expect(ada.page.locator("#text")).to_have_value("half a thought")
    ada.expect(ada.page.locator(".message.mine")).to_have_count(1)


def test_rename_and_join_a_room(server, visit):
    """The dialogs: a name that is taken over by the others' lists, a room that appears in one's own."""
    ada, bob = visit(server).come(), visit(server, "Bob").come()
    ada.page.locator("#my-name").click()
    ada.page.get_by_role("textbox", name="Your name").fill("Ada Lovelace")
    ada.page.get_by_role("button", name="Save").click()
    bob.expect(bob.page.locator(".member", has_text="Ada Lovelace")).to_be_visible()
    ada.page.get_by_role("button", name="Join or create a room").click()
    ada.page.get_by_role("textbox", name="Name of the room").fill("no/good")
    ada.page.get_by_role("button", name="Join", exact=True).click()
    ada.expect(ada.page.get_by_role("dialog")).to_contain_text("letters and digits")
    ada.page.get_by_role("textbox", name="Name of the room").fill("garden")
    ada.page.get_by_role("button", name="Join", exact=True).click()
    ada.expect(ada.page.locator("#title-text")).to_have_text("garden")
    ada.page.reload()
    ada.expect(ada.page.locator("#rooms .room")).to_have_count(2)
    ada.expect(ada.page.locator("#my-name-text")).to_have_text("Ada Lovelace")


def test_rooms_in_any_script_by_link_and_by_name(server, visit):
    """A link in either spelling, and the dialog, lead to one room, which shows its name as it is kept."""
    ada, bob, cyd = (visit(server, name).come() for name in ("Ada", "Bob", "Cyd"))
    ada.page.goto(f"{ada.url}/#K%C3%BCche")  # ü as one character
    bob.page.goto(f"{bob.url}/#Ku%CC%88che")  # u and a mark
    for person in (ada, bob):
        person.expect(person.page.locator("#title-text")).to_have_text("K\u00fcche")
    ada.say("guten Tag")
    bob.sees("guten Tag")
    bob.say("こんにちは")
    ada.sees("こんにちは")
    cyd.page.goto(f"{cyd.url}/#会議室")
    cyd.expect(cyd.page.locator("#title-text")).to_have_text("会議室")
    cyd.say("始めます")
    ada.page.goto(f"{ada.url}/#%E4%BC%9A%E8%AD%B0%E5%AE%A4")
    ada.sees("始めます")
    cyd.page.reload()
    cyd.sees("始めます")
