"""`python -m tests.support.gateways`: write the methods of `Gateway` from those of `AsyncGateway`, without `await`.

`workers/async_gateway.py` is the source of all methods that call a verb, and of how a call is made. What differs, the
client of the store and the life of the object, is in each file by itself. A test keeps the two alike.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.support.sources import ROOT

SOURCE: Final = ROOT / "workers/async_gateway.py"
TARGET: Final = ROOT / "workers/gateway.py"
_VERBS: Final = re.compile(r"(?<=\n)    # ---- messages of the chat -.*?(?=    # ---- life -)", re.DOTALL)
_CALLS: Final = re.compile(r"(?<=\n)    # ---- the store -.*?(?=\n\n\ndef |\Z)", re.DOTALL)


def written() -> str:
    """The text of `workers/gateway.py` with the methods as the source has them now."""
    source, text = SOURCE.read_text(), TARGET.read_text()
    for section in (_VERBS, _CALLS):
        found, place = section.search(source), section.search(text)
        assert found is not None and place is not None, "a section lost its heading"
        blocking = found[0].replace("async def ", "def ").replace("await ", "")
        text = text[: place.start()] + blocking + text[place.end() :]
    return _formatted(text)


def _formatted(text: str) -> str:
    ruff = Path(sys.executable).with_name("ruff")
    done = subprocess.run(
        [str(ruff), "format", "--stdin-filename", str(TARGET), "-"],
        input=text,
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return done.stdout


if __name__ == "__main__":
    TARGET.write_text(written())
