"""`chatctl start`: the master in the foreground, or detached, with its readiness reported over a pipe.

The detached master is a new `chatctl start` in its own session. `restart` executes the same command line again, so the
master stays in the background and keeps its pid. The master writes one JSON line to the descriptor named by READY_FD:
``{"ok": true, ...}`` once every worker answers, or ``{"ok": false, "exit": N, "error": TEXT}``.
"""

from __future__ import annotations

import json
import os
import select
import shlex
import signal
import site
import subprocess
import sys
import sysconfig
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from chatmaster import addresses
from chatmaster.cli.instance import Instance, command
from chatmaster.config.loader import Loaded
from chatmaster.contract import ExitCode
from chatmaster.errors import AlreadyRunning, ApplicationError, ChatmasterError, RefusedByMaster, TimedOut, UsageError
from chatmaster.runtime import pidfile, privileges, statedir

READY_FD = "_CHATMASTER_READY_FD"  # environment variable, so that the command line can be executed again unchanged
_MARGIN = 30.0  # seconds beyond master.ready_timeout, for the store and for the probe of the application


def run_in_foreground(loaded: Loaded) -> int:
    """Run the master in this process and return its exit code."""
    from chatmaster.master import arbiter, upgrade_check

    if upgrade_check.VARIABLE in os.environ:  # a running master tests whether this program could replace it
        return upgrade_check.run_trial(loaded)
    fd = os.environ.pop(READY_FD, None)
    if fd is not None:  # the parent process prints the result
        return arbiter.run(loaded, ready_fd=int(fd))
    if loaded.settings.server.dev:
        return _run_in_development(loaded)
    log = loaded.settings.log
    if not os.isatty(2) and (log.file or log.format == "json"):  # no terminal: nothing but the log is written
        return arbiter.run(loaded)
    return arbiter.run(loaded, on_ready=lambda report: _print_without_waiting(_where(loaded, report)))


def _run_in_development(loaded: Loaded) -> int:
    from chatmaster.cli import dev
    from chatmaster.master import arbiter

    dev.prepare(loaded, os.environ)
    try:
        return arbiter.run(loaded, on_ready=lambda report: _print_without_waiting(_where(loaded, report)))
    except ApplicationError as error:
        dev.wait_and_start_again(error)


def run_detached(instance: Instance, loaded: Loaded, arguments: list[str]) -> int:
    """Start a master in the background and return when it is ready.

    `arguments` are those of the `start` command, without -d. Raises AlreadyRunning, RefusedByMaster with the reason of
    a failed start, TimedOut.
    """
    owner = privileges.account(loaded.settings.master)
    statedir.prepare(loaded.state_dir, uid=owner.uid, gid=owner.gid)
    if (pid := pidfile.holder(loaded.pid_file)) is not None:
        raise AlreadyRunning(loaded.settings.master.name, pid)
    log = loaded.log_file or loaded.state_dir / f"{loaded.settings.master.name}.log"
    if loaded.log_file is None:
        arguments = [*arguments, "--set", f"log.file={log}"]
    child, reader = _spawn([*instance.arguments(), "start", *arguments], log, owner)
    try:
        report = wait_for_report(child, reader, loaded.settings.master.ready_timeout + _MARGIN, log)
    except KeyboardInterrupt:
        child.send_signal(signal.SIGTERM)  # the master has its own session: Ctrl-C did not reach it
        raise
    finally:
        os.close(reader)
    if not report.get("ok"):
        raise RefusedByMaster(
            int(report.get("exit", ExitCode.FAILED)), str(report.get("error", "the server did not start"))
        )
    click.echo(_where(loaded, report), err=True)
    again = shlex.join([command(), *instance.arguments()])
    click.echo(f"log: {log}   status: {again} status   stop: {again} stop", err=True)
    return ExitCode.DONE


def restart(instance: Instance) -> None:
    """Make the master execute itself again. The new image answers when it is ready, or with the reason why not."""
    place = instance.locate()
    master = place.settings.master
    answer = instance.call(
        "restart", timeout=master.drain_timeout + master.stop_timeout + master.ready_timeout + _MARGIN
    )
    click.echo(_where(place, answer), err=True)


def upgrade(instance: Instance, path: str | None) -> None:
    """Make the master replace itself with the program at `path`, by default with this program."""
    from chatmaster import __version__

    command, root = _program(path)
    answer = instance.call("upgrade", {"command": command, "root": root}, timeout=None)
    for key in answer.get("needs_restart", ()):
        click.echo(f"{key} needs a restart: the old value stays", err=True)
    version, generation = answer.get("version", __version__), answer.get("generation", "?")
    click.echo(f"upgraded: chatmaster {version}, generation {generation}", err=True)


def _program(path: str | None) -> tuple[list[str], str]:
    """The command that replaces the master's own, and the directory of its packages ("": installed)."""
    ourselves = [sys.executable, "-P", "-m", "chatmaster"]
    if path is None:
        root = str(Path(__file__).resolve().parents[2])
        installed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), site.getusersitepackages()}
        return ourselves, "" if root in installed else root
    place = Path(os.path.abspath(path))  # not resolved: a link may have another target later
    if (place / "chatmaster" / "__main__.py").is_file():
        return ourselves, str(place)
    if place.is_file() and os.access(place, os.X_OK):
        return [str(place)], ""
    raise UsageError(f"{path} is neither an executable program nor a directory with the package chatmaster")


def _where(loaded: Loaded, report: Mapping[str, Any]) -> str:
    listen = report.get("addresses") or loaded.settings.server.listen
    pages = report.get("pages", ())
    places = "  ".join(_url(text, page=text in pages) for text in listen)
    return f"{loaded.settings.master.name} is running: {places}  (pid {report.get('pid', '?')})"


def _print_without_waiting(line: str) -> None:
    """Write a line to standard error if that does not block: the master never waits for a reader."""
    poll = select.poll()
    try:
        poll.register(2, select.POLLOUT)
        if poll.poll(0):
            os.write(2, f"{line}\n".encode())
    except OSError:
        pass


def _url(text: str, *, page: bool) -> str:
    """The URL of an address: that of the chat page where there is one, else that for WebSocket clients."""
    try:
        address = addresses.parse(text)
    except ValueError:
        return text
    return address.page_url if page else address.client_url


def _spawn(arguments: list[str], log: Path, owner: privileges.UnixAccount) -> tuple[subprocess.Popen[bytes], int]:
    """Start the detached master; return it and the reading end of the pipe for its report."""
    reader, writer = os.pipe()
    try:
        out = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        if owner.uid is not None:
            os.fchown(out, owner.uid, -1)  # the master opens the log again after it has dropped privileges
    except OSError as error:
        raise ChatmasterError(f"the log {log} cannot be opened: {error.strerror}") from None
    try:
        # -P: a directory named workers in the current directory must not hide the package.
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "chatmaster", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            pass_fds=[writer],
            env={**os.environ, READY_FD: str(writer)},
        )
    finally:
        os.close(out)
        os.close(writer)
    return child, reader


def wait_for_report(child: subprocess.Popen[bytes], reader: int, timeout: float, log: Path) -> dict[str, Any]:
    """Read the report of the master. Raises TimedOut, or RefusedByMaster if the master died without a report."""
    deadline = time.monotonic() + timeout
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    received = b""
    while b"\n" not in received:
        left = deadline - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            raise TimedOut(
                f"the master (pid {child.pid}) is not ready after {timeout:g} s and goes on starting; see {log}"
            )
        part = os.read(reader, 65_536)
        if not part:
            raise _describe_death(child, log)
        received += part
    report: dict[str, Any] = json.loads(received.split(b"\n", 1)[0])
    return report


def _describe_death(child: subprocess.Popen[bytes], log: Path) -> RefusedByMaster:
    """The error for a master that died without a report: how it ended, and the end of its log."""
    code = child.wait()
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    try:
        last = log.read_text(errors="replace").splitlines()[-5:]
    except OSError:
        last = []
    text = "\n".join([f"the master {how} before it was ready; the end of {log}:", *(f"  {line}" for line in last)])
    return RefusedByMaster(code if code in set(ExitCode) and code else ExitCode.FAILED, text)
