"""How people sign in at their own site and come back, in all tabs, over the end of a token, and out again."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chatmaster import tokens
from tests.support import processes, wait
from tests.support.server import Chatmaster

SECRET = "a secret for tests, and long enough"
SITE = Path(__file__).with_name("login_site.py")


class Site:
    """The process of the site."""

    def __init__(self, port: int, chat: str, secret: str, seconds: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._process = subprocess.Popen([sys.executable, SITE, str(port), chat, secret, str(seconds)])
        wait.until(lambda: self.ask("count"), 20.0, "the site answers")

    def ask(self, path: str) -> str | None:
        """The text of an answer; None: there is none."""
        try:
            with urllib.request.urlopen(f"{self.url}/{path}", timeout=10) as answer:
                return str(answer.read().decode())
        except OSError:
            return None

    def close(self) -> None:
        self._process.kill()
        self._process.wait(10)


@pytest.fixture
def world(chatmaster: Callable[..., Chatmaster]) -> Iterator[Callable[..., tuple[Chatmaster, Site]]]:
    """A chat and the site that it belongs to; `endpoint`: with a `/token`, `seconds` that a token counts."""
    sites: list[Site] = []

    def make(
        mode: str = "token", *, endpoint: bool = False, seconds: int = 600, secret: str = SECRET
    ) -> tuple[Chatmaster, Site]:
        port = processes.free_port()
        url = f"http://127.0.0.1:{port}"
        server = chatmaster(
            workers=1,
            settings={
                "auth.secret": SECRET,
                "auth.mode": mode,
                "auth.leeway": 0,
                "auth.login_url": f"{url}/login",
                "auth.logout_url": f"{url}/logout",
                **({"auth.token_url": f"{url}/token"} if endpoint else {}),
            },
        )
        sites.append(Site(port, server.http, secret, seconds))
        return server, sites[-1]

    yield make
    for site in sites:
        site.close()


def without_401(person: Any) -> None:
    """The browser says on the console that `/token` gave none before the login."""
    person.complaints = [one for one in person.complaints if "401" not in one]


def log_in(person: Any, user: str = "mia") -> None:
    person.page.locator("input[name=user]").fill(user)
    person.page.get_by_role("button", name="Log in").click()


def is_called(person: Any, name: str) -> None:
    person.expect(person.page.locator("#my-name-text")).to_have_text(name)


def sign_out(person: Any) -> None:
    person.page.get_by_role("button", name="Settings").click()
    person.page.get_by_role("menuitem", name="Sign out").click()
    person.page.get_by_role("button", name="Sign out", exact=True).click()


def second_tab(person: Any) -> Any:
    page = person.page.context.new_page()
    page.goto(f"{person.url}/#garden")
    return page


@pytest.mark.parametrize("endpoint", [True, False], ids=["token_url", "fragment"])
def test_the_site_signs_in_and_sends_back(world, visit, endpoint):
    """To the room that the link was to; no token stays in the address or goes to a server in one, nobody types one."""
    server, site = world(endpoint=endpoint)
    mia = visit(server)
    asked: list[str] = []
    mia.page.on("request", lambda request: asked.append(request.url))
    mia.page.goto(f"{server.http}/#garden")
    log_in(mia)
    is_called(mia, "Mia")
    mia.expect(mia.page.locator("#title-text")).to_have_text("garden")
    assert mia.page.url == f"{server.http}/#garden"
    assert not [url for url in asked if "eyJ" in url.partition("#")[0]]
    mia.page.reload()
    is_called(mia, "Mia")
    assert (int(site.ask("count") or 0) > 0) is endpoint
    without_401(mia)


def test_one_login_and_one_sign_out_for_all_tabs(world, visit):
    """A tab of a guest becomes the user's when they sign in elsewhere, and both are nobody's after the sign-out."""
    server, _ = world("guest")
    mia = visit(server).come()
    mia.page.get_by_role("button", name="Change your name", exact=True).click()
    mia.page.get_by_role("textbox", name="Your name").fill("Somebody")
    mia.page.get_by_role("button", name="Save").click()
    is_called(mia, "Somebody")
    other = second_tab(mia)
    mia.expect(other.locator("#my-name-text")).to_have_text("Somebody")
    other.locator("#text").fill("half a sentence")
    mia.page.get_by_role("button", name="Sign in").click()
    log_in(mia)
    is_called(mia, "Mia")
    mia.expect(other.locator("#my-name-text")).to_have_text("Mia")
    mia.expect(other.locator("#text")).to_have_value("half a sentence")
    sign_out(mia)
    mia.expect(mia.page.get_by_role("button", name="Sign in")).to_be_visible()
    mia.expect(other.get_by_role("button", name="Sign in")).to_be_visible()
    assert mia.page.evaluate("() => Object.keys(localStorage).filter((key) => key.includes('token'))") == []
    mia.page.get_by_role("button", name="Sign in").click()
    mia.expect(mia.page.get_by_role("button", name="Log in")).to_be_visible()  # the site's session is over, too


def test_a_token_is_renewed_in_silence(world, visit):
    """The connection stays, and the page, over the end of the first tokens."""
    server, site = world(endpoint=True, seconds=7)
    mia = visit(server)
    mia.page.goto(server.http)
    log_in(mia)
    is_called(mia, "Mia")
    mia.page.evaluate("() => { window.states = []; window.same = true; }")
    wait.until(lambda: int(site.ask("count") or 0) >= 3, 30.0, "two renewals")
    mia.page.locator("#text").fill("still here")
    mia.page.keyboard.press("Enter")
    mia.kept("still here")
    assert mia.page.evaluate("() => window.same")
    without_401(mia)


def test_the_end_of_the_session_is_told(world, visit):
    """Nobody becomes a guest unasked; the way back in leads over the site to the same room."""
    server, site = world("guest", endpoint=True, seconds=7)
    mia = visit(server)
    mia.page.goto(f"{server.http}/#garden")
    mia.page.get_by_role("button", name="Sign in").click()
    log_in(mia)
    is_called(mia, "Mia")
    mia.say("kept to the end")
    mia.kept("kept to the end")
    site.ask("end")
    dialog = mia.page.get_by_role("dialog")
    mia.expect(dialog).to_contain_text("Your session is over.", timeout=30_000)
    mia.sees("kept to the end")
    dialog.get_by_role("button", name="Sign in").click()
    log_in(mia)
    is_called(mia, "Mia")
    mia.expect(mia.page.locator("#title-text")).to_have_text("garden")
    without_401(mia)


def test_a_login_that_nobody_began_is_asked_about(world, visit):
    """A link of a stranger signs nobody in as the stranger, with a made-up state neither."""
    server, site = world("guest")
    eve = visit(server, "Eve").come()
    for link in ("#token=", "#login=made-up&token="):
        eve.page.goto(site.url)
        eve.page.goto(f"{server.http}/{link}{tokens.sign('mallory', secret=SECRET, name='Mallory')}")
        eve.expect(eve.page.get_by_role("dialog")).to_contain_text("Sign in as Mallory?")
        eve.page.get_by_role("button", name="Cancel").click()
        is_called(eve, "Eve")
    assert site.ask("login?return_to=https://elsewhere.example/") is not None


def test_a_refused_login_does_not_go_round_in_circles(world, visit):
    """The page says what the server says, and waits for a press."""
    server, _ = world(secret="another secret, that the server does not know")
    mia = visit(server)
    mia.page.goto(server.http)
    log_in(mia)
    mia.expect(mia.page.get_by_role("dialog")).to_contain_text("The server does not take this login")
    mia.expect(mia.page.get_by_role("textbox", name="Token")).to_have_count(0)


def test_without_a_login_page_the_page_says_where_to_go(chatmaster, visit):
    """There is no box for a token."""
    server = chatmaster(workers=1, settings={"auth.secret": SECRET, "auth.mode": "token"})
    mia = visit(server)
    mia.page.goto(server.http)
    dialog = mia.page.get_by_role("dialog")
    mia.expect(dialog).to_contain_text("Open the chat from the site")
    assert dialog.get_by_role("textbox").count() == 0
