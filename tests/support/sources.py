"""The syntax trees of the project's own modules: imports, classes, literals and docstrings."""

from __future__ import annotations

import ast
import functools
import gc
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("chatmaster", "workers")
_FILE_NAME = re.compile(r"(?<![\w./{<-])[\w-][\w./-]*\.(?:py|lua|js|css|html|md|toml|svg)\b")


@functools.cache
def modules() -> dict[str, Path]:
    """Every module of both packages by its dotted name; a package stands for its `__init__.py`."""
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


@functools.cache
def tree(path: Path) -> ast.Module:
    """The tree of a file. The collector pauses: Python 3.11 loses count of a tree's depth when another thread parses
    during a collection (SystemError, https://github.com/python/cpython/issues/106905)."""
    text = path.read_text()
    paused = gc.isenabled()
    gc.disable()
    try:
        return ast.parse(text)
    finally:
        if paused:
            gc.enable()


def place(path: Path) -> str:
    """A file as messages and lists of exceptions name it: relative to the checkout."""
    return path.relative_to(ROOT).as_posix()


@functools.cache
def imports(module: str) -> frozenset[str]:
    """Every module that a module imports, under `if TYPE_CHECKING` and inside functions too."""
    return frozenset(_imports(modules()[module]))


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module is not None, f"{place(path)}: imports name their package"
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name if name in modules() else node.module for name in names)


@functools.cache
def own_imports(module: str) -> frozenset[str]:
    """The modules of both packages that a module imports."""
    return frozenset(imports(module) & modules().keys()) - {module}


def unit(module: str, units: Iterable[str]) -> str | None:
    """The longest of the units (packages or single modules) that a module belongs to. None: it belongs to none."""
    fitting = [name for name in units if module == name or (name not in PACKAGES and module.startswith(f"{name}."))]
    return max(fitting, key=len, default=None)


def circles(graph: Mapping[str, frozenset[str]]) -> list[list[str]]:
    """The strongly connected parts of more than one node, each sorted (Tarjan's algorithm)."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        order[node] = lowest[node] = len(order)
        stack.append(node)
        for target in sorted(graph[node]):
            if target not in order:
                visit(target)
                lowest[node] = min(lowest[node], lowest[target])
            elif target in stack:
                lowest[node] = min(lowest[node], order[target])
        if lowest[node] == order[node]:
            part = stack[stack.index(node) :]
            del stack[-len(part) :]
            if len(part) > 1:
                found.append(sorted(part))

    for node in graph:
        if node not in order:
            visit(node)
    return sorted(found)


def classes(module: str) -> Iterator[str]:
    """The names of the classes that a module defines, nested ones too."""
    return (node.name for node in ast.walk(tree(modules()[module])) if isinstance(node, ast.ClassDef))


def is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def literals(path: Path, skip: Callable[[ast.AST], bool] = is_docstring) -> Iterator[ast.Constant]:
    """The literals of a file, without what is below a skipped node."""
    pending: list[ast.AST] = [tree(path)]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Constant):
            yield node
        pending.extend(child for child in ast.iter_child_nodes(node) if not skip(child))


def docstrings(path: Path) -> Iterator[str]:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return (ast.get_docstring(node) or "" for node in ast.walk(tree(path)) if isinstance(node, kinds))


def named_files(text: str) -> set[str]:
    """The file names in a text, such as `hub.py` and `rooms/hub.py`."""
    return set(_FILE_NAME.findall(text))


@functools.cache
def tracked() -> frozenset[str]:
    """The files of the checkout, relative to it: what git knows or would add; without git, every file outside dots."""
    listing = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        files = subprocess.run(listing, capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        paths = (path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file())
        files = [path.as_posix() for path in paths if not any(part.startswith(".") for part in path.parts)]
    return frozenset(file for file in files if (ROOT / file).exists())


@functools.cache
def _by_base_name() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for file in tracked():
        found.setdefault(file.rpartition("/")[2], []).append(file)
    return found


def exists(name: str) -> bool:
    """Whether a name that a text gives, whole or by its last parts, is the name of a file in the checkout."""
    return any(f"/{file}".endswith(f"/{name}") for file in _by_base_name().get(name.rpartition("/")[2], ()))


def forget() -> None:
    """Look at imports and files again, for a test that looks at another tree meanwhile."""
    for cached in (imports, own_imports, tracked, _by_base_name):
        cached.cache_clear()
