"""What one chooses at the page: emoji, light or dark, little motion."""

from __future__ import annotations

import json

import pytest

from tests.browser.conftest import Line

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
    ada.expect(page.locator(".emoji-grid button").first).to_have_text("🚀")
    second = page.locator(".emoji-grid button").nth(1).inner_text()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    ada.expect(text).to_have_value(f"to 🚀 space{second}")
    page.keyboard.press("Enter")
    ada.kept(f"to 🚀 space{second}")


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


def test_the_list_of_people_comes_when_it_is_asked_for(server, visit):
    """Not at first, and beside direct messages never; who has opened it finds it open the next time."""
    ada, bob = visit(server, "Ada", people=False).come(), visit(server, "Bob").come()
    page, column, button = ada.page, ada.page.locator("#people"), ada.page.locator("#open-people")
    ada.expect(column).to_be_hidden()
    button.click()
    ada.expect(column).to_be_visible()
    page.reload()
    ada.expect(column).to_be_visible()
    column.locator(".member", has_text="Bob").click()
    page.get_by_role("menuitem", name="Write directly").click()
    ada.expect(page.locator("#title-text")).to_have_text("Bob")
    ada.expect(column).to_be_hidden()
    ada.expect(button).to_be_hidden()
    page.locator("#rooms .room", has_text="lobby").click()
    ada.expect(column).to_be_visible()
    bob.page.close()


def test_that_all_is_well_goes_without_saying(server, visit):
    """The line about the connection is there when there is something to say."""
    ada = visit(server, "Ada")
    line = Line(ada.page)
    ada.come()
    ada.expect(ada.page.locator("#told")).to_have_text("Connected")
    ada.expect(ada.page.locator("#state")).to_be_hidden()
    line.cut()
    ada.expect(ada.page.locator("#state")).to_be_visible()
    ada.expect(ada.page.locator("#state")).to_contain_text("Reconnecting")


def test_eight_people_have_eight_colours(server, visit):
    """Also where ids would give two of them the same one; a person's is the same in the list and at a message."""
    ada = visit(server, "Ada").come()
    script = """async (names) => {
        const { connect } = await import("./chat.js");
        const come = (name) => new Promise((resolve) => {
            const chat = connect(location.origin.replace("http", "ws") + "/", { rooms: ["lobby"], name });
            chat.on("welcome", () => chat.say("lobby", `I am ${name}`).then(resolve));
        });
        await Promise.all(names.map(come));
    }"""
    ada.page.evaluate(script, ["Bob", "Cyd", "Dan", "Eve", "Fay", "Gus", "Hal"])
    ada.expect(ada.page.locator(".member")).to_have_count(8)
    ada.expect(ada.page.locator(".message")).to_have_count(7)
    look = "(nodes) => nodes.map((node) => getComputedStyle(node).backgroundColor)"
    in_list = ada.page.locator(".member .avatar").evaluate_all(look)
    at_messages = ada.page.locator(".message .avatar:not(.tiny)").evaluate_all(look)
    assert len(set(in_list)) == 8, json.dumps(in_list)
    assert len(set(at_messages)) == 7 and set(at_messages) < set(in_list)


def test_the_card_about_a_person(server, visit):
    """Name, what is known of them, their id; of what the server does not say, nothing."""
    ada = visit(server, "Ada").come()
    bob = visit(server, "Bob").come()
    bob.say("hello")
    ada.sees("hello")
    ada.expect(ada.page.locator(".member", has_text="Bob")).to_be_visible()
    ada.message("hello").locator(".name").click()
    card = ada.page.locator(".card")
    ada.expect(card).to_contain_text("Bob")
    ada.expect(card).to_contain_text("Guest · online")
    ada.expect(card.locator(".card-id")).to_contain_text("guest:")
    ada.expect(ada.page.get_by_role("menu", name="Bob, Guest, online")).to_be_visible()


def test_a_room_says_what_it_is_about(chatmaster, visit):
    """Its topic stands in the header, where one is set; in other rooms the number of people."""
    server = chatmaster(config='[[rooms]]\nmatch = "garden"\ntopic = "Seeds, soil and patience"\n')
    ada = visit(server, "Ada").come("garden")
    ada.expect(ada.page.locator("#subtitle")).to_have_text("Seeds, soil and patience")
    ada.page.goto(f"{server.http}/#lobby")
    ada.expect(ada.page.locator("#subtitle")).to_have_text("1 person here")


def test_names_of_either_direction_begin_beside_their_mark(server, visit):
    """In a list from left to right an Arabic name is beside its `#`, not at the other end; a finger finds each."""
    ada = visit(server, "Ada", width=360, people=False, has_touch=True, is_mobile=True).come("ديوان")
    ada.page.locator("#open-sidebar").tap()
    names = ada.page.locator("#rooms .room-name")
    ada.expect(names).to_have_count(2)
    ada.expect(names.last).to_be_in_viewport()
    begin = names.evaluate_all("(nodes) => nodes.map((node) => node.getBoundingClientRect().left)")
    assert begin[0] == begin[1]
    heights = "(nodes) => nodes.map((node) => node.getBoundingClientRect().height)"
    assert min(ada.page.locator("#rooms .room, #join-room").evaluate_all(heights)) >= 44
