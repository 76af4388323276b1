"""What one chooses at the page: emoji, light or dark, little motion."""

from __future__ import annotations

import pytest

BACKGROUND = "() => getComputedStyle(document.body).backgroundColor"
LIGHT, DARK = "rgb(251, 250, 247)", "rgb(23, 25, 26)"

PRESS_JUMP = """() => {
    const node = document.getElementById("scroll");
    document.getElementById("jump").click();
    return node.scrollHeight - node.scrollTop - node.clientHeight < 2;
}"""


def test_an_emoji_goes_where_the_caret_is(server, visit):
    """Found by its name or by the arrows; the focus comes back to the text, and the last one is first next time."""
    ada = visit(server, "Ada").come()
    page, text = ada.page, ada.page.locator("#text")
    text.fill("to  space")
    text.evaluate("node => node.setSelectionRange(3, 3)")
    page.get_by_role("button", name="Insert an emoji").click()
    page.get_by_role("searchbox").fill("rocket")
    page.keyboard.press("Enter")
    ada.expect(text).to_have_value("to 🚀 space")
    ada.expect(text).to_be_focused()
    text.press("End")
    page.get_by_role("button", name="Insert an emoji").click()
    assert page.locator(".emoji-grid button").first.inner_text() == "🚀"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    ada.expect(text).to_have_value("to 🚀 space👍")
    page.keyboard.press("Enter")
    ada.kept("to 🚀 space👍")


def test_the_theme_is_the_systems_or_ones_own(server, visit):
    """The button goes through the three, and the choice survives a reload, before anything is drawn."""
    ada = visit(server, "Ada", color_scheme="light").come()
    page = ada.page
    assert page.evaluate(BACKGROUND) == LIGHT
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(BACKGROUND) == DARK
    page.get_by_role("button", name="Theme: as the system").click()
    assert page.evaluate(BACKGROUND) == LIGHT
    page.get_by_role("button", name="Theme: light").click()
    page.emulate_media(color_scheme="light")
    assert page.evaluate(BACKGROUND) == DARK
    page.add_init_script(
        "addEventListener('DOMContentLoaded', () => { window.first = document.documentElement.dataset.theme })"
    )
    page.reload()
    assert page.evaluate(BACKGROUND) == DARK and page.evaluate("() => window.first") == "dark"
    page.get_by_role("button", name="Theme: dark").click()
    assert page.evaluate(BACKGROUND) == LIGHT


@pytest.mark.parametrize(("wish", "moves"), [("reduce", False), ("no-preference", True)])
def test_who_wants_little_motion_gets_none(server, visit, wish, moves):
    """Drawers and dots stand still; the way to the latest message is a jump for everybody."""
    ada = visit(server, "Ada", width=360, height=500, reduced_motion=wish).come()
    for number in range(30):
        ada.say(f"message {number}")
    ada.kept("message 29")
    page = ada.page
    duration = "node => parseFloat(getComputedStyle(node).transitionDuration)"
    assert (page.locator("#sidebar").evaluate(duration) > 0) is moves
    page.locator("#scroll").evaluate("node => { node.scrollTop = 0 }")
    page.locator("#jump").wait_for()
    assert page.evaluate(PRESS_JUMP)
    ada.expect(page.locator("#jump")).to_be_hidden()
