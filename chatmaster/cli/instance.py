"""Which instance a command is about, and how it is asked: the configuration, the control socket, the answers."""

from __future__ import annotations

import math
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chatmaster.errors import NotRunning, TimedOut
from chatmaster.runtime import pidfile

if TYPE_CHECKING:
    from chatmaster.config.loader import Loaded

ANSWER_TIMEOUT = 10.0  # seconds for what needs no waiting on the master's side
COMMAND = "_CHATMASTER_COMMAND"  # in the environment: how the person called chatctl
MOST_SECONDS = 3_153_600_000.0  # a hundred years
_POLL = 0.02  # seconds between two looks at what has no descriptor to wait for

overrides = click.option("--set", "overrides", metavar="KEY=VALUE", multiple=True, help="a setting, as log.level=debug")

which_worker = click.option("--worker", metavar="NAME", help="only this Worker of a program that has several")


@dataclass
class Instance:
    """What the options before the command say."""

    file: str | None = None
    name: str | None = None
    state_dir: str | None = None

    def load(self, overrides: tuple[str, ...] = (), flags: Mapping[str, Any] | None = None) -> Loaded:
        """The whole configuration. Raises ConfigError."""
        from chatmaster.config import loader

        return loader.load(self.file, overrides=overrides, flags={**self._flags(), **(flags or {})})

    def locate(self) -> Loaded:
        """The configuration as far as it says where the master is: a fault elsewhere must not hinder `stop`."""
        from chatmaster.config import loader

        return loader.load(self.file, flags=self._flags(), only="master")

    def arguments(self) -> list[str]:
        """The options again, for a chatctl of the same instance."""
        named = {"--config": self.file, "--name": self.name, "--state-dir": self.state_dir}
        return [part for option, value in named.items() if value is not None for part in (option, value)]

    def _flags(self) -> dict[str, Any]:
        named = {"master.name": self.name, "master.state_dir": self.state_dir}
        return {key: value for key, value in named.items() if value is not None}

    def call(
        self, command: str, args: Mapping[str, Any] | None = None, *, timeout: float | None = ANSWER_TIMEOUT
    ) -> dict[str, Any]:
        """Ask the master; what it says meanwhile goes to stderr. Raises NotRunning, Refused, TimedOut."""
        place = self.locate()
        wait_for_socket(place, timeout)
        from chatmaster.cli import control_client

        return control_client.call(
            place.control_socket, command, dict(args or {}), timeout=timeout, on_progress=progress
        )

    def query(self, what: str, args: Mapping[str, Any], *, worker: str | None = None) -> list[dict[str, Any]]:
        """Ask the workers by way of the master; says on stderr what is missing: whose part, or how many rows.

        `worker` is the program's Worker that is meant; None: all of them, or the chat where only one can do it.
        """
        answer = self.call("query", {"what": what, "args": dict(args), "worker": worker})
        for name, reason in answer.get("refused", {}).items():
            click.echo(f"Worker {name}: {reason}", err=True)
        for slot in answer.get("missing", ()):
            click.echo(f"worker {slot} did not answer in time: its part is missing", err=True)
        rows = list(answer.get("rows", ()))
        if answer.get("truncated"):
            click.echo(f"these are {len(rows):,} of {answer.get('count', 0):,}", err=True)
        return rows

    def follow(self, what: str, args: Mapping[str, Any], *, worker: str | None = None) -> Iterator[dict[str, Any]]:
        """Rows as they come, until the master ends or Ctrl-C."""
        place = self.locate()
        wait_for_socket(place, ANSWER_TIMEOUT)
        from chatmaster.cli import control_client

        asked = {"what": what, "args": dict(args), "worker": worker}
        yield from control_client.stream(place.control_socket, "query", asked)


def command() -> str:
    """How chatctl was called: what a hint names must work where it is read."""
    return os.environ.get(COMMAND, "chatctl")


def warn(loaded: Loaded) -> Loaded:
    """Say on stderr what the configuration passes over; returns the same."""
    for warning in loaded.warnings:
        click.echo(f"chatctl: warning: {warning}", err=True)
    return loaded


def progress(line: str) -> None:
    """One line of what is going on."""
    click.echo(line, err=True)


class Duration(click.FloatRange):
    """A number of seconds as an option: neither `nan` nor `inf`, which click takes for numbers."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As click's own."""
        found = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"{value} is no number of seconds.", param, ctx)
        return found


def wait_for_socket(place: Loaded, timeout: float | None) -> None:
    """Return once somebody listens at the control socket. Raises NotRunning where no master lives that would.

    A master that starts holds its pid file for a while before it listens, and the socket file of one that was killed
    may still be there.
    """
    deadline = time.monotonic() + (ANSWER_TIMEOUT if timeout is None else timeout)
    while not _is_listened_on(place.control_socket):
        pid = pidfile.holder(place.pid_file)
        if pid is None:
            raise NotRunning(_not_running(place))
        if time.monotonic() > deadline:
            raise TimedOut(f"the master (pid {pid}) runs, but does not listen at {place.control_socket}")
        time.sleep(_POLL)


def _not_running(place: Loaded) -> str:
    """The sentence for an instance that does not run, with the names of those that do in the same directory."""
    sentence = f"{place.settings.master.name} is not running (no master at {place.control_socket})"
    files = (file for file in sorted(place.state_dir.glob("*.pid")) if file != place.pid_file)
    running = [file.stem for file in files if pidfile.holder(file) is not None]
    return f"{sentence}; running here: {', '.join(f'--name {name}' for name in running)}" if running else sentence


def _is_listened_on(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        try:
            sock.connect(str(path))
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            return False
        except OSError:
            pass  # a full queue, or not ours: the command itself will say
    return True


def wait_until(condition: Callable[[], bool], timeout: float | None, otherwise: str) -> None:
    """Wait for a condition that nobody reports. Raises TimedOut with the sentence `otherwise`."""
    deadline = None if timeout is None else time.monotonic() + timeout
    while not condition():
        if deadline is not None and time.monotonic() > deadline:
            raise TimedOut(otherwise)
        time.sleep(_POLL)


def is_gone(pid_file: Path) -> bool:
    """Whether no master holds the pid file any more."""
    return pidfile.holder(pid_file) is None
