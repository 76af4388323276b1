"""`chatctl top` in a real terminal: it draws what fits, obeys keys, and leaves the terminal as it was."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable

from tests.support.server import Chatmaster


class Terminal:
    """A command in a terminal of its own."""

    def __init__(self, command: list[str], environment: dict[str, str], *, width: int, height: int) -> None:
        self.master, self.slave = pty.openpty()
        self.resize(width, height)
        self.before = termios.tcgetattr(self.slave)
        self.text = ""
        self.process = subprocess.Popen(
            command, env={**environment, "TERM": "xterm"}, stdin=self.slave, stdout=self.slave, stderr=self.slave
        )

    def resize(self, width: int, height: int) -> None:
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def expect(self, text: str, timeout: float = 30.0) -> None:
        """Read on until it has come since the last thing that was expected."""
        end = time.monotonic() + timeout
        while text not in self.text:
            readable, _, _ = select.select([self.master], [], [], max(0.0, end - time.monotonic()))
            assert readable, f"{text!r} did not come: {self.text[-2000:]!r}"
            self.text += os.read(self.master, 65_536).decode(errors="replace")
        self.text = self.text.partition(text)[2]

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        os.close(self.master)
        os.close(self.slave)


def test_top_draws_sorts_and_leaves_the_terminal_as_it_was(chatmaster: Callable[..., Chatmaster]) -> None:
    server = chatmaster(workers=2)
    terminal = Terminal(server.command("top", "--sort", "memory"), server.environment, width=100, height=24)
    try:
        terminal.expect("\x1b[?1049h")
        terminal.expect("sorted by memory")
        terminal.expect("deliveries/s")
        terminal.type("\x1b[C")
        terminal.expect("sorted by dropped")
        terminal.type("r")
        terminal.expect("sorted by dropped reversed")
        terminal.resize(40, 8)
        terminal.expect("sorted by dropped revers")
        terminal.type("q")
        terminal.expect("\x1b[?1049l")
        assert terminal.process.wait(10) == 0
        assert termios.tcgetattr(terminal.slave) == terminal.before
    finally:
        terminal.close()


def test_without_a_server_the_screen_is_not_taken(chatmaster: Callable[..., Chatmaster]) -> None:
    server = chatmaster(start=False)
    terminal = Terminal(server.command("top"), server.environment, width=80, height=24)
    try:
        terminal.expect("is not running")
        assert terminal.process.wait(10) == 3
        assert "\x1b[?1049h" not in terminal.text
    finally:
        terminal.close()
