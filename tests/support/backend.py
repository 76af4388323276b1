"""An HTTP server as a process of its own, which answers, hangs, cuts off or talks nonsense, as the test says.

    with Backend() as backend:
        backend.answers("/keys", {"keys": []})
        backend.url("/keys")
        backend.requests()      # what came: path, headers, body

`python tests/support/backend.py FOLDER PORT` is the server itself: it has nothing of the project.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

START_TIMEOUT = 20.0  # seconds
HANG = 60.0
SURPLUS = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{"allow": true}'


class Backend:
    """The server; it listens while it is used as a context manager, `stop` and `start` in between."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="cm-"))
        (self._folder / "answers.json").write_text("{}")
        (self._folder / "requests").touch()
        self._answers: dict[str, dict[str, Any]] = {}
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.port: int = sock.getsockname()[1]

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def answers(self, path: str, body: Any, *, status: int = 200, how: str = "answer", **headers: str) -> None:
        """Answer requests for a path: `how` is answer, hang, cut (in the middle), close (without a byte), drip or
        two (a whole answer `{"allow": true}` follows in the same write).

        A `body` that is no string is sent as JSON. `headers` are further ones, with `_` for `-`.
        """
        text = body if isinstance(body, str) else json.dumps(body)
        self._answers[path] = {"status": status, "body": text, "how": how, "headers": headers}
        new = self._folder / "answers.new"
        new.write_text(json.dumps(self._answers))
        os.replace(new, self._folder / "answers.json")

    def requests(self, path: str = "") -> list[dict[str, Any]]:
        """What came so far, of one path: `path`, `headers` in lower case, `body`."""
        rows = [json.loads(line) for line in (self._folder / "requests").read_text().splitlines()]
        return [row for row in rows if path in ("", row["path"])]

    def start(self) -> Backend:
        command = [sys.executable, "-I", __file__, str(self._folder), str(self.port)]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except OSError:
                assert time.monotonic() < deadline and self._process.poll() is None, "the backend does not start"
                time.sleep(0.02)

    def stop(self, how: int = signal.SIGKILL) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait()
            self._process = None

    def __enter__(self) -> Backend:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


class Handler(BaseHTTPRequestHandler):
    """Answers as `answers.json` says, and writes each request down."""

    protocol_version = "HTTP/1.1"
    folder: Path

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode(errors="replace")
        headers: Mapping[str, str] = {name.lower(): value for name, value in self.headers.items()}
        with (self.folder / "requests").open("a") as file:  # one write, so that lines of threads do not mix
            file.write(json.dumps({"path": self.path, "headers": headers, "body": body}) + "\n")
        answer = json.loads((self.folder / "answers.json").read_text()).get(self.path)
        if answer is None:
            answer = {"status": 404, "body": "not here", "how": "answer", "headers": {}}
        if answer["how"] == "hang":
            time.sleep(HANG)
        if answer["how"] == "close":
            self.close_connection = True
            return
        data = answer["body"].encode()
        self.send_response(answer["status"])
        for name, value in answer["headers"].items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        if answer["how"] == "cut":
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True
        elif answer["how"] == "drip":
            for place in range(len(data)):
                self.wfile.write(data[place : place + 1])
                time.sleep(0.1)
        elif answer["how"] == "two":
            self.wfile.write(data + SURPLUS)
        else:
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is printed."""


def serve(folder: str, port: int) -> None:
    Handler.folder = Path(folder)
    ThreadingHTTPServer.daemon_threads = True
    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
