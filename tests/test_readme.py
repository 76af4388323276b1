"""The documents name what exists: each module has a test of its own name or a line in tests/README.md."""

from __future__ import annotations

import re

import pytest

from tests.support import sources
from tests.support.sources import ROOT

README = (ROOT / "tests/README.md").read_text()
_ROW = re.compile(r"^\| `((?:chatmaster|workers)[\w/]*)/` \| (.*) \| (.*) \|$", re.MULTILINE)
_QUOTED = re.compile(r"`([^`]+)`")
# Names of files that a reader's own instance has, or that stand for any file.
EXAMPLES = {"a/b.py", "tests/a/test_b.py"}


def listed() -> list[tuple[str, list[str]]]:
    """Every module of the list with the tests that it names."""
    rows = [(folder, modules, tests) for folder, modules, tests in _ROW.findall(README)]
    return [
        (f"{folder}/{name}", _QUOTED.findall(tests)) for folder, names, tests in rows for name in _QUOTED.findall(names)
    ]


def without_a_test_of_their_own() -> set[str]:
    found = set()
    for path in sources.modules().values():
        mirror = (ROOT / "tests" / path.relative_to(ROOT)).parent
        siblings = {f"test_{module.stem}.py" for module in path.parent.glob(f"{path.stem}_*.py")}
        longer = {test.name for test in mirror.glob(f"test_{path.stem}_*.py")} - siblings
        own = (mirror / f"test_{path.stem}.py").is_file() or longer
        if not path.name.startswith("__") and not own:
            found.add(sources.place(path))
    return found


def test_every_module_has_a_test_of_its_own_name_or_is_listed_once() -> None:
    modules = [module for module, _ in listed()]
    missing, needless = without_a_test_of_their_own() - {*modules}, {*modules} - without_a_test_of_their_own()
    assert not missing, f"neither a test of their own name nor a line in tests/README.md: {sorted(missing)}"
    assert not needless, f"gone, or with a test of their own name; take them out of tests/README.md: {sorted(needless)}"
    assert len(modules) == len({*modules})


def test_the_tests_that_are_named_exist() -> None:
    assert [
        (module, test) for module, tests in listed() for test in tests if not (ROOT / "tests" / test).is_file()
    ] == []
    assert [module for module, tests in listed() if not tests] == []


@pytest.mark.parametrize("document", ["etc/doc/architecture.md", "tests/README.md"])
def test_the_files_that_a_document_names_exist(document: str) -> None:
    named = sources.named_files((ROOT / document).read_text()) - EXAMPLES
    assert [name for name in sorted(named) if not sources.exists(name)] == []
