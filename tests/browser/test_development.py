"""Development mode in a real browser: what fails in the program is in the browser's console, with its line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.server import Chatmaster
from tests.support.wait import until

CHAT = """
from chatmaster import Chat

chat = Chat()


@chat.on_say
def say(message):
    raise ValueError(f"no {message.text}")


worker = chat.worker
"""
PROGRAM = """
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Route
from chatmaster import Worker

PAGE = '''<!doctype html><link rel="icon" href="data:,"><title>mine</title><script>
  const socket = new WebSocket(location.href.replace("http", "ws"));
  socket.onopen = () => socket.send("hello");
  socket.onclose = (event) => console.error(event.code, event.reason);
</script>'''
site = Starlette(routes=[Route("/", lambda request: HTMLResponse(PAGE))])
worker = Worker("websocket://127.0.0.1:8000", http=site)


@worker.on_message
def message(connection, data):
    raise KeyError(data)
"""


def console_of(browser: Any, url: str) -> tuple[Any, list[str]]:
    """A page, and what is written to its console."""
    page = browser.new_context().new_page()
    lines: list[str] = []
    page.on("console", lambda message: lines.append(f"{message.type}: {message.text}"))
    page.goto(url)
    return page, lines


def says(page: Any, lines: list[str], wanted: str) -> None:
    """Wait until the console has a line; Playwright tells of lines only while it is asked something."""

    def seen() -> bool:
        page.evaluate("0")
        return wanted in lines

    until(seen, 20, f"the console says {wanted!r}: {lines}")


def test_a_hook_that_fails_is_named_in_the_console(
    chatmaster: Callable[..., Chatmaster], browser: Any, tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text(CHAT)
    server = chatmaster(str(tmp_path / "app.py"), arguments=("--dev",), workers=1)
    page, lines = console_of(browser, f"{server.http}/#lobby")
    try:
        page.locator("#timeline .start").wait_for(state="attached")
        page.locator("#text").fill("tea")
        page.keyboard.press("Enter")
        says(page, lines, "error: chatmaster: the application failed: app.py:9: ValueError: no tea")
    finally:
        page.context.close()


def test_a_callback_that_fails_is_the_reason_of_the_close(
    chatmaster: Callable[..., Chatmaster], browser: Any, tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text(PROGRAM)
    server = chatmaster(str(tmp_path / "app.py"), arguments=("--dev",), workers=1)
    page, lines = console_of(browser, f"{server.http}/")
    try:
        says(page, lines, "error: 1011 app.py:18: KeyError: 'hello'")
    finally:
        page.context.close()
