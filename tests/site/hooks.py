"""Hooks of MkDocs (`etc/mkdocs.yml`): the reference pages that are made from the sources, and pages without a place."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # MkDocs loads this file by its path

from tests.site import codes_page, commands_page, javascript_page, metrics_page, settings_page  # noqa: E402

GENERATED: Final[Mapping[str, Callable[[], str]]] = {
    "reference/settings.md": settings_page.render,
    "reference/commands.md": commands_page.render,
    "reference/metrics.md": metrics_page.render,
    "reference/codes.md": codes_page.render,
    "reference/javascript.md": javascript_page.render,
}
ELSEWHERE: Final = "More"  # the section of pages that the navigation does not name
CURVES: Final = ("tests/bench/results/", "tests/sizing/results/")  # pictures outside of the documents


def on_config(config: Any) -> Any:
    """Append the pages that the navigation does not name."""
    named = set(_named(config["nav"]))
    found = {path.relative_to(config["docs_dir"]).as_posix() for path in Path(config["docs_dir"]).rglob("*.md")}
    if rest := sorted(found - named):
        config["nav"].append({ELSEWHERE: rest})
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages."""
    from mkdocs.structure.files import File

    for name, render in GENERATED.items():
        files.append(File.generated(config, name, content=render()))
    for path in (path for folder in CURVES for path in (ROOT / folder).glob("*.svg")):
        files.append(File.generated(config, f"curves/{path.name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Point pictures that lie outside of the documents, for readers of the repository, to their copies."""
    for folder in CURVES:
        markdown = markdown.replace(f"../../{folder}", "curves/")
    return markdown


def _named(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    children = nav.values() if isinstance(nav, dict) else nav
    return [name for child in children for name in _named(child)]
