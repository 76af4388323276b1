"""What one writes with marks, as others see it: emphasis, lists, quotes, code, and long messages, which are folded."""

from __future__ import annotations

import time

EMPHASIS = "**bold** *italic* ~~gone~~ and `code`"
SAY = """async (text) => {
    const { connect } = await import("./chat.js");
    const chat = connect(location.origin.replace("http", "ws") + "/", { rooms: ["lobby"] });
    await chat.say("lobby", text);
    chat.close();
}"""
BLOCKS = "look:\n- one\n- two\n\n3. three\n> said before\n```\nprint(1)\n```"


def test_emphasis_lists_quotes_and_code(server, visit):
    """As elements of their kind; the text that is copied, edited and quoted keeps or loses its marks as it should."""
    ada, bob = visit(server, "Ada").come(), visit(server, "Bob").come()
    ada.say(EMPHASIS)
    ada.say(BLOCKS)
    bob.sees("look:")
    text = bob.message("bold").locator(".text")
    assert [text.locator(tag).inner_text() for tag in ("strong", "em", "s", "code")] == [
        "bold",
        "italic",
        "gone",
        "code",
    ]
    text = bob.message("look").locator(".text")
    assert text.locator("ul li").all_inner_texts() == ["one", "two"]
    assert text.locator("ol").get_attribute("start") == "3"
    assert text.locator("blockquote").inner_text() == "said before"
    bob.act("bold", "Reply")
    bob.expect(bob.page.locator("#context-text")).to_have_text("Replying to Ada: bold italic gone and code")
    bob.page.keyboard.press("Escape")
    ada.page.locator("#text").press("ArrowUp")
    ada.expect(ada.page.locator("#text")).to_have_value(BLOCKS)


def test_code_is_copied_by_its_button(server, visit):
    """The lines as they were written, without the backquotes."""
    ada = visit(server, "Ada")
    ada.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    ada.come()
    ada.say("```python\nif a < b:\n    print('<b>')\n```")
    ada.kept("print")
    ada.page.get_by_role("button", name="Copy the code").click()
    ada.expect(ada.page.locator(".toast")).to_contain_text("Copied")
    assert ada.page.evaluate("() => navigator.clipboard.readText()") == "if a < b:\n    print('<b>')"


def test_a_long_message_is_folded(server, visit):
    """Its beginning is shown, and the whole when it is asked for, without the page jumping."""
    ada, bob = visit(server, "Ada").come(), visit(server, "Bob").come()
    for number in range(12):
        ada.say(f"before {number}")
    ada.say("\n".join(f"line {number}." for number in range(200)))
    bob.sees("line 0.")
    message = bob.message("line 0.")
    bob.expect(message.locator(".text")).not_to_contain_text("line 150.")
    message.get_by_role("button", name="Show the whole message").scroll_into_view_if_needed()
    before = message.bounding_box()
    message.get_by_role("button", name="Show the whole message").click()
    bob.expect(message.locator(".text")).to_contain_text("line 199.")
    after = message.bounding_box()
    assert before and after and abs(after["y"] - before["y"]) < 2
    bob.expect(message.get_by_role("button", name="Show the whole message")).to_have_count(0)


def test_a_long_message_alone_is_read_from_its_beginning(server, visit):
    """Unfolded it is larger than the window, which does not move to its end."""
    ada = visit(server, "Ada").come()
    ada.page.evaluate(SAY, "\n".join(f"line {number}." for number in range(200)))
    ada.sees("line 0.")
    ada.page.get_by_role("button", name="Show the whole message").click()
    ada.expect(ada.message("line 0.").locator(".text")).to_contain_text("line 199.")
    box, view = ada.message("line 0.").bounding_box(), ada.page.locator("#scroll").bounding_box()
    assert box and view and box["y"] >= view["y"]
    ada.page.locator("#jump").click()
    ada.expect(ada.page.locator("#jump")).to_be_hidden()


def test_tens_of_thousands_of_line_breaks_are_drawn_at_once(server, visit):
    """Neither their author nor a reader waits, and the next message is written as fast as ever."""
    ada, bob = visit(server, "Ada").come(), visit(server, "Bob").come()
    bob.say("before")
    ada.sees("before")
    begun = time.monotonic()
    ada.page.evaluate(SAY, "top" + "\n" * 60_000 + "bottom")  # Chromium itself takes a minute to paste them
    bob.sees("top")
    ada.say("after")
    bob.sees("after")
    assert time.monotonic() - begun < 5
    assert bob.message("top").bounding_box()["height"] < 500
