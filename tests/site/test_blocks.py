"""Every block of code in the documents is checked, and those of the pages below are carried out as a reader would."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.site.blocks import Block, blocks, documents
from tests.site.checking import check
from tests.site.performing import Performance
from tests.support.sources import ROOT

# The documents whose blocks are carried out.
PERFORMED = [
    "README.md",
    "etc/doc/api.md",
    "etc/doc/development.md",
    "etc/doc/handshake.md",
    "etc/doc/hooks.md",
    "etc/doc/http.md",
    "etc/doc/notifications.md",
    "etc/doc/login.md",
    "etc/doc/program.md",
    "etc/doc/migrate-socketio.md",
    "etc/doc/trouble.md",
    "etc/doc/tutorial-chat.md",
    "etc/doc/tutorial-django.md",
    "etc/doc/tutorial-fastapi.md",
    "etc/doc/tutorial-program.md",
]
_CARRIED_OUT = ("console", "sh", "bash", "python", "js", "javascript", "toml")


@pytest.mark.parametrize("document", PERFORMED)
def test_a_reader_can_do_what_a_document_shows(document: str) -> None:
    node = shutil.which("node")
    with Performance() as performance:
        for block in blocks(document):
            if block.language in ("js", "javascript") and node is None:
                continue
            if block.language in _CARRIED_OUT and not block.skipped:
                performance.perform(block)


@pytest.mark.parametrize("document", documents())
def test_the_blocks_of_a_document_say_what_exists(document: str, tmp_path: Path) -> None:
    for block in blocks(document):
        try:
            check(block, tmp_path)
        except Exception as error:
            pytest.fail(f"{block.place}: {error!r}")


@pytest.mark.parametrize(
    "document, original",
    [
        ("README.ja.md", "README.md"),
        ("etc/doc/ja/tutorial-chat.md", "etc/doc/tutorial-chat.md"),
        ("etc/doc/ja/tutorial-program.md", "etc/doc/tutorial-program.md"),
    ],
)
def test_a_translation_has_the_same_code_and_the_same_figures(document: str, original: str) -> None:
    def code(name: str) -> list[str]:
        return [re.sub(r"  # .*", "", block.text) for block in blocks(name)]

    def figures(name: str) -> list[str]:
        return re.findall(r"\| (\d[\d,.]* (?:µs|KiB|ms)|\d[\d,]+) (?=\|)", (ROOT / name).read_text())

    assert code(document) == code(original) and figures(document) == figures(original)


def test_a_block_that_is_skipped_says_why() -> None:
    marked = [block for document in documents() for block in blocks(document) if block.mark]
    assert [block.place for block in marked if block.skipped and not re.match(r"skip, \w+", block.mark)] == []
    assert [block.place for block in marked if not block.skipped and block.mark != "goes on"] == []


@pytest.mark.parametrize(
    "language, text, fault",
    [
        ("python", "from chatmaster import Wrker\n", "Wrker"),
        ("python", "def f(:\n", "SyntaxError"),
        ("console", "$ bin/chatctl relaod\n", "relaod"),
        ("console", "$ bin/chatctl start --damon\n", "--damon"),
        ("toml", "[server\n", "TOMLDecodeError"),
        ("json", "{'a': 1}", "JSONDecodeError"),
    ],
)
def test_a_block_that_is_wrong_is_found(language: str, text: str, fault: str, tmp_path: Path) -> None:
    with pytest.raises(Exception) as found:
        check(Block("a.md", 1, language, text), tmp_path)
    assert fault in repr(found.value)
