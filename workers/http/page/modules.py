"""Joins the page's ES modules into one script: they are written as modules and served without a build.

Only one form of import and export is understood, which is checked; every name is therefore unique over all modules, or
the browser says so at once. Modules come in the order in which they need each other.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_IMPORT = re.compile(r'^import \{[^}]*\} from "(?P<path>[^"]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const|let)\b)", re.MULTILINE)
_LEFT = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)


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
    return "".join(outside) + "\n".join(done.values())


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
    return text
