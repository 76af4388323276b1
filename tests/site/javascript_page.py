"""The page of the JavaScript client, from the JSDoc of the modules that `/chat.js` consists of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from tests.site.markdown import code, table
from tests.support.sources import ROOT

CHAT = ROOT / "workers/http/page/chat"
_MEMBER = re.compile(
    r"^  /\*\*((?:[^*]|\*(?!/))*)\*/\n  (?:async )?(get )?(\w+)\(([^)]*(?:\{[^}]*\})?[^)]*)\) \{$", re.MULTILINE
)
_FIELD = re.compile(r"^ \* @property \{(.+)\} (\[?\w+\]?) ?(.*)$")
_OWN = {"user", "name", "rooms", "on", "read", "typing", "open", "nudge", "close"}
_INTRO = """# The client for JavaScript

`/chat.js` of a running server, for browsers and Node, without dependencies. It reconnects by itself, gives each message
of a room in order and once, and carries out each request once. This page is made from the module's own comments.
The package `chatmaster-client` for npm (`cd etc/javascript/client && npm pack`) is the same module with types, a `Room`
that follows messages and people for user interfaces, and React's hook `useRoom` (`chatmaster-client/react`).

```js
import { connect } from "http://127.0.0.1:8000/chat.js";

const chat = connect("ws://127.0.0.1:8000/", { rooms: ["lobby"], name: "Ada" });
chat.on("message", ({ from, text }) => console.log(from.name, text));
await chat.say("lobby", "hello");
chat.close();
```
"""


class Member(NamedTuple):
    """A method or a getter."""

    name: str
    parameters: str
    about: str
    returns: str


def render() -> str:
    """The page."""
    chat, verbs, wire = ((CHAT / name).read_text() for name in ("chat.js", "verbs.js", "wire.js"))
    own = [member for member in members(chat) if member.name in _OWN]
    requests = [member for member in members(verbs) if member.name != "request"]
    return "\n".join(
        [
            _INTRO,
            "## connect(url, options)\n\nConnects at once and stays connected until `close`.\n",
            table(("option", "type", ""), properties(chat, "Options")),
            "\n## The client\n",
            *(_section(member) for member in own),
            "\n## Requests\n\nEach returns a promise of the server's answer, and rejects with `ChatError`: `code` is",
            "one of the [error codes](codes.md#error-codes), or `ended`.\n",
            *(_section(member) for member in requests),
            "\n## Events\n\n`chat.on(type, listener)` calls the listener with the detail.\n",
            table(("event", "detail"), [(name, kind) for name, kind, _ in properties(wire, "Events")]),
            "\n### state\n",
            table(("field", "type", ""), properties(chat, "State")),
            *_typedefs(wire),
        ]
    )


def members(text: str) -> Iterator[Member]:
    """Every documented method of a module's class."""
    for found in _MEMBER.finditer(text):
        comment, getter, name, parameters = found.groups()
        lines = [line.strip().removeprefix("*").strip() for line in comment.splitlines()]
        about = " ".join(line for line in lines if not line.startswith("@") and line).strip()
        prose = about.partition(" @")[0]
        returns = next(
            (line[len("@returns {") :].partition("}")[0] for line in lines if line.startswith("@returns")), ""
        )
        yield Member(name, "" if getter else f"({_short(parameters)})", prose, returns)


def properties(text: str, name: str) -> list[tuple[str, str, str]]:
    """Name, type and meaning of every property of a typedef."""
    rows: list[list[str]] = []
    inside = False
    for line in text.splitlines():
        if "@typedef" in line:
            inside = bool(re.search(rf"@typedef \{{object\}} {name}\b", line))
        elif inside and (found := _FIELD.match(line)):
            rows.append([code(found[2].strip("[]")), code(found[1]), found[3]])
        elif inside and rows and line.startswith(" *   "):
            rows[-1][2] += " " + line[3:].strip()
        elif line.startswith(" */"):
            inside = False
    return [(name, kind, about.strip()) for name, kind, about in rows]


def _section(member: Member) -> str:
    result = f" → `{member.returns}`" if member.returns else ""
    return f"### `{member.name}{member.parameters}`\n\n{member.about}{result}\n"


def _typedefs(text: str) -> Iterator[str]:
    for name in ("Entry", "RoomState", "Welcome"):
        yield f"\n### {name}\n"
        yield table(("field", "type", ""), properties(text, name))


def _short(parameters: str) -> str:
    """Parameters as a caller sees them: an object of options by its name alone."""
    return re.sub(r"\{[^}]*\} = \{\}|options = \{\}", "options?", parameters)
