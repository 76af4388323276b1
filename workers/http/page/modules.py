"""Joins the page's ES modules into one script: they are written as modules and served without a build.

Comments and indentation, a third of the bytes on the wire, stay behind; nothing else of a module changes.

Only one form of import and export is understood, which is checked; every name is therefore unique over all modules, or
the browser says so at once. Modules come in the order in which they need each other.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_IMPORT = re.compile(r'^import \{[^}]*\} from "(?P<path>[^"]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const|let)\b)", re.MULTILINE)
_LEFT = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)
_DOCUMENTATION = re.compile(r"^[ \t]*/\*\*(?:(?!\*/).)*\*/[ \t]*\n|/\*\*(?:(?!\*/).)*\*/ ?", re.DOTALL | re.MULTILINE)
_REMARK = re.compile(r"\s*(?://.*|/\*.*\*/\s*)?\n")  # a line of comment, or with nothing


class NotBundled(ValueError):
    """A module is written in a way that this cannot join."""


def bundle(entry: str, read: Callable[[str], str], *, keep: str = "") -> str:
    """The script of `entry` and all that it imports; `read` gives the text at a path like ``app/main.js``.

    Exports of the entry stay. An import from the address `keep` stays too, at the top.
    """
    done: dict[str, str] = {}
    outside: dict[str, None] = {}

    def visit(path: str) -> None:
        if path in done:
            return
        done[path] = ""  # a cycle ends here: functions are only called once all is loaded
        text = read(path)
        for found in _IMPORT.finditer(text):
            if found["path"] == keep:
                outside[found[0]] = None
            else:
                visit(_relative(path, found["path"]))
        del done[path]  # it comes after those that it needs
        done[path] = _without_imports(path, text, exports=path == entry)

    visit(entry)
    return "".join(outside) + "".join(done.values())


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
