"""What strangers send stays text, in messages, names and addresses; and the browser itself would run nothing else."""

from __future__ import annotations

import urllib.request
from typing import Any

import pytest

from tests.browser.conftest import Line

SCRIPTS = (
    "<script>window.broken = 1</script>",
    "<img src=x onerror='window.broken = 2'>",
    "<svg/onload=window.broken=3>",
    '"><iframe src="javascript:parent.broken=4">',
    "javascript:window.broken=5",
    "[x](javascript:window.broken=6)",
    'https://example.org/"onmouseover="window.broken=7',
    "${window.broken=8} {{constructor.constructor('window.broken=9')()}}",
    "\u202ehttps://example.org/gpj.exe\u202c",
)
NAMES = ("<img src=x onerror=broken=1>", "'\"><b>Bold</b>")


def test_messages_stay_text(server, visit):
    """Each is shown as it was written; only real web addresses become links."""
    ada, bob = visit(server, "Ada").come(), visit(server, "Bob").come()
    for text in SCRIPTS:
        ada.say(text)
    bob.sees("gpj.exe")
    assert bob.texts() == list(SCRIPTS)
    parts = "(nodes) => nodes.map((node) => [node.href, node.rel, node.target])"
    links = bob.page.locator(".message a").evaluate_all(parts)
    assert [link[0] for link in links] == ["https://example.org/", "https://example.org/gpj.exe"]
    assert {(link[1], link[2]) for link in links} == {("noopener noreferrer nofollow", "_blank")}
    bob.act("<script>", "Reply")
    bob.say("quoting")
    ada.expect(ada.message("quoting").locator(".quote")).to_contain_text("<script>")
    for person in (ada, bob):
        assert person.page.evaluate("() => window.broken") is None
        assert person.page.locator("#timeline :is(img, script, iframe, b)").count() == 0


@pytest.mark.parametrize("name", NAMES)
def test_names_stay_text(server, visit, name):
    """In the list of people, at messages, while writing, in menus and in the title."""
    ada, eve = visit(server, "Ada").come(), visit(server, name).come()
    eve.page.locator("#text").press_sequentially("hi")
    ada.expect(ada.page.locator("#typing")).to_have_text(f"{name} is writing…")
    eve.page.keyboard.press("Enter")
    ada.sees("hi")
    assert ada.page.locator(".message .name").all_inner_texts() == [name]
    member = ada.page.locator(".member bdi").filter(has_text=name)
    ada.expect(member).to_have_text(name)
    member.click()
    ada.page.get_by_role("menuitem", name="Write directly").click()
    ada.expect(ada.page.locator("#title-text")).to_have_text(name)
    ada.say("hello")
    eve.expect(eve.page.locator("#directs .room", has_text="Ada")).to_be_visible()
    assert ada.page.evaluate("() => window.broken") is None


def test_links_that_pretend_are_no_links(server, visit):
    """An address with a user name in it only looks like another one's; punctuation belongs to the sentence."""
    ada = visit(server, "Ada").come()
    ada.say("https://bank.example@evil.example/ and (see https://example.org/a_(b), https://example.org/c).")
    ada.kept("bank.example")
    found = ada.page.locator(".message a").evaluate_all("nodes => nodes.map((node) => node.textContent)")
    assert found == ["https://example.org/a_(b)", "https://example.org/c"]


def test_the_policy_allows_only_what_was_in_the_file(server, visit):
    """An inline handler or script that got into the page would not run."""
    with urllib.request.urlopen(server.http) as response:
        policy = response.headers["Content-Security-Policy"]
    assert "unsafe" not in policy and "default-src 'none'" in policy and "sha256-" in policy
    ada = visit(server, "Ada").come()
    ada.page.evaluate(
        """() => {
            const script = document.createElement("script");
            script.textContent = "window.broken = 1";
            document.body.append(script);
            const image = document.createElement("img");
            image.setAttribute("onerror", "window.broken = 2");
            image.src = "data:,";
            document.body.append(image);
        }"""
    )
    ada.expect(ada.page.locator("img")).to_have_js_property("complete", True)
    assert ada.page.evaluate("() => window.broken") is None
    assert [complaint for complaint in ada.complaints if "Content Security Policy" in complaint]
    ada.complaints.clear()


def test_code_is_shown_as_it_was_written(server, visit):
    """In backquotes nothing is a link, a mention or markup; what is open stays as it is."""
    ada = visit(server, "Ada").come()
    ada.say("use `<b>https://example.org/</b>`, then")
    ada.page.locator("#text").fill("```js\nlet a = 1;\n  b(`${a}`);\n```\nand `this is left open")
    ada.page.keyboard.press("Enter")
    ada.kept("left open")
    codes = ada.page.locator(".message .text code")
    assert codes.all_inner_texts() == ["<b>https://example.org/</b>", "let a = 1;\n  b(`${a}`);"]
    assert ada.page.locator(".message pre.code").count() == 1
    assert ada.page.locator(".message :is(a, b)").count() == 0
    assert ada.texts()[1].endswith("and `this is left open")


@pytest.mark.parametrize("name", ["Jean-Luc", "-dash", "(o_o)", "a|b\\", "[x]{2}$", "Ünïcödé 漢字"])
def test_any_name_is_mentioned_and_drawn(server, visit, name):
    """It is offered after the @, marked in the text, and the room goes on; a newcomer sees all of it."""
    ada, luc = visit(server, "Ada").come(), visit(server, name).come()
    ada.expect(ada.page.locator(".member", has_text=name)).to_be_visible()
    ada.page.locator("#text").press_sequentially(f"hello @{name[:2]}")
    ada.page.get_by_role("option").filter(has_text=name).wait_for()
    ada.page.keyboard.press("Tab")
    ada.page.keyboard.press("Enter")
    ada.say("and on it goes")
    for person in (luc, visit(server, "Newcomer").come()):
        person.sees("and on it goes")
        person.expect(person.message("hello").locator(".mention")).to_have_text(f"@{name}")
    luc.expect(luc.message("hello").locator(".mention.mine")).to_be_visible()


def test_a_message_that_cannot_be_drawn_costs_no_other(server, visit):
    """In its place a line says so, in what comes live and in the history."""
    ada, bob = visit(server, "Ada").come(), visit(server, "Bob")
    spoilt = {"no time": ("time", None), "no moment": ("time", 1e300), "no author": ("from", None)}

    def spoil(told: dict[str, Any]) -> dict[str, Any]:
        for message in (told, *told.get("messages", [])):
            if message.get("text") in spoilt:
                field, value = spoilt[message["text"]]
                message[field] = value
        return told

    Line(bob.page).changed = spoil
    bob.come()
    for _ in range(2):
        for text in ("before", *spoilt, "after"):
            ada.say(text)
        bob.expect(bob.page.locator(".message .text", has_text="after")).to_have_count(1 + _)
        bob.expect(bob.page.locator(".line.fault")).to_have_count(2 * (1 + _))
    bob.page.reload()
    bob.expect(bob.page.locator(".message .text", has_text="after")).to_have_count(2)
    bob.expect(bob.page.locator(".line.fault")).to_have_count(4)


def test_marks_upon_marks_stay_in_their_line(server, visit):
    """Neighbours of such a message, of its quote, and the box's own note of it look as they do beside a plain one."""
    ada = visit(server, "Ada").come()
    marks = "".join(map(chr, range(0x0300, 0x0350)))
    for text in ("the line above", f"Z{marks}a{marks}lgo", "the line below"):
        ada.say(text)
        ada.kept(text[:1])
    ada.act("the line below", "Reply")
    ada.say("an answer")
    ada.kept("an answer")
    texts = ada.page.locator(".message .text")
    ada.act("lgo", "Reply")
    for place in (".message .text", ".composer *"):
        wide = ada.page.locator(place).evaluate_all(
            "nodes => nodes.filter((node) => node.scrollWidth > innerWidth).length"
        )
        assert wide == 0, place
    ada.page.keyboard.press("Escape")

    def drawn() -> list[bytes]:
        ada.page.mouse.move(0, 0)
        return [texts.nth(at).screenshot(animations="disabled") for at in (0, 2)]

    with_marks = drawn()
    ada.page.locator("#text").focus()
    ada.message("lgo").hover()
    ada.act("lgo", "Edit")
    ada.page.locator("#text").fill("Zalgo")
    ada.page.keyboard.press("Enter")
    ada.expect(texts.nth(1)).to_contain_text("Zalgo")
    assert drawn() == with_marks
