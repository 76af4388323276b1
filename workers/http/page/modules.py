"""Joins the page's ES modules into one script: they are written as modules and served without a build.

Comments and indentation, a third of the bytes on the wire, stay behind; nothing else of a module changes.

Only one form of import and export is understood, which is checked; every name is therefore unique over all modules, or
the browser says so at once. Modules come in the order in which they need each other.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

LATER = "./later.js"  # stands for the address of the second script

_IMPORT = re.compile(r'^import \{(?P<names>[^}]*)\} from "(?P<path>[^"]+)";\n', re.MULTILINE)
_LATER_IMPORT = re.compile(r'\bimport\("(?P<path>\./[a-z_]+\.js)"\)')
_EXPORTED = re.compile(r"^export (?:async )?(?:function|class|const) (\w+)", re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const|let)\b)", re.MULTILINE)
_LEFT = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)
_DOCUMENTATION = re.compile(r"^[ \t]*/\*\*(?:(?!\*/).)*\*/[ \t]*\n|/\*\*(?:(?!\*/).)*\*/ ?", re.DOTALL | re.MULTILINE)
_REMARK = re.compile(r"\s*(?://.*|/\*.*\*/\s*)?\n")  # a line of comment, or with nothing


class NotBundled(ValueError):
    """A module is written in a way that this cannot join."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A script, and a second one that it loads once that is needed: what its modules `import("./part.js")`; or "".

    The second script exports `start`, which takes what its modules import from those of the first, and gives what they
    export. In the first, `later()` stands for each such import: a promise of it. `LATER` marks the second's address.
    """

    script: str
    later: str


def bundle(entry: str, read: Callable[[str], str], *, keep: str = "") -> Bundle:
    """The scripts of `entry` and all that it imports; `read` gives the text at a path like ``app/main.js``.

    Exports of the entry stay. An import from the address `keep` stays too, at the top.
    """
    outside: dict[str, None] = {}
    first = _joined([entry], read, keep=keep, outside=outside, exports=entry)
    wanted = {
        _relative(path, found["path"]): None for path, text in first.items() for found in _LATER_IMPORT.finditer(text)
    }
    script = "".join(outside) + "".join(first.values())
    if not wanted:
        return Bundle(script, "")
    later = _joined(list(wanted), read, known=frozenset(first))
    shared = sorted({name for path in later for name in _imported(path, read(path), frozenset(first))})
    given = sorted(name for path in wanted for name in _EXPORTED.findall(read(path)))
    body = "".join(later.values())
    return Bundle(
        _LATER_IMPORT.sub("later()", script) + _later_function(shared),
        f"export function start({{ {', '.join(shared)} }}) {{\n{body}return {{ {', '.join(given)} }};\n}}\n",
    )


def _joined(
    entries: list[str], read: Callable[[str], str], *, keep: str = "", outside: dict[str, None] | None = None,
    known: frozenset[str] = frozenset(), exports: str = "",
) -> dict[str, str]:  # fmt: skip
    """The text of the entries and of what they import, in the order in which they need each other, by path."""
    done: dict[str, str] = {}

    def visit(path: str) -> None:
        if path in done or path in known:
            return
        done[path] = ""  # a cycle ends here: functions are only called once all is loaded
        text = read(path)
        for found in _IMPORT.finditer(text):
            if outside is not None and found["path"] == keep:
                outside[found[0]] = None
            else:
                visit(_relative(path, found["path"]))
        del done[path]  # it comes after those that it needs
        done[path] = _without_imports(path, text, exports=path == exports)

    for entry in entries:
        visit(entry)
    return done


def _imported(path: str, text: str, known: frozenset[str]) -> list[str]:
    """The names that a module imports from modules that are `known` already."""
    return [
        name
        for found in _IMPORT.finditer(text)
        if _relative(path, found["path"]) in known
        for name in found["names"].replace(",", " ").split()
    ]


def _later_function(shared: list[str]) -> str:
    """What loads the second script at most once; where it could not be had, the next call asks again."""
    return f"""let coming, tries = 0;
function later() {{
coming ??= import("{LATER}" + (tries++ ? `?${{tries}}` : "")).then(
({{ start }}) => start({{ {", ".join(shared)} }}),
(error) => {{ coming = undefined; throw error; }},
);
return coming;
}}
"""


def stripped(text: str) -> str:
    """A script or a style sheet without JSDoc, lines of comment and indentation.

    Lines inside a template literal keep theirs: one begins and ends where a line has an odd number of backquotes.
    """
    inside, lines = False, []
    for line in _DOCUMENTATION.sub("", text).splitlines(keepends=True):
        if inside or not _REMARK.fullmatch(line):
            lines.append(line if inside else line.lstrip(" \t"))
            inside ^= line.count("`") % 2 == 1
    return "".join(lines)


def _relative(path: str, target: str) -> str:
    if not target.startswith("./") or "/" in target[2:]:
        raise NotBundled(f"{path}: only modules of the same directory can be imported: {target}")
    return f"{path.rpartition('/')[0]}/{target[2:]}"


def _without_imports(path: str, text: str, *, exports: bool) -> str:
    text = _IMPORT.sub("", text)
    if not exports:
        text = _EXPORT.sub("", text)
        left = _LEFT.search(text)
        if left:
            raise NotBundled(f"{path}: {left[0]}")
    return stripped(text)
