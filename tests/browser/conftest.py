"""A real Chromium for the tests of the page, and people who use it.

Where there is no Chromium the tests are skipped, but never in CI. A page that reports an error on its console, or
throws one, fails its test.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.server import Chatmaster

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
NAMES = ("chromium", "chromium-browser", "google-chrome")

# A service worker would answer before a test's own routes do.
USUAL = {"locale": "en-GB", "service_workers": "block"}

sync_api.expect.set_options(timeout=10_000)


def find_chromium() -> str:
    """The path of the program; skips the test where there is none."""
    for name in NAMES:
        path = shutil.which(name)
        if path:
            return path
    if os.environ.get("CI") == "true":
        pytest.fail(f"none of {', '.join(NAMES)} is installed, and in CI the page has to be tested")
    pytest.skip(f"none of {', '.join(NAMES)} is installed")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """For a module and not for the session: while Playwright runs, asyncio tests could not."""
    path = find_chromium()
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def server(chatmaster: Callable[..., Chatmaster]) -> Chatmaster:
    """Two workers, so that people meet over the store."""
    return chatmaster(workers=2)


class Person:
    """Somebody at the page."""

    def __init__(self, page: Any, url: str) -> None:
        self.page = page
        self.url = url
        self.complaints: list[str] = []
        page.on("console", lambda message: self._noted(message.type, message.text, message.location["url"]))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _noted(self, kind: str, text: str, url: str) -> None:
        # A connection that cannot be made is said by the browser itself, whoever catches it.
        passed = ("WebSocket connection to", "Service Worker registration blocked by Playwright")
        # A server may end between the last word of it and the request for the second script, which is asked for again.
        is_cut = "net::ERR_" in text and "/assets/later-" in url
        if kind in ("error", "warning") and not is_cut and not any(one in text for one in passed):
            self.complaints.append(f"{kind}: {text}")

    def come(self, room: str = "lobby") -> Person:
        """Open the page and wait until the room is there."""
        self.page.goto(f"{self.url}/#{room}")
        self.expect(self.page.locator("#timeline .start")).to_be_attached()
        return self

    def expect(self, what: Any) -> Any:
        return sync_api.expect(what)

    def say(self, text: str) -> None:
        box = self.page.locator("#text")
        box.fill(text)
        if box.get_attribute("enterkeyhint") == "enter":  # on a phone that begins a new line
            self.page.locator("#send").tap()
        else:
            self.page.keyboard.press("Enter")

    def message(self, text: str) -> Any:
        """The message that has this text."""
        return self.page.locator(".message", has=self.page.locator(".text", has_text=text)).first

    def sees(self, text: str) -> None:
        """Wait until the message is shown."""
        self.expect(self.message(text)).to_be_visible()

    def kept(self, text: str) -> None:
        """Wait until the own message has its place in the log."""
        self.expect(self.page.locator(".message[data-offset] .text", has_text=text).first).to_be_visible()

    def act(self, text: str, action: str) -> None:
        """Press a button of the bar at a message."""
        self.message(text).hover()
        self.page.get_by_role("toolbar").get_by_role("button", name=action, exact=True).click()

    def show_people(self) -> None:
        """Open the list of people, where it is not open."""
        opener = self.page.get_by_role("button", name="People", exact=True)
        if opener.get_attribute("aria-expanded") == "false":
            opener.click()

    def state(self, text: str) -> None:
        """Wait until the line about the connection says this."""
        self.expect(self.page.locator("#state-text")).to_contain_text(text)

    def texts(self) -> list[str]:
        """All messages that are shown, in order."""
        found: list[str] = self.page.locator(".message .text").all_inner_texts()
        return found


class Line:
    """The page's way to the server, through the test: it can be cut, and change what is told."""

    def __init__(self, page: Any) -> None:
        self.is_cut = False
        self.changed: Callable[[dict[str, Any]], dict[str, Any]] = lambda told: told
        self._open: list[tuple[Any, int]] = []
        page.route_web_socket("**", self._opened)

    def _opened(self, route: Any) -> None:
        if self.is_cut:
            route.close(code=1001)
            return
        server = route.connect_to_server()
        server.on_message(lambda text: route.send(json.dumps(self.changed(json.loads(text)))))
        self._open += [(server, 1000), (route, 1001)]

    def cut(self) -> None:
        """End the connection, and refuse others."""
        self.is_cut = True
        for end, code in self._open:
            end.close(code=code)
        self._open.clear()

    def mend(self) -> None:
        self.is_cut = False


def _keep(page: Any, statement: str) -> None:
    """Run it before each page; Firefox refuses storage to the empty page that comes first."""
    page.add_init_script(f"try {{ {statement} }} catch {{}}")


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Person]]:
    """Somebody with a browser of their own: `visit(server, "Ada", width=360)`."""
    visitors: list[Person] = []

    def make(
        server: Chatmaster, name: str = "", *, width: int = 1280, height: int = 800, people: bool = True, **how: Any
    ) -> Person:
        context = browser.new_context(viewport={"width": width, "height": height}, **(USUAL | how))
        page = context.new_page()
        if name:
            value = json.dumps(json.dumps(name))
            _keep(page, f"localStorage['chatmaster.name'] ??= {value}")
        if people:  # somebody who wants the list of people beside the messages, which a newcomer does not see
            _keep(page, "localStorage['chatmaster.people'] ??= 'true'")
        visitors.append(Person(page, server.http))
        return visitors[-1]

    yield make
    complaints = [complaint for person in visitors for complaint in person.complaints]
    for person in visitors:
        person.page.context.close()
    assert not complaints, complaints
