"""The blocks of code in a document: their language, their place, and the marks that say how each is tested.

A comment on the line before a block marks it:

    <!-- test: skip, needs a second machine -->     the block is only checked, not carried out; the reason is required
    <!-- test: goes on -->                          a Python block that goes on where the last one ended
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from tests.support.sources import ROOT

_BLOCK = re.compile(
    r"^(?:<!-- test: (?P<mark>[^>]*?) -->\n)?^(?P<fence>```)(?P<language>\w*)[^\n]*\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Block:
    """One block of a document."""

    document: str
    line: int
    language: str
    text: str
    mark: str = ""

    @property
    def skipped(self) -> bool:
        return self.mark.startswith("skip")

    @property
    def is_program(self) -> bool:
        """Declares a Worker, and so is served."""
        return bool(re.search(r"^worker = (?:Worker\(|\w+\.worker)|^chat = Chat\(", self.text, re.MULTILINE))

    @property
    def place(self) -> str:
        return f"{self.document}:{self.line}"


def documents() -> list[str]:
    """Every document whose blocks are tested."""
    found = [ROOT / "README.md", *ROOT.glob("README.*.md"), *(ROOT / "etc/doc").rglob("*.md")]
    return sorted(path.relative_to(ROOT).as_posix() for path in found)


def blocks(document: str) -> list[Block]:
    """The blocks of a document; one that goes on has the text of those before it, too."""
    text = (ROOT / document).read_text()
    found: list[Block] = []
    for match in _BLOCK.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        block = Block(document, line, match["language"], match["text"], match["mark"] or "")
        if block.mark == "goes on":
            before = next(one for one in reversed(found) if one.language == block.language)
            block = replace(block, text=f"{before.text}\n{block.text}")
        found.append(block)
    return found


def commands(block: Block) -> list[str]:
    """The commands of a console block (lines that begin with `$ `), or of a shell block (every line)."""
    lines: list[str] = []
    for line in block.text.splitlines():
        if lines and lines[-1].endswith("\\"):
            lines[-1] = f"{lines[-1][:-1].rstrip()} {line.strip()}"
        elif block.language != "console":
            lines.append(line)
        elif line.startswith("$ "):
            lines.append(line[2:])
    return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
