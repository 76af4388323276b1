"""How a token comes to the page: only behind the #, once, and not against the will of who is signed in."""

from __future__ import annotations

import jwt
import pytest

SECRET = "a secret for tests, and long enough"


@pytest.fixture
def server(chatmaster):
    return chatmaster(workers=1, settings={"auth.secret": SECRET})


def token(user: str) -> str:
    return jwt.encode({"sub": user, "name": user.title()}, SECRET, "HS256")


def test_a_token_in_the_query_is_not_read(server, visit):
    """It would be in the logs of servers and proxies."""
    eve = visit(server, "Eve")
    eve.page.goto(f"{server.http}/?token={token('mia')}#lobby")
    eve.expect(eve.page.locator("#my-name-text")).to_have_text("Eve")


def test_a_token_is_taken_once(server, visit):
    """The address and the history forget it; a reload is still the same user."""
    mia = visit(server)
    mia.page.goto(f"{server.http}/#token={token('mia')}&room=garden")
    mia.expect(mia.page.locator("#my-name-text")).to_have_text("Mia")
    mia.expect(mia.page.locator("#title-text")).to_have_text("garden")
    assert mia.page.url == f"{server.http}/#garden"
    mia.page.reload()
    mia.expect(mia.page.locator("#my-name-text")).to_have_text("Mia")
    loaded = mia.page.evaluate("() => performance.getEntries().map(({ name }) => name)")
    assert not [name for name in loaded if "token=" in name and "#" not in name]


def test_a_link_makes_nobody_somebody_else_unasked(server, visit):
    """Who is signed in is asked, while the link is opened anew and while the page is open; a renewed token is taken."""
    mia = visit(server)
    name, dialog = mia.page.locator("#my-name-text"), mia.page.get_by_role("dialog")
    mia.page.goto(f"{server.http}/#token={token('mia')}")
    mia.expect(name).to_have_text("Mia")
    mia.page.goto(f"{server.http}/#token={token('mallory')}&room=lobby")
    mia.expect(dialog).to_contain_text("Sign in as somebody else?")
    assert "token" not in mia.page.url
    mia.page.get_by_role("button", name="Cancel").click()
    mia.page.reload()
    mia.expect(name).to_have_text("Mia")
    mia.page.evaluate("(hash) => { location.hash = hash }", f"token={token('nora')}")
    mia.page.get_by_role("button", name="Sign in", exact=True).click()
    mia.expect(name).to_have_text("Nora")
