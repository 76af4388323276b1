"""A moderator at the page, who comes with a token; and what those are told whom they act upon."""

from __future__ import annotations

import re

import jwt
import pytest

SECRET = "a secret for tests, and long enough"


@pytest.fixture
def server(chatmaster):
    return chatmaster(workers=2, settings={"auth.secret": SECRET})


def token(user: str, role: str = "user") -> str:
    return jwt.encode({"sub": user, "name": user.title(), "role": role}, SECRET, "HS256")


def come_as_moderator(visit, server):
    """The token goes from the address into the tab, and the address forgets it."""
    mia = visit(server)
    mia.page.goto(f"{server.http}/#token={token('mia', 'moderator')}&room=lobby")
    mia.expect(mia.page.locator("#my-role")).to_have_text("moderator")
    assert "token" not in mia.page.url
    return mia


def moderate(mia, name: str, what: str, where: str = "", reason: str = "", *, among: str = ".member") -> None:
    """Fill in the dialog about a person, who is in the list or the author of a message (".message .name")."""
    mia.page.locator(among, has_text=name).first.click()
    mia.page.get_by_role("menuitem", name="Moderate…").click()
    dialog = mia.page.get_by_role("dialog")
    dialog.get_by_label("What to do").select_option(what)
    if where:
        dialog.get_by_label("Where").select_option(label=where)
    dialog.get_by_label("Reason").fill(reason)
    dialog.get_by_role("button", name=what.capitalize(), exact=True).click()
    mia.expect(dialog).to_be_hidden()


def test_who_is_a_moderator_is_shown(server, visit):
    """In the list of people, on the card, and at what they say."""
    mia = come_as_moderator(visit, server)
    ada = visit(server)
    ada.page.goto(f"{server.http}/#token={token('ada')}&room=lobby")
    member = ada.page.locator(".member", has_text="Mia")
    ada.expect(member.locator(".hint")).to_have_text("moderator, online")
    member.click()
    ada.expect(ada.page.locator(".card")).to_contain_text("Moderator · online")
    ada.page.keyboard.press("Escape")
    mia.say("mind your words")
    ada.expect(ada.message("mind your words").locator(".head .hint")).to_have_text("moderator")
    mia.page.close()


def test_mute_and_unmute(server, visit):
    """Who is muted is told at once, until when and why, keeps what they wrote, and may try again."""
    mia, bob = come_as_moderator(visit, server), visit(server, "Bob").come()
    moderate(mia, "Bob", "mute", reason="too loud")
    toasts = bob.page.locator(".toast")
    bob.expect(toasts.filter(has_text="You are muted")).to_have_text(re.compile("in #lobby until .*: too loud$"))
    box = bob.page.locator("#text")
    bob.expect(box).to_have_attribute("placeholder", re.compile("You are muted in #lobby until .*: too loud"))
    bob.say("may I?")
    foot = bob.message("may I?").locator(".foot")
    bob.expect(foot).to_contain_text("You are muted for 10 min more: too loud")
    moderate(mia, "Bob", "unmute")
    bob.expect(toasts.filter(has_text="You may write in #lobby again")).to_be_visible()
    bob.expect(box).to_have_attribute("placeholder", "Write to #lobby")
    bob.page.get_by_role("button", name="Try again").click()
    mia.sees("may I?")


def test_delete_a_strangers_message(server, visit):
    """A moderator may, others are not even offered it."""
    mia, bob, eve = come_as_moderator(visit, server), visit(server, "Bob").come(), visit(server, "Eve").come()
    bob.say("spam")
    eve.sees("spam")
    eve.act("spam", "More actions")
    eve.page.get_by_role("menuitem", name="Copy text").wait_for()
    assert eve.page.get_by_role("menuitem", name="Delete").count() == 0
    mia.act("spam", "More actions")
    mia.page.get_by_role("menuitem", name="Delete as moderator").click()
    mia.page.get_by_role("button", name="Delete", exact=True).click()
    eve.sees("Message deleted")


def test_ban_everywhere(server, visit):
    """The page says so and why, and does not come back by itself."""
    mia, bob = come_as_moderator(visit, server), visit(server, "Bob").come()
    moderate(mia, "Bob", "ban", "Everywhere", "for a reason")
    bob.state("You are banned until")
    bob.state(": for a reason")
    bob.expect(bob.page.get_by_role("button", name="Try again")).to_be_visible()
    mia.expect(mia.page.locator(".member", has_text="Bob")).to_have_count(0)


def test_kick_out_of_a_room(server, visit):
    """Who is put out is told why and can write no more, but may come back."""
    mia, bob = come_as_moderator(visit, server), visit(server, "Bob").come()
    moderate(mia, "Bob", "kick", reason="cool down")
    bob.expect(bob.page.locator(".toast")).to_contain_text("You were taken out of #lobby")
    bob.expect(bob.page.locator("#text")).to_be_disabled()
    mia.expect(mia.page.locator(".member", has_text="Bob")).to_have_count(0)
    bob.page.locator("#rooms .room", has_text="lobby").click()
    bob.expect(bob.page.locator("#text")).to_be_enabled()
    bob.say("I am calm")
    mia.sees("I am calm")


def test_unban(server, visit):
    """A ban holds until it is taken back, which the author's name at an old message is enough for."""
    mia, bob = come_as_moderator(visit, server), visit(server, "Bob").come()
    bob.say("something")
    mia.sees("something")
    moderate(mia, "Bob", "ban", "Everywhere", "enough")
    bob.state("You are banned until")
    bob.state(": enough")
    bob.page.get_by_role("button", name="Try again").click()
    bob.expect(bob.page.locator("#state-text")).to_have_text(re.compile("You are banned until .*: enough"))
    moderate(mia, "Bob", "unban", "Everywhere", among=".message .name")
    bob.page.get_by_role("button", name="Try again").click()
    bob.state("Connected")
    bob.say("thank you")
    mia.sees("thank you")


def test_a_ban_from_a_room_and_the_list_of_bans(server, visit):
    """Who is banned from a room reads why and until when; the list says for whom it holds, and lifts it."""
    mia, bob = come_as_moderator(visit, server), visit(server, "Bob").come()
    mia.page.locator(".member", has_text="Bob").first.click()
    mia.page.get_by_role("menuitem", name="Moderate…").click()
    mia.expect(mia.page.get_by_role("dialog")).to_contain_text("holds for every guest of the same address")
    mia.page.get_by_role("button", name="Cancel").click()
    moderate(mia, "Bob", "ban", reason="spam")
    toast = bob.page.locator(".toast", has_text="You are banned")
    bob.expect(toast).to_have_text(re.compile("from #lobby until .*: spam"))
    mia.page.locator("#room-menu").click()
    mia.page.get_by_role("menuitem", name="Bans and mutes…").click()
    dialog = mia.page.get_by_role("dialog", name="Bans and mutes")
    row = dialog.locator("li", has_text="Bob")
    mia.expect(row).to_contain_text(re.compile("Ban · In #lobby · until .* · by Mia · spam · for every guest"))
    row.get_by_role("button", name="Lift").click()
    mia.expect(dialog).to_contain_text("Nobody is banned or muted")
    bob.page.locator("#rooms .room", has_text="lobby").click()
    bob.expect(bob.page.locator("#text")).to_be_enabled()


def test_a_wrong_token_says_where_to_sign_in(server, visit):
    """Nobody is asked for a token."""
    ada = visit(server)
    ada.page.goto(f"{server.http}/#token=wrong&room=lobby")
    dialog = ada.page.get_by_role("dialog")
    ada.expect(dialog).to_contain_text("You have to sign in")
    ada.expect(dialog.get_by_role("textbox")).to_have_count(0)
