"""The law of the two packages, held over their syntax trees: who imports whom, what is pure, which names are taken.

Every rule is a function that gives the places which break it, as text. A rule has no exceptions.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import sources
from tests.support.layers import IMPURE, LEAVES, ONLY_CONSTANTS_OF, PUBLIC_NAMES, PURE, PURE_ENOUGH, SHARED, may_import
from tests.support.sources import place, unit

# Class names that both packages, or two packages of one, define: the wire's words on server and client, and ideas that
# are the same in both places.
NAMED_TWICE = {
    *("Chat", "Entry", "Gap", "History", "Joined", "Members", "Person", "Position", "Presence", "Read", "Reset"),
    *("RoomState", "Typing", "Welcome"),
}
MOST_NAMED_TWICE = 25

# Strings that begin with @ or ! and name neither a room nor a user: (file, string).
NO_NAMES = {
    ("chatmaster/cli/bench_client.py", "!BBH"),  # struct formats
    ("chatmaster/cli/bench_client.py", "!H"),
    ("chatmaster/cli/doctor.py", "!"),  # the sign of a finding
    ("chatmaster/cli/doctor.py", "@"),  # a password in a URL
    ("chatmaster/config/formatting.py", "@"),
    ("chatmaster/master/checkup.py", "@"),
    ("chatmaster/runtime/systemd.py", "@"),  # an abstract socket
    ("chatmaster/store/refusals.py", "@* +@all -@dangerous +info +config|get"),  # a rule of Redis's ACL
    ("chatmaster/store/layout.py", "@"),  # between the instance and the database in the name of a channel
    ("chatmaster/store/remote.py", "!trial"),  # where the check of a store writes: beside no room
    ("chatmaster/store/url.py", "@"),
    ("workers/chat/rules/entries.py", "@room"),  # a mention in a text
    ("workers/chat/rules/names.py", "!"),  # the first visible character of ASCII
    ("workers/chat/rules/entries.py", "@"),
    ("workers/transport/frames.py", "!BBH"),
    ("workers/transport/frames.py", "!BBQ"),
}
NAMES_AT_HOME = "workers/addressing.py"
CODES_AT_HOME = "workers/close_codes.py"
# The master imports nothing of the workers, and `chatctl bench` is a client of its own.
CODES_ALLOWED = {"chatmaster/cli/bench_client.py"}
# Integers in the range of close codes that are none: (file, number).
NO_CODES: set[tuple[str, int]] = set()
# Files of at most SMALL lines in `workers/`, each a leaf, a port or an enum.
SMALL = 50
MOST_SMALL = 12
SMALL_FILES = {
    "workers/bus/errors.py",
    "workers/close_codes.py",
    "workers/cluster/keys.py",
    "workers/chat/rules/request_error.py",
    "workers/chat/services.py",
    "workers/ip_addresses.py",
    "workers/node/counters.py",
    "workers/payload.py",
    "workers/ports.py",
    "workers/process/heartbeat.py",
    "workers/threads.py",
}
# Files that docstrings name and that are no files of this checkout: examples of a reader's own.
OTHERS_FILES = {"redis.py", "wave.py", "NAME.lua", "./chatmaster.toml"}


def files(package: str = "") -> list[Path]:
    return [path for name, path in sources.modules().items() if not package or name.split(".")[0] == package]


# The rules.


def layers() -> Iterator[str]:
    for module in sources.modules():
        if may_import(module, module) is None:
            yield f"{module} stands in no table: add it to LEAVES or MAY_IMPORT"
            continue
        yield from (f"{module} imports {name}" for name in sorted(_bound(module)) if not may_import(module, name))


def circles() -> Iterator[str]:
    graph = {module: _bound(module) for module in sources.modules()}
    yield from (" ".join(part) for part in sources.circles(graph))


def _bound(module: str) -> frozenset[str]:
    """What a module imports of the two packages, but for public names that are imported when they are used."""
    return sources.own_imports(module) - PUBLIC_NAMES.get(module, set())


def purity() -> Iterator[str]:
    for module, path in sources.modules().items():
        if unit(module, PURE) is not None:
            yield from (f"{module} imports {target}" for target in sorted(sources.imports(module)) if not _pure(target))
            yield from (f"{module} calls {call}" for call in _more_than_constants(path))


def _pure(module: str) -> bool:
    """Whether a pure module may import a module."""
    path = sources.modules().get(module)
    if path is None:
        return module.split(".")[0] not in IMPURE
    return unit(module, PURE) is not None or module in LEAVES | PURE_ENOUGH or path.name == "__init__.py"


def _more_than_constants(path: Path) -> Iterator[str]:
    attributes = (node for node in ast.walk(sources.tree(path)) if isinstance(node, ast.Attribute))
    used = ((node.value.id, node.attr) for node in attributes if isinstance(node.value, ast.Name))
    for module, name in used:
        if module in ONLY_CONSTANTS_OF and not name.isupper() and name != "Signals":
            yield f"{module}.{name}"


def class_names_in_a_package() -> Iterator[str]:
    yield from (f"{package}: {name}" for (package, name), times in _defined().items() if times > 1)


def class_names_over_all() -> Iterator[str]:
    packages = Counter(name for _, name in _defined())
    yield from (name for name, times in packages.items() if times > 1 and name not in NAMED_TWICE)


def _defined() -> Counter[tuple[str, str]]:
    """How often a package defines a class of a name: (package, name) → times."""
    return Counter((_package(module), name) for module in sources.modules() for name in sources.classes(module))


def _package(module: str) -> str:
    """The folder below `chatmaster` or `workers` that a module stands in; `workers/chat/rules` belongs to the chat."""
    parts = sources.modules()[module].relative_to(sources.ROOT).parts
    return "/".join(parts[:2]) if len(parts) > 2 else parts[0]


def reach_through() -> Iterator[str]:
    for path in files():
        for node in ast.walk(sources.tree(path)):
            if isinstance(node, ast.Attribute) and re.match(r"self\._(app|arbiter)\.\w+\.\w+$", ast.unparse(node)):
                yield f"{place(path)}: {ast.unparse(node)}"


def close_codes() -> Iterator[str]:
    for path in files():
        file = place(path)
        if file == CODES_AT_HOME or file in CODES_ALLOWED:
            continue
        codes = [node.value for node in sources.literals(path) if _looks_like_a_code(node.value)]
        codes += [node.value for node in _codes_in_calls(path) if node.value == 1000]
        yield from (f"{file}: {code!r}" for code in codes if (file, code) not in NO_CODES)


def _looks_like_a_code(value: object) -> bool:
    return type(value) is int and (1001 <= value <= 1015 or 4000 <= value <= 4010) and value != 4000


def _codes_in_calls(path: Path) -> Iterator[ast.Constant]:
    """1000 is most often something else: it counts as an argument of close or fail, and as what a `code` is."""
    for node in ast.walk(sources.tree(path)):
        found: list[ast.expr | None] = []
        if isinstance(node, ast.Call) and re.search(r"(close|fail)\w*$", ast.unparse(node.func)):
            found = [*node.args, *(keyword.value for keyword in node.keywords)]
        elif isinstance(node, ast.arguments):
            names = [*node.posonlyargs, *node.args][::-1]
            pairs: list[tuple[ast.arg, ast.expr | None]] = [*zip(names, node.defaults[::-1], strict=False)]
            pairs += zip(node.kwonlyargs, node.kw_defaults, strict=True)
            found = [default for name, default in pairs if "code" in name.arg]
        elif isinstance(node, ast.Compare) and re.search(r"code\b", ast.unparse(node.left)):
            found = list(node.comparators)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and re.match(r"[^=]*(code|clos)", ast.unparse(node), re.I):
            found = [node.value]
        yield from (constant for constant in found if isinstance(constant, ast.Constant))


def names_with_signs() -> Iterator[str]:
    for path in files():
        file = place(path)
        texts = {node.value for node in sources.literals(path) if isinstance(node.value, str)}
        if file != NAMES_AT_HOME:
            signed = (text for text in texts if text.startswith(("@", "!")) and (file, text) not in NO_NAMES)
            yield from (f"{file}: {text}" for text in signed)


def small_files() -> Iterator[str]:
    for path in files("workers"):
        if path.name != "__init__.py" and path.read_text().count("\n") <= SMALL and place(path) not in SMALL_FILES:
            yield place(path)


def files_named_in_docstrings() -> Iterator[str]:
    for path in [*files(), *sorted((sources.ROOT / "tests").rglob("*.py"))]:
        named = {name for text in sources.docstrings(path) for name in sources.named_files(text)}
        yield from (f"{place(path)}: {name}" for name in named - OTHERS_FILES if not sources.exists(name.lstrip("/")))


RULES: list[Callable[[], Iterator[str]]] = [
    layers,
    circles,
    purity,
    class_names_in_a_package,
    class_names_over_all,
    reach_through,
    close_codes,
    names_with_signs,
    small_files,
    files_named_in_docstrings,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_rule_holds(rule: Callable[[], Iterator[str]]) -> None:
    assert not (found := set(rule())), "\n".join(sorted(found))


PLANTED = {
    "layers": {"workers/bus/x.py": "from workers.chat import app", "workers/chat/app.py": ""},
    "circles": {
        "workers/bus/x.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from workers.bus import y",
        "workers/bus/y.py": "def late():\n    from workers.bus.x import late",
    },
    "purity": {"chatmaster/policy/x.py": "import time"},
    "class_names_in_a_package": {"workers/bus/x.py": "class A: ...", "workers/bus/scripts/y.py": "class A: ..."},
    "class_names_over_all": {"workers/bus/x.py": "class A: ...", "chatmaster/store/y.py": "class A: ..."},
    "reach_through": {"workers/chat/x.py": "class A:\n    def f(self): self._app.hub.join()"},
    "close_codes": {"workers/chat/x.py": "def f(socket): socket.close(1000, 'bye')"},
    "names_with_signs": {"workers/chat/x.py": "def f(user): return f'@{user}'"},
    "small_files": {"workers/chat/x.py": "x = 1"},
    "files_named_in_docstrings": {"workers/chat/x.py": '"""Owns what `nowhere_at_all.py` had."""'},
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_rule_finds_what_breaks_it(
    rule: Callable[[], Iterator[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file, text in PLANTED[rule.__name__].items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(f"{text}\n")
    planted = {file.removesuffix(".py").replace("/", "."): tmp_path / file for file in PLANTED[rule.__name__]}
    monkeypatch.setattr(sources, "ROOT", tmp_path)
    monkeypatch.setattr(sources, "modules", lambda: planted)
    sources.forget()
    try:
        assert len(list(rule())) == 1
    finally:
        sources.forget()


def test_what_is_allowed_is_needed() -> None:
    packages = Counter(name for _, name in _defined())
    assert {name for name in NAMED_TWICE if packages[name] < 2} == set()
    assert len(NAMED_TWICE) <= MOST_NAMED_TWICE
    assert {file for file in SMALL_FILES if not (sources.ROOT / file).exists()} == set()
    assert len(SMALL_FILES) <= MOST_SMALL
    workers = [module for module in sources.modules() if module.split(".")[0] == "workers"]
    assert {name for module in workers for name in sources.own_imports(module)} >= SHARED


def test_the_master_imports_nothing_of_the_workers() -> None:
    assert [
        (module, name)
        for module in sources.modules()
        for name in sources.imports(module)
        if module.split(".")[0] == "chatmaster" and name.split(".")[0] == "workers"
        if name not in PUBLIC_NAMES.get(module, ())
    ] == []


def test_the_master_has_no_thread_and_no_event_loop() -> None:
    used = {(path.name, name) for name, path in _imported_by("chatmaster")}
    found = {pair for pair in used if pair[1].split(".")[0] in ("threading", "asyncio", "multiprocessing")}
    # `chatctl bench` and `chatctl demo` are clients; the master never imports them.
    assert {file for file, _ in found if not file.startswith(("bench", "demo"))} == set()


def _imported_by(package: str) -> Iterator[tuple[str, Path]]:
    for module, path in sources.modules().items():
        if module.split(".")[0] == package:
            yield from ((name, path) for name in sources.imports(module))
