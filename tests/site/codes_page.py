"""The page of all codes: exit codes, close codes and error codes, from the enums and the types that define them."""

from __future__ import annotations

import ast
from pathlib import Path

from chatmaster.contract import ExitCode
from tests.site.markdown import code, table
from tests.support.sources import ROOT
from workers.chat.hooks import ERROR_CODES
from workers.close_codes import NEVER_SENT, CloseCode
from workers.verbs.request import STATUS

EXIT_CODES = {
    ExitCode.DONE: "it is done",
    ExitCode.FAILED: "it failed; the message says why. `status --check`, `doctor`: something is wrong",
}


def render() -> str:
    """The page."""
    about = comments(ROOT / "chatmaster/contract.py", "ExitCode")
    exits = [(code(int(one)), EXIT_CODES.get(one) or about[one.name]) for one in ExitCode]
    closes = [(code(int(one)), code(one.name), text) for one, text in close_codes()]
    return "\n".join(
        [
            "# Codes\n\n## Exit codes\n\nOf `chatctl`, of the master and of a worker.\n",
            table(("code", "meaning"), exits),
            "\nA command that Ctrl-C ends has 130.\n",
            "\n## Close codes\n\nWhy a WebSocket ends. What a client does then is in",
            "[the protocol](../protocol.md#close-codes).\n",
            table(("code", "name", "meaning"), closes),
            "\n## Error codes\n\nThe `code` of an `error` of the chat, of a `Refuse` of a program, and of a problem",
            "of the HTTP API.\n",
            table(("code", "in the chat", "HTTP status of the API"), _errors()),
            "\nWhat was done then, and what a client may try: [the protocol](../protocol.md#errors),",
            "[the API](../api.md#errors).\n",
        ]
    )


def close_codes() -> list[tuple[CloseCode, str]]:
    """Every close code with what it means."""
    about = comments(ROOT / "workers/close_codes.py", "CloseCode")
    return [(one, about[one.name]) for one in CloseCode if one not in NEVER_SENT or one.name in about]


def comments(path: Path, name: str) -> dict[str, str]:
    """The comment behind each member of an enum."""
    text = path.read_text()
    lines = text.splitlines()
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            members = [one for one in node.body if isinstance(one, ast.Assign)]
            rows = {ast.unparse(one.targets[0]): lines[one.lineno - 1].partition("#")[2].strip() for one in members}
            return {member: text for member, text in rows.items() if text} | {
                member: member.lower().replace("_", " ") for member, text in rows.items() if not text
            }
    raise LookupError(f"{path}: no class {name}")


def _errors() -> list[tuple[str, str, str]]:
    names = dict.fromkeys((*ERROR_CODES, *STATUS))
    return [(code(name), "yes" if name in ERROR_CODES else "", str(STATUS.get(name, ""))) for name in names]
