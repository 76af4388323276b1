"""Carries out the blocks of one document, as a reader does: one after the other, in one folder, with one server.

Addresses, the store and the secret of the documents are replaced by those of this run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from tests.site.blocks import Block, commands
from tests.support.processes import free_port
from tests.support.sources import ROOT

TIMEOUT = 40.0  # seconds for a block
SECRET = "0123456789abcdef" * 4
_START = re.compile(r"\bchatctl (?:--\S+ \S+ )*start\b|\bpython app\.py\b")
_STUB = '#!/bin/sh\nPYTHONPATH={root} exec {python} -P -m chatmaster "$@"\n'
_PYTHON = '#!/bin/sh\nPYTHONPATH={root} exec {python} "$@"\n'


class Performance:
    """A folder with `chatctl`, in which the blocks of a document are carried out."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="b-"))  # short: a unix socket's path ends at 107 bytes
        self.port = free_port()
        self._exports: dict[str, str] = {}
        self._running = False
        for name, text in (("chatctl", _STUB), ("python", _PYTHON)):
            for path in (self.folder / "bin" / name, self.folder / "path" / name):
                path.parent.mkdir(exist_ok=True)
                path.write_text(text.format(root=ROOT, python=sys.executable))
                path.chmod(0o755)

    def __enter__(self) -> Performance:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def perform(self, block: Block) -> None:
        """Carry a block out. Raises AssertionError with what it wrote."""
        if block.language in ("console", "sh", "bash"):
            self._shell(block)
        elif block.language == "python" and block.is_program:
            self._serve(block)
        elif block.language == "python":
            self._script(block)
        elif block.language in ("js", "javascript"):
            self._node(block)
        elif block.language == "toml" and "tutorial" in block.document:
            (self.folder / "chatmaster.toml").write_text(block.text)

    def stop(self) -> None:
        """Stop the server of this folder, where one runs."""
        if self._running:
            self._run([str(self.folder / "bin/chatctl"), "stop"], "stop", fails=True)
            self._running = False

    # ---- kinds of blocks -----------------------------------------------------------------------------

    def _shell(self, block: Block) -> None:
        lines = [self._replaced(line) for line in commands(block)]
        if any(_START.search(line) for line in lines):
            self.stop()
            self._running = True
        else:
            self._ensure_server()
        script = "set -e\n" + "\n".join(lines) + f"\nexport -p > {self.folder}/exports\n"
        self._run(["bash", "-c", script], block.place)
        self._remember_exports()

    def _serve(self, block: Block) -> None:
        """Start the program, wait until every worker answers, and stop it; the file stays for later commands."""
        self.stop()
        (self.folder / "app.py").write_text(self._replaced(block.text))
        self._start(block.place, "app.py")
        self.stop()

    def _script(self, block: Block) -> None:
        if re.search(r"connect\(|Gateway\(", block.text):
            self._ensure_server()
        path = self.folder / "script.py"
        path.write_text(self._replaced(block.text))
        self._run([str(self.folder / "bin/python"), str(path)], block.place)

    def _node(self, block: Block) -> None:
        self._ensure_server()
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/chat.js", timeout=20) as answer:
            (self.folder / "chat.mjs").write_bytes(answer.read())
        text = re.sub(r'"http[^"]*/chat\.js"|"chatmaster-client"', '"./chat.mjs"', self._replaced(block.text))
        token = 'const token = "";\n' if re.search(r"\btoken\b", text) else ""
        (self.folder / "block.mjs").write_text(f"{token}{text}\nprocess.exit(0);\n")
        self._run(["node", "--no-warnings", "--experimental-websocket", "block.mjs"], block.place)

    # ---- the server ----------------------------------------------------------------------------------

    def _ensure_server(self) -> None:
        if not self._running:
            self._start("the chat")

    def _start(self, what: str, *arguments: str) -> None:
        self._running = True
        self._run([str(self.folder / "bin/chatctl"), "start", "-d", "-n", "1", *arguments], what)

    def _run(self, command: Sequence[str], what: str, *, fails: bool = False) -> None:
        done = subprocess.run(
            command, cwd=self.folder, env=self._environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=TIMEOUT,
        )  # fmt: skip
        log = "".join(path.read_text(errors="replace")[-3000:] for path in (self.folder / "state").glob("*.log"))
        assert fails or done.returncode == 0, f"{what}: exit code {done.returncode}\n{done.stdout}{done.stderr}\n{log}"

    def _environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("CHATMASTER_", "_CHATMASTER_"))}
        return {
            **kept,
            "PATH": f"{self.folder}/path:{kept.get('PATH', '')}",
            "CHATMASTER_MASTER_STATE_DIR": str(self.folder / "state"),
            "CHATMASTER_MASTER_DRAIN_TIMEOUT": "0.2",
            "CHATMASTER_SERVER_LISTEN": f'["ws://127.0.0.1:{self.port}"]',
            "CHATMASTER_AUTH_SECRET": SECRET,
            **self._exports,
        }

    def _remember_exports(self) -> None:
        text = (self.folder / "exports").read_text()
        for name, value in re.findall(r'^declare -x (CHATMASTER_\w+)="(.*)"$', text, re.MULTILINE):
            if name not in ("CHATMASTER_SERVER_LISTEN",):
                self._exports[name] = value.replace("\\", "")

    def _replaced(self, text: str) -> str:
        text = re.sub(r"(127\.0\.0\.1|localhost):8000", rf"\g<1>:{self.port}", text)
        return text.replace("redis://127.0.0.1:6379/0", f"unix://{self.folder}/state/chat.store/store.sock")
