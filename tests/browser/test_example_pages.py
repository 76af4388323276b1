"""The pages of the examples, in a real browser, as whoever has copied them sees them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chatmaster.testing import LocalServer
from tests.support.server import ROOT
from tests.support.wait import until

Serve = Callable[..., LocalServer]
EXAMPLES = ROOT / "etc" / "examples"
SECRET = "a secret of thirty-two characters"


@pytest.fixture
def window(browser: Any) -> Iterator[Callable[[str], Any]]:
    """Open a URL as somebody new; a page that throws, or complains to its console, fails the test."""
    pages: list[Any] = []
    complaints: list[str] = []

    def opened(url: str) -> Any:
        page = browser.new_context().new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: _note(complaints, message.type, message.text))
        pages.append(page)
        page.goto(url)
        return page

    yield opened
    for page in pages:
        page.context.close()
    assert not complaints, complaints


def _note(complaints: list[str], kind: str, text: str) -> None:
    if kind == "error" and "404" not in text:  # the examples have no icon
        complaints.append(text)


def test_the_dashboard_shows_figures(serve: Serve, window: Callable[[str], Any]) -> None:
    page = window(serve(EXAMPLES / "dashboard.py").http)
    page.wait_for_function("document.querySelector('#connections output')?.textContent === '1'")
    assert page.locator("#memory output").inner_text().endswith(" %")
    page.wait_for_function("document.querySelector('#load polyline').getAttribute('points').split(' ').length > 1")


def test_two_windows_play_in_the_lobby(serve: Serve, window: Callable[[str], Any]) -> None:
    server = serve(EXAMPLES / "lobby.py")
    ada, bob = window(server.http), window(server.http)
    for page, name in ((ada, "ada"), (bob, "bob")):
        page.get_by_label("Name").fill(name)
        page.get_by_role("button", name="Enter").click()
        page.get_by_text(f"{name} is {'XO'[page is bob]}").wait_for()
    ada.get_by_text("bob is O").wait_for()
    for turn, cell in enumerate((1, 4, 2, 5, 3)):
        (ada, bob)[turn % 2].get_by_label(f"cell {cell}").click()
        for page in (ada, bob):
            page.wait_for_function(
                f"document.querySelectorAll('#board button')[{cell - 1}].textContent === '{'XO'[turn % 2]}'"
            )
    for page in (ada, bob):
        page.get_by_text("X wins.").wait_for()
        page.get_by_text("game-one: ada, bob").wait_for()


def test_a_customer_and_the_staff_talk_in_the_support_chat(serve: Serve, window: Callable[[str], Any]) -> None:
    server = serve(
        EXAMPLES / "support_fastapi.py", settings={"auth.mode": "token"}, environment={"CHATMASTER_AUTH_SECRET": SECRET}
    )
    ada, staff = window(f"{server.http}/?user=ada"), window(f"{server.http}/?user=staff&customer=ada")
    for page in (ada, staff):
        page.get_by_text("connected").wait_for()
    ada.get_by_label("Message").fill("It is broken")
    ada.get_by_role("button", name="Send").click()
    staff.get_by_text("Ada Lovelace: It is broken").wait_for()
    staff.get_by_label("Message").fill("Turn it off and on")
    staff.get_by_role("button", name="Send").click()
    ada.get_by_text("Support: Turn it off and on").wait_for()
    until(lambda: ada.locator("#log p").count() == 2, 20, "each message once")


def test_the_session_of_fastapi_is_who_the_page_is(serve: Serve, window: Callable[[str], Any]) -> None:
    server = serve(EXAMPLES / "session_fastapi.py", environment={"SESSION_SECRET": SECRET})
    page = window(f"{server.http}/login?user=ada")
    page.wait_for_function("document.title === 'Ada Lovelace'")
