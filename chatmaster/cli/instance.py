"""The instance that a command addresses: its configuration, its control socket, its answers."""

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

ANSWER_TIMEOUT = 10.0  # seconds for a command that the master answers at once
COMMAND = "_CHATMASTER_COMMAND"  # environment variable: how the user called chatctl
MOST_SECONDS = 3_153_600_000.0  # a hundred years
_POLL = 0.02  # seconds between two checks of a condition without a descriptor to wait for

overrides = click.option("--set", "overrides", metavar="KEY=VALUE", multiple=True, help="a setting, as log.level=debug")

_INSTANCE_OPTIONS = {
    "file": ("--config", "FILE", "the configuration file"),
    "name": ("--name", "NAME", "the instance, as master.name; a second server on a machine needs a name of its own"),
    "state_dir": ("--state-dir", "DIR", "as master.state_dir"),
}

as_json = click.option("--json", "as_json", is_flag=True, help="print JSON")

which_worker = click.option("--worker", metavar="NAME", help="only this Worker of a program that has several")


@dataclass
class Instance:
    """The instance that the options select."""

    file: str | None = None
    name: str | None = None
    state_dir: str | None = None

    def load(self, overrides: tuple[str, ...] = (), flags: Mapping[str, Any] | None = None) -> Loaded:
        """The whole configuration. Raises ConfigError."""
        from chatmaster.config import loader

        return loader.load(self.file, overrides=overrides, flags={**self._flags(), **(flags or {})})

    def locate(self) -> Loaded:
        """The configuration of the section `master` only, so that a fault elsewhere does not prevent `stop`."""
        from chatmaster.config import loader

        return loader.load(self.file, flags=self._flags(), only="master")

    def arguments(self) -> list[str]:
        """The options that select this instance, as command line arguments."""
        named = {"--config": self.file, "--name": self.name, "--state-dir": self.state_dir}
        return [part for option, value in named.items() if value is not None for part in (option, value)]

    def _flags(self) -> dict[str, Any]:
        named = {"master.name": self.name, "master.state_dir": self.state_dir}
        return {key: value for key, value in named.items() if value is not None}

    def call(
        self, command: str, args: Mapping[str, Any] | None = None, *, timeout: float | None = ANSWER_TIMEOUT
    ) -> dict[str, Any]:
        """Send a command to the master and return the answer; progress goes to stderr.

        Raises NotRunning, RefusedByMaster, TimedOut.
        """
        place = self.locate()
        wait_for_socket(place, timeout)
        from chatmaster.cli import control_client

        return control_client.call(
            place.control_socket, command, dict(args or {}), timeout=timeout, on_progress=progress
        )

    def query(self, what: str, args: Mapping[str, Any], *, worker: str | None = None) -> list[dict[str, Any]]:
        """Ask the workers through the master. Missing answers and rows are reported on stderr.

        `worker` names one Worker of the program; None means all of them, or the chat where only the chat can answer.
        """
        answer = self.call("query", {"what": what, "args": dict(args), "worker": worker})
        for name, reason in answer.get("refused", {}).items():
            click.echo(f"Worker {name}: {reason}", err=True)
        for slot in answer.get("missing", ()):
            click.echo(f"worker {slot} did not answer in time: its rows are missing", err=True)
        rows = list(answer.get("rows", ()))
        if answer.get("truncated"):
            click.echo(f"the first {len(rows):,} of {answer.get('count', 0):,} rows", err=True)
        return rows

    def follow(self, what: str, args: Mapping[str, Any], *, worker: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield rows as they arrive, until the master ends or Ctrl-C."""
        place = self.locate()
        wait_for_socket(place, ANSWER_TIMEOUT)
        from chatmaster.cli import control_client

        asked = {"what": what, "args": dict(args), "worker": worker}
        yield from control_client.stream(place.control_socket, "query", asked)


def command() -> str:
    """The chatctl command as the user called it, for hints that can be copied."""
    return os.environ.get(COMMAND, "chatctl")


def warn(loaded: Loaded) -> Loaded:
    """Print the warnings of a configuration on stderr and return the configuration."""
    for warning in loaded.warnings:
        click.echo(f"chatctl: warning: {warning}", err=True)
    return loaded


def progress(line: str) -> None:
    """Print one line of progress on stderr."""
    click.echo(line, err=True)


class Duration(click.FloatRange):
    """An option in seconds. `nan` and `inf`, which click accepts, are refused."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Convert the text; fail for a number that is not finite."""
        found = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"{value} is not a number of seconds.", param, ctx)
        return found


def wait_for_socket(place: Loaded, timeout: float | None) -> None:
    """Wait until the control socket accepts connections.

    A starting master holds its pid file before it listens, and a killed master leaves its socket file behind.
    Raises NotRunning if no master holds the pid file, TimedOut after `timeout` seconds.
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
            pass  # a full queue or a lack of permission: the command itself reports it
    return True


def wait_until(condition: Callable[[], bool], timeout: float | None, otherwise: str, *, poll: float = _POLL) -> None:
    """Poll until a condition holds. Raises TimedOut with the sentence `otherwise` after `timeout` seconds."""
    deadline = None if timeout is None else time.monotonic() + timeout
    while not condition():
        if deadline is not None and time.monotonic() > deadline:
            raise TimedOut(otherwise)
        time.sleep(poll)


def is_gone(pid_file: Path) -> bool:
    """True if no master holds the pid file."""
    return pidfile.holder(pid_file) is None


def instance_options(hidden: bool) -> list[click.Option]:
    """The options that select the instance. The help shows them before the command; they also work after it."""

    def remember(context: click.Context, option: click.Parameter, value: str | None) -> None:
        if value is not None and option.name is not None:
            setattr(context.ensure_object(Instance), option.name, value)

    return [
        click.Option(
            [flag, field],
            metavar=metavar,
            help=text,
            hidden=hidden,
            expose_value=False,
            callback=remember,
            is_eager=True,
        )
        for field, (flag, metavar, text) in _INSTANCE_OPTIONS.items()
    ]
