"""Whatever the browser keeps for the page, and whatever its address says: the page comes."""

from __future__ import annotations

import json
from typing import Any

import pytest

# Of other types than the page writes, as another program at the same origin might.
BROKEN = {
    "rooms": {"lobby": 1},
    "last": 5,
    "name": "",
    "emoji": {},
    "levels": 5,
    "quiet": "x",
    "told": 5,
    "draft.lobby": 7,
}
BROKEN_IN_TAB: list[Any] = [None, 5, {"id": 5, "key": "k", "text": "t", "from": {}}]
FORBIDDEN = """for (const name of ["localStorage", "sessionStorage"])
    Object.defineProperty(window, name, { get() { throw new DOMException("no", "SecurityError"); } });"""
FULL = "Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError'); };"


def stored(values: dict[str, Any], area: str = "localStorage") -> str:
    """A script that keeps these values before the page does."""
    pairs = {f"chatmaster.{name}": json.dumps(value) for name, value in values.items()}
    return f"try {{ Object.assign({area}, {json.dumps(pairs)}); }} catch {{}}"


def test_stored_values_of_other_types_harm_nothing(server, visit):
    """They are passed over, and one reads and writes."""
    ada = visit(server)
    ada.page.add_init_script(stored(BROKEN) + stored({"outbox": BROKEN_IN_TAB}, "sessionStorage"))
    ada.page.goto(f"{server.http}/")
    ada.expect(ada.page.locator("#title-text")).to_have_text("lobby")
    ada.say("all the same")
    ada.kept("all the same")
    ada.page.get_by_role("button", name="Insert an emoji").click()
    ada.page.locator(".emoji-grid button").first.click()
    ada.expect(ada.page.locator("#text")).not_to_have_value("")


@pytest.mark.parametrize("script", [FORBIDDEN, FULL], ids=["forbidden", "full"])
def test_a_draft_outlasts_a_switch_of_rooms_without_storage(server, visit, script):
    """Where the browser keeps nothing, the page does while it is open."""
    ada = visit(server)
    ada.page.add_init_script(script)
    ada.come("garden").come("lobby")
    ada.page.locator("#text").fill("half a thought")
    ada.page.locator("#rooms .room", has_text="garden").click()
    ada.expect(ada.page.locator("#title-text")).to_have_text("garden")
    ada.expect(ada.page.locator("#text")).to_have_value("")
    ada.page.locator("#rooms .room", has_text="lobby").click()
    ada.expect(ada.page.locator("#text")).to_have_value("half a thought")


def test_an_address_that_leads_nowhere_is_said_to(server, visit):
    """At the start, with far too many rooms kept, and later; the link for the keyboard joins no room."""
    ada = visit(server)
    ada.page.add_init_script(stored({"rooms": [f"room-{'long-' * 10}{number}" for number in range(7000)]}))
    ada.page.goto(f"{server.http}/#lobby/9999999999999999")
    said = ada.page.locator(".toast", has_text="leads to no room and to nobody")
    ada.expect(said).to_have_count(1)
    ada.expect(ada.page.locator("#title-text")).to_contain_text("room-")
    ada.say("and here one is")
    ada.kept("and here one is")
    place = ada.page.evaluate("() => location.hash")
    assert place.startswith("#room-")
    for address in ("#a b", "#@", "#lobby/"):
        ada.page.evaluate("(address) => { location.hash = address }", address)
        ada.expect(said).not_to_have_count(0)
        ada.page.wait_for_function("(place) => location.hash === place", arg=place)
        said.first.get_by_role("button").click()
    ada.page.locator(".skip").focus()
    ada.page.keyboard.press("Enter")
    ada.expect(ada.page.locator("#text")).to_be_focused()
    assert ada.page.evaluate("() => location.hash") == place
