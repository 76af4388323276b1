"""What the page loads when it is first needed: all emoji of Unicode with the first picker, the colours of code.

Both are made by `npm run build` in etc/javascript; without them the page has less, and says nothing.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.conftest import Line
from workers.http.page import build

needs_parts = pytest.mark.skipif(len(build().parts) < 2, reason="not built: npm ci && npm run build in etc/javascript")
WALES = "🏴\U000e0067\U000e0062\U000e0077\U000e006c\U000e0073\U000e007f"
CODE = "```python\ndef answer():\n    return 42  # '<b>'\n```"


def requested(person: Any) -> list[str]:
    """The names of the scripts beside the page that were asked for, from here on."""
    found: list[str] = []

    def note(request: Any) -> None:
        if "/assets/" not in request.url:
            found.append(request.url.rpartition("/")[2])

    person.page.on("request", note)
    return found


def open_picker(person: Any) -> Any:
    person.page.get_by_role("button", name="Insert an emoji").click()
    person.page.locator(".emoji-grid button").first.wait_for()
    return person.page.locator(".emoji-picker")


@needs_parts
def test_all_emoji_come_with_the_first_picker(server, visit):
    """By category, each once; not before, and not again."""
    ada = visit(server, "Ada").come()
    asked = requested(ada)
    picker = open_picker(ada)
    ada.expect(picker.get_by_role("button", name="flag: Wales", exact=True)).to_be_attached()
    every = picker.locator(".emoji-group button").evaluate_all("nodes => nodes.map((node) => node.dataset.emoji)")
    assert len(every) > 1900 and len(set(every)) == len(every)
    titles = picker.locator(".emoji-title").all_text_contents()
    assert [title.lower() for title in titles] == [
        "smileys and emotion", "people and body", "animals and nature", "food and drink", "travel and places",
        "activities", "objects", "symbols", "flags",
    ]  # fmt: skip
    picker.get_by_role("button", name="Food and drink").click()
    ada.expect(picker.get_by_role("button", name="grapes", exact=True)).to_be_in_viewport()
    ada.page.keyboard.press("Escape")
    open_picker(ada)
    assert asked == ["emoji.js"]


@needs_parts
@pytest.mark.parametrize(
    ("words", "emoji"),
    [
        ("rocket", "🚀"),
        (":+1:", "👍️"),
        ("thumbs", "👍️"),
        ("wales", "🏴\U000e0067\U000e0062\U000e0077\U000e006c\U000e0073\U000e007f"),
        ("ttyl", "👋"),
    ],
)
def test_emoji_are_found(server, visit, words, emoji):
    """By name, by code, by keyword."""
    ada = visit(server, "Ada").come()
    picker = open_picker(ada)
    picker.get_by_role("searchbox").fill(words)
    found = picker.locator(".emoji-group button").first
    ada.expect(found).to_have_attribute("data-emoji", emoji)


@needs_parts
def test_the_tone_of_skin_is_chosen_once(server, visit):
    """And kept, for all that have one."""
    ada = visit(server, "Ada").come()
    picker = open_picker(ada)
    for _ in range(3):
        picker.get_by_role("button", name="Tone of skin").click()
    ada.expect(picker.get_by_role("button", name="Tone of skin: medium", exact=True)).to_be_visible()
    picker.get_by_role("searchbox").fill("waving hand")
    ada.page.keyboard.press("Enter")
    ada.expect(ada.page.locator("#text")).to_have_value("👋🏽")
    ada.page.reload()
    ada.expect(ada.page.locator("#timeline .start")).to_be_attached()
    picker = open_picker(ada)
    picker.get_by_role("searchbox").fill("thumbs up")
    ada.expect(picker.locator(".emoji-group button").first).to_have_text("👍🏽")


@needs_parts
def test_a_code_between_colons(server, visit):
    """What is typed is offered, and a whole one becomes its emoji; a time of day stays one."""
    ada = visit(server, "Ada").come()
    text = ada.page.locator("#text")
    text.press_sequentially("go :rocke")
    ada.page.get_by_role("option", name=":rocket:").wait_for()
    ada.page.keyboard.press("Tab")
    ada.expect(text).to_have_value("go 🚀")
    text.press_sequentially(" at 10:30: :tada:")
    ada.expect(text).to_have_value("go 🚀 at 10:30: 🎉")
    ada.page.keyboard.press("Control+z")
    ada.expect(text).not_to_have_value("go 🚀 at 10:30: 🎉")


@needs_parts
def test_code_gets_its_colours(server, visit):
    """With the first that names a language, which loads them once; its text is the same, and no markup in it is any."""
    ada, bob = visit(server, "Ada").come(), visit(server, "Bob").come()
    asked = requested(bob)
    ada.say("plain words")
    bob.sees("plain words")
    assert asked == []
    ada.say(CODE)
    code = bob.message("answer").locator(".code code")
    bob.expect(code.locator(".hl-keyword").first).to_have_text("def")
    assert code.inner_text() == "def answer():\n    return 42  # '<b>'"
    ada.say(CODE)
    bob.expect(bob.page.locator(".code code .hl-comment")).to_have_count(2)
    bob.act("answer", "React with 👍")
    bob.expect(bob.message("answer").locator(".reaction")).to_be_visible()
    bob.expect(bob.page.locator(".code code .hl-comment")).to_have_count(2)
    assert asked == ["highlight.js"]
    ada.say("```nosuchlanguage\nx\n```")
    bob.sees("x")


@needs_parts
def test_where_they_do_not_come_nothing_is_lost(server, visit):
    """A few emoji, and code in one colour."""
    ada = visit(server, "Ada")
    ada.page.route("**/emoji.js", lambda route: route.fulfill(content_type="text/javascript", body="throw new Error()"))
    ada.page.route("**/highlight.js", lambda route: route.fulfill(content_type="text/javascript", body="throw 1"))
    ada.come()
    picker = open_picker(ada)
    ada.expect(picker.locator(".emoji-group button").first).to_have_text("👍")
    ada.page.keyboard.press("Escape")
    ada.say(CODE)
    ada.kept("answer")
    assert ada.message("answer").locator(".code code").inner_text().startswith("def answer")


@needs_parts
def test_what_did_not_come_without_a_network_comes_with_it(server, visit):
    """Emoji with the next picker, colours with the next connection: a browser remembers what failed."""
    ada = visit(server, "Ada")
    line, is_away = Line(ada.page), [True]
    for name in ("emoji", "highlight"):
        ada.page.route(f"**/{name}.js*", lambda route: route.abort() if is_away[0] else route.fallback())
    ada.come()
    ada.say(CODE)
    ada.kept("answer")
    ada.expect(open_picker(ada).locator(".emoji-grid button").first).to_have_text("👍")
    ada.page.keyboard.press("Escape")
    line.cut()
    ada.state("Reconnecting")
    is_away[0] = False
    line.mend()
    ada.page.evaluate("() => dispatchEvent(new Event('online'))")
    ada.expect(ada.message("answer").locator(".hl-keyword").first).to_have_text("def")
    ada.expect(open_picker(ada).get_by_role("button", name="flag: Wales", exact=True)).to_be_attached()
    ada.complaints.clear()  # the browser's own, of what was made to fail
