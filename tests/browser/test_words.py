"""The languages of the page: no text outside the catalogues, none in them that nobody uses, and what a reader gets."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from workers.http.page import WORDS

PAGE = Path(__file__).resolve().parents[2] / "workers/http/page"
LITERAL = r'"((?:[^"\\\n]|\\.)*)"'
# What a translated text is given to, and constants of a module, which are translated where they are used.
CALL = re.compile(r"(?<!\w)(?<!\w\.)(?:t|tParts|plural)\((?:[^()]|\([^()]*\))*")
CONSTANT = re.compile(r"^(?:export )?const [A-Z_]+ =.*?;$", re.MULTILINE | re.DOTALL)
# Words for people: two words with a space between them, or one that begins with a capital letter.
PROSE = re.compile(r"^(?!\()(?:.*[A-Za-z’']{2,}[,.:;…]? [a-zA-Z]|[A-Z][a-z]{2,}|.*[a-z]…$)", re.DOTALL)
# In the order in which a scanner meets them: a quote in a regular expression begins no text.
_PATTERN = r"/(?![*/])(?:[^/\\\n\[]|\\.|\[(?:[^\]\\\n]|\\.)*\])+/"
ANY_LITERAL = re.compile(
    rf'"(?P<plain>(?:[^"\\\n]|\\.)*)"|`(?P<template>(?:[^`\\]|\\.)*)`|(?<=[(=,:?] ){_PATTERN}|(?<=[(!]){_PATTERN}'
)
# What looks like it and is something else.
NO_TEXTS = {
    *("Notification", "Enter", "Escape", "Tab", "ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight", "Home", "End"),
    *("Delete", "ContextMenu", "English", "Deutsch", "Chatmaster", "Files"),
    *("Ctrl+K", "Ctrl+/", "Alt+↑", "Alt+↓", "Shift+Esc", "Shift+↵", "Shift+Tab", "Esc", "Del"),
}  # fmt: skip
# Classes of elements, attributes and what goes to the console: by what stands before them.
NO_PLACES = re.compile(
    r"(?:class|rel|d): [^,]*$|console\.\w+\($|class: [^\n]*$|className = $|closest\($|classes = $"
    r"|if \(!this\.current\) throw new Error\($"
)
DATA = {"few_emoji.js"}  # names of emoji in a table, see below


def scripts() -> Iterator[tuple[str, str]]:
    for path in sorted((PAGE / "app").glob("*.js")):
        text = re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        yield path.name, re.sub(r"^(?:import .*|\s*//.*)$", "", text, flags=re.MULTILINE)


def used() -> set[str]:
    """The English texts of the scripts that are translated, and those of index.html."""
    found = set()
    for name, text in scripts():
        for place in [*CALL.findall(text), *([] if name in DATA else CONSTANT.findall(text))]:
            found |= set(re.findall(LITERAL, place))
    return found | set(index_texts())


def index_texts() -> list[str]:
    html = (PAGE / "index.html").read_text(encoding="utf-8")
    reader = _Texts()
    reader.feed(html[html.index("<body>") : html.index("<noscript>")])
    return reader.found


class _Texts(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.found += [value for name, value in attrs if name in ("aria-label", "title", "placeholder")]

    def handle_data(self, data: str) -> None:
        if re.search(r"[A-Za-z]{2}", data):
            self.found.append(data.strip())


def catalogue(language: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((PAGE / f"words/{language}.json").read_text(encoding="utf-8"))
    return found


def outside(name: str, text: str) -> list[str]:
    """Texts of a script that nothing translates."""
    spans = [found.span() for pattern in (CALL, CONSTANT) for found in pattern.finditer(text)]
    found = []
    for match in ANY_LITERAL.finditer(text):
        words = match["plain"] or re.sub(r"\$\{(?:[^{}]|\{[^{}]*\})*\}", "", match["template"] or "")
        before = text[text.rfind("\n", 0, match.start()) + 1 : match.start()]
        if any(start <= match.start() < end for start, end in spans) or words in NO_TEXTS:
            continue
        if PROSE.search(words) and not NO_PLACES.search(before):
            found.append(f"{name}: {words}")
    return found


def test_no_text_is_outside_the_catalogues():
    """Whoever adds a text to the page writes it as `t("…")`."""
    assert [found for name, text in scripts() if name not in DATA for found in outside(name, text)] == []


@pytest.mark.parametrize(
    "line", ['toast("That did not work")', 'el("p", { text: `Read by ${names}` })', 'title: "Save"', '"Loading…"']
)
def test_the_test_finds_a_text(line):
    """So that the one above can fail."""
    assert outside("some.js", f"  {line};\n")


@pytest.mark.parametrize("language", WORDS)
def test_a_catalogue_has_every_text_and_no_other(language):
    """A new text is added to each, and one that is gone is taken out."""
    known, needed = set(catalogue(language)), used()
    lacking = {text for text in needed if text not in known and (PROSE.search(text) or text in index_texts())}
    assert lacking - NO_TEXTS - singulars() == set()
    assert {text for text in known if text not in needed} == set()


def singulars() -> set[str]:
    """The English forms for one: the catalogues go by the others."""
    return {found for _, text in scripts() for found in re.findall(rf"plural\(\s*[\w.]+,\s*{LITERAL}", text)}


@pytest.mark.parametrize("language", WORDS)
def test_a_translation_has_the_places_of_its_text(language):
    """None is lost, and none is misspelt; forms of numbers have those that the language has."""
    for text, translated in catalogue(language).items():
        forms = translated.values() if isinstance(translated, dict) else [translated]
        for form in forms:
            assert sorted(re.findall(r"\{\w+\}", form)) == sorted(re.findall(r"\{\w+\}", text)), text
        if isinstance(translated, dict):
            assert set(translated) == {"one", "other"} and language == "de"


@pytest.mark.parametrize(
    ("locale", "language", "words"),
    [
        ("de-AT", "de", "Räume"),
        ("ja", "ja", "ルーム"),
        ("zh-CN", "zh-Hans", "房间"),
        ("zh-TW", "en", "Rooms"),  # traditional characters are none of the page's
        ("fr-FR", "en", "Rooms"),
    ],
)
def test_the_page_speaks_the_language_of_the_browser(server, visit, locale, language, words):
    """As it is told by `navigator.languages`; times, too."""
    ada = visit(server, "Ada", locale=locale).come()
    assert ada.page.evaluate("document.documentElement.lang") == language
    ada.expect(ada.page.locator("#rooms-title")).to_have_text(words)


def test_nothing_english_is_left(server, visit):
    """Each text of a catalogue is marked: every word that the page shows by itself has the mark."""
    ada = visit(server, "9", locale="de-DE")
    marked = {
        text: {form: f"⟦{one}⟧" for form, one in words.items()} if isinstance(words, dict) else f"⟦{words}⟧"
        for text, words in catalogue("de").items()
    }
    ada.page.route("**/words/de.json", lambda route: route.fulfill(json=marked))
    ada.come("7")
    ada.say("1")
    ada.kept("1")
    ada.page.locator(".message").last.hover()
    left = ada.page.evaluate(
        """() => {
            const found = [];
            const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
            for (let node = walker.nextNode(); node; node = walker.nextNode())
                if (!node.parentElement.closest("script, style, noscript, time, .brand-name, .line.day, bdi"))
                    found.push(node.nodeValue);
            for (const name of ["aria-label", "title", "placeholder"])
                for (const node of document.querySelectorAll(`[${name}]`))
                    if (!node.closest("time")) found.push(node.getAttribute(name));
            return found;
        }"""
    )
    words = [re.sub(r"⟦[^⟧]*(?:⟧|$)|^[^⟦]*⟧", "", text) for text in left]
    assert [text for text in words if re.search(r"[A-Za-z]{2}", text)] == []
    assert any("⟦" in text for text in left)


def test_a_person_chooses_the_language(server, visit):
    """It stays over a reload; what was being written is there, and numbers have the forms of the language."""
    ada = visit(server, "Ada").come()
    ada.page.locator("#text").fill("half a sentence")
    ada.page.get_by_role("button", name="Settings").click()
    ada.page.get_by_role("menuitem", name="Language").click()
    ada.page.get_by_role("combobox", name="Language").select_option("Deutsch")
    ada.page.get_by_role("button", name="Save").click()
    ada.expect(ada.page.locator("#subtitle")).to_have_text("1 Person hier")
    ada.expect(ada.page.locator("#text")).to_have_value("half a sentence")
    visit(server, "Bob").come()
    ada.expect(ada.page.locator("#subtitle")).to_have_text("2 Personen hier")
    ada.page.reload()
    ada.expect(ada.page.locator("#directs-title")).to_have_text("Direktnachrichten")


def test_the_page_works_where_a_catalogue_cannot_be_had(server, visit):
    """In English then."""
    ada = visit(server, "Ada", locale="ja")
    ada.page.route("**/words/ja.json", lambda route: route.fulfill(body="not json"))
    ada.come()
    ada.expect(ada.page.locator("#rooms-title")).to_have_text("Rooms")
