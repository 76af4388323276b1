"""The page without a mouse, without eyes, on a small screen: names for all controls, keys, focus, nothing cut off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

CONTROLS = {
    "button", "checkbox", "combobox", "dialog", "link", "listbox", "menu", "menuitem", "navigation", "option", "region",
    "searchbox", "switch", "tab", "textbox", "toolbar",
}  # fmt: skip
CONTRAST = Path(__file__).with_name("contrast.js").read_text().rstrip().rstrip(";")
NOT_WIDER = "(node) => node.scrollWidth <= node.clientWidth"


def nameless(person: Any) -> list[str]:
    """The controls of Chromium's own accessibility tree that have no name."""
    session = person.page.context.new_cdp_session(person.page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    session.detach()
    controls = [node for node in nodes if not node["ignored"] and node["role"]["value"] in CONTROLS]
    assert len(controls) > 3, "the tree has hardly any controls"
    return [str(node["role"]["value"]) for node in controls if not node.get("name", {}).get("value", "").strip()]


def converse(ada: Any, bob: Any) -> None:
    """A little of everything."""
    ada.say("Hello @Bob, see https://example.org")
    bob.sees("Hello")
    bob.act("Hello", "React with 👍")
    ada.act("Hello", "Reply")
    ada.say("an answer")
    ada.kept("an answer")
    ada.page.locator(".member", has_text="Bob").click()
    ada.page.get_by_role("menuitem", name="Write directly").click()
    ada.say("privately")
    bob.expect(bob.page.locator("#directs .badge")).to_have_text("1")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_control_has_a_name_and_every_text_contrast(server, visit, scheme):
    """On the page itself, in its menus, its pickers and its dialogs."""
    ada = visit(server, "Ada", color_scheme=scheme).come()
    bob = visit(server, "Bob", color_scheme=scheme).come()
    converse(ada, bob)
    page = bob.page
    page.locator("#text").focus()
    assert nameless(bob) == [] and page.evaluate(CONTRAST) == []
    bob.message("Hello").hover()
    assert nameless(bob) == []
    for opening in ("More actions", "Insert an emoji", "About this conversation", "React"):
        bob.message("Hello").hover()
        page.get_by_role("button", name=opening, exact=True).click()
        page.locator(".popup").wait_for()
        assert nameless(bob) == [] and page.evaluate(CONTRAST) == [], opening
        page.keyboard.press("Escape")
        page.locator(".popup").wait_for(state="detached")
    for opening in ("Join or create a room", "Change your name, Bob"):
        page.get_by_role("button", name=opening).click()
        assert nameless(bob) == [] and page.evaluate(CONTRAST) == [], opening
        page.keyboard.press("Escape")


@pytest.mark.parametrize("width", [320, 360, 768, 1440])
def test_nothing_is_cut_off(server, visit, width):
    """No width makes the page scroll sideways, whatever is written."""
    ada = visit(server, "A" * 32, width=width, height=700).come()
    ada.say("https://example.org/" + "long" * 60)
    ada.say("W" * 200)
    ada.kept("WWW")
    assert ada.page.locator("html").evaluate(NOT_WIDER)
    assert ada.page.locator("#scroll").evaluate(NOT_WIDER)
    for node in ("#text", "#send", "#open-people", "#title"):
        box = ada.page.locator(node).bounding_box()
        assert box and box["x"] >= 0 and box["x"] + box["width"] <= width, node


def test_drawers_of_a_narrow_screen(server, visit):
    """The focus goes in, stays in, and comes back with Escape."""
    ada = visit(server, "Ada", width=360, height=700).come()
    page = ada.page
    assert not page.locator("#sidebar").is_visible()
    page.get_by_role("button", name="Conversations").click()
    ada.expect(page.get_by_role("button", name="Close the list of conversations")).to_be_focused()
    assert page.locator("#main").evaluate("node => node.inert")
    assert nameless(ada) == []
    page.keyboard.press("Escape")
    ada.expect(page.locator("#open-sidebar")).to_be_focused()
    page.get_by_role("button", name="People", exact=True).click()
    ada.expect(page.locator("#people")).to_be_visible()
    page.locator("#veil").click(position={"x": 5, "y": 300})
    ada.expect(page.locator("#people")).to_be_hidden()


def test_all_by_keyboard(server, visit):
    """Through the messages with the arrows, their actions by Tab, Enter and single keys, and back by Escape."""
    ada = visit(server, "Ada").come()
    page = ada.page
    for text in ("one", "two", "three"):
        ada.say(text)
    ada.kept("three")
    page.locator(".message[tabindex='0']").focus()
    ada.expect(ada.message("three")).to_be_focused()
    page.keyboard.press("ArrowUp")
    ada.expect(ada.message("two")).to_be_focused()
    page.keyboard.press("Tab")
    ada.expect(page.get_by_role("button", name="React with 👍")).to_be_focused()
    page.keyboard.press("Enter")
    ada.expect(ada.message("two").locator(".reaction")).to_be_visible()
    ada.message("two").focus()
    page.keyboard.press("e")
    ada.expect(page.locator("#text")).to_have_value("two")
    page.keyboard.press("Escape")
    ada.expect(page.locator("#text")).to_have_value("")
    page.keyboard.press("ArrowUp")
    ada.expect(page.locator("#text")).to_have_value("three")


def test_new_messages_are_read_out(server, visit):
    """A live region says who wrote what; the line about the connection is said, too."""
    ada, bob = visit(server, "Ada").come(), visit(server, "Bob").come()
    ada.say("hear me")
    bob.expect(bob.page.get_by_role("log")).to_have_text("Ada: hear me")
    bob.expect(bob.page.locator("#told")).to_have_text("Connected")


def test_right_to_left(server, visit):
    """Each text has its own direction."""
    ada = visit(server, "ليلى").come()
    ada.say("مرحبا بالجميع")
    ada.say("hello")
    ada.kept("hello")
    is_rtl = "(nodes) => nodes.map((node) => node.matches(':dir(rtl)'))"
    assert ada.page.locator(".message .text").evaluate_all(is_rtl) == [True, False]


def colours(person: Any, selector: str, *, pseudo: str | None = None) -> list[str]:
    """Background and border of the first such node, as they are computed."""
    script = (
        "(node, pseudo) => { const s = getComputedStyle(node, pseudo); return [s.backgroundColor, s.borderTopColor] }"
    )
    found: list[str] = person.page.locator(selector).first.evaluate(script, pseudo)
    return found


def test_forced_colours_keep_what_colour_alone_says(server, visit):
    """The bar at a mention, a reaction of one's own and the room that is shown are seen in a high-contrast theme."""
    ada, bob = visit(server, "Ada", forced_colors="active").come(), visit(server, "Bob").come()
    bob.say("@Ada, look")
    bob.say("and at this")
    bob.act("look", "React with 👍")
    bob.act("and at this", "React with 👍")
    ada.message("look").locator(".reaction").click()
    ada.expect(ada.page.locator(".reaction[aria-pressed='true']")).to_have_count(1)
    pressed, other = (colours(ada, f".reaction[aria-pressed='{one}']") for one in ("true", "false"))
    assert pressed[0] != other[0]
    page = colours(ada, "body")[0]
    assert colours(ada, ".message.mentioned", pseudo="::before")[0] not in (page, "rgba(0, 0, 0, 0)")
    outline = "node => getComputedStyle(node).outlineStyle"
    assert ada.page.locator(".room[aria-current]").evaluate(outline) == "solid"
    assert [ada.page.locator(f".{part}").first.evaluate("node => getComputedStyle(node).forcedColorAdjust")
            for part in ("avatar", "state-dot")] == ["none", "none"]  # fmt: skip


@pytest.mark.parametrize(("zoom", "width", "height"), [(200, 640, 400), (400, 320, 256)])
def test_zoomed_one_still_reads_and_writes(server, visit, zoom, width, height):
    """A window of 1280 by 800 (1024 for 400 %) that is zoomed leaves so many pixels (WCAG 2.2, 1.4.4 and 1.4.10)."""
    ada, bob = visit(server, "Ada", width=width, height=height).come(), visit(server, "Bob").come()
    bob.say("can you read this?")
    ada.expect(ada.message("can you read this?")).to_be_in_viewport(ratio=0.9)
    ada.say("I can")
    bob.sees("I can")
    page = ada.page
    assert page.locator("html").evaluate(NOT_WIDER) and page.locator("#scroll").evaluate(NOT_WIDER)
    for node in ("#text", "#send", "#open-people", "#open-sidebar", "#room-menu"):
        ada.expect(page.locator(node)).to_be_in_viewport(ratio=1)
    page.get_by_role("button", name="Insert an emoji").click()
    box = page.locator(".emoji-picker").bounding_box()
    assert box and box["y"] >= 0 and box["y"] + box["height"] <= height and box["x"] + box["width"] <= width
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Conversations").click()
    page.get_by_role("button", name="Change your name").click()
    page.get_by_role("button", name="Save").scroll_into_view_if_needed()
    ada.expect(page.get_by_role("button", name="Save")).to_be_in_viewport(ratio=0.95)
