"""The site builds without a warning, asks no other host for anything, and its reference pages are complete."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatmaster import __version__
from chatmaster.cli.main import cli
from chatmaster.contract import ExitCode
from tests.site import codes_page, commands_page, hooks, javascript_page, metrics_page, settings_page
from tests.support.sources import ROOT
from workers.close_codes import CloseCode

pytest.importorskip("mkdocs")

# What a browser loads by itself; a link that a reader follows may lead anywhere.
_LOADED = re.compile(
    r"""<(?:script|img|iframe|source|link(?![^>]*rel="(?:canonical|next|prev)"))\b[^>]*?(?:src|href)="([^"]+)"""
)
_IN_CSS = re.compile(r"""url\(["']?(https?:|//)""")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run([ROOT / "bin/docs", str(folder)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    yield folder


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    loaded = {(page.name, address) for page in site.rglob("*.html") for address in _LOADED.findall(page.read_text())}
    assert len(loaded) > 50
    assert [(page, address) for page, address in loaded if re.match(r"https?:|//", address)] == []
    assert [sheet.name for sheet in site.rglob("*.css") if _IN_CSS.search(sheet.read_text())] == []


def test_the_search_index_needs_no_server(site: Path) -> None:
    index = (site / "search/search_index.js").read_text()
    assert index.startswith("var __index = ") and "limits.lag_timeout" in index and "send_to_room" in index


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
@pytest.mark.parametrize("words", ["lag_timeout", "send_to_room", "チュートリアル"])
def test_the_search_finds_names_in_files_that_no_server_serves(site: Path, words: str) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        try:
            page = browser.new_page()
            asked: list[str] = []
            page.on("request", lambda request: asked.append(request.url))
            page.goto((site / "index.html").as_uri())
            page.click("input.md-search__input")
            page.keyboard.insert_text(words)
            page.keyboard.press("Shift")  # the page reads the query at the end of a key press
            page.wait_for_selector(".md-search-result__item", state="attached", timeout=30_000)
            assert [url for url in asked if not url.startswith(("file:", "blob:", "data:", "about:"))] == []
        finally:
            browser.close()


def test_every_document_has_a_page(site: Path) -> None:
    documents = {path.relative_to(ROOT / "etc/doc").with_suffix(".html") for path in (ROOT / "etc/doc").rglob("*.md")}
    pages = {path.relative_to(site) for path in site.rglob("*.html")}
    assert documents <= pages
    assert {Path(name).with_suffix(".html") for name in hooks.GENERATED} <= pages


def test_a_generated_page_names_all_that_it_is_made_from() -> None:
    assert settings_page.known() == settings_page.keys_of_file()
    commands = commands_page.render()
    assert [name for name in cli.commands if f"## {name}" not in commands] == []
    codes = codes_page.render()
    assert [code for code in (*ExitCode, *CloseCode) if f"| `{int(code)}` |" not in codes] == []
    assert len(metrics_page.known()) > 40
    assert {"on", "say", "history", "close"} <= {
        member.name
        for name in ("chat.js", "verbs.js")
        for member in javascript_page.members((javascript_page.CHAT / name).read_text())
    }


def test_python_names_of_the_reference_are_all_that_a_program_may_import(site: Path) -> None:
    import chatmaster

    page = (site / "reference/python.html").read_text()
    missing = [name for name in chatmaster.__all__ if not re.search(rf'id="[\w.]+\.{name}"', page)]
    assert missing == []


def test_the_readme_is_short_and_names_the_version() -> None:
    text = (ROOT / "README.md").read_text()
    assert f"Version {__version__}," in text and f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()
    assert (len(text.split()) <= 900, len(text.splitlines()) <= 150) == (True, True)


@pytest.mark.parametrize("document", ["README.md", "README.ja.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_the_links_of_a_document_outside_of_the_site_lead_somewhere(document: str) -> None:
    text = re.sub(r"```.*?```", "", (ROOT / document).read_text(), flags=re.DOTALL)
    targets = [target.partition("#") for target in re.findall(r"\]\(([^)]+)\)", text)]
    assert [path for path, _, _ in targets if not (ROOT / path).exists()] == []
    for path, _, anchor in targets:
        headings = re.findall(r"^#+ (.*)$", (ROOT / path).read_text(), re.MULTILINE) if anchor else []
        assert anchor in {"", *(re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings)}
