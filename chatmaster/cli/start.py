"""`chatctl start`: the master in the foreground, or detached, with its readiness reported over a pipe.

The detached master is a fresh `chatctl start` in a session of its own, so that `restart`, which executes the same
command line again, stays in the background and keeps its pid. It writes one JSON line to the descriptor named by
READY_FD: ``{"ok": true, ...}`` once every worker answers, or ``{"ok": false, "exit": N, "error": TEXT}``.
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
from chatmaster.errors import AlreadyRunning, ChatmasterError, RefusedByMaster, TimedOut, UsageError
from chatmaster.runtime import pidfile, privileges, statedir

READY_FD = "_CHATMASTER_READY_FD"  # in the environment, so that the command line can be executed again as it is
_MARGIN = 30.0  # seconds beyond master.ready_timeout: for the store, and for the application to be looked at


def run_in_foreground(loaded: Loaded) -> int:
    """Be the master until it ends."""
    from chatmaster.master import arbiter, upgrade_check

    if upgrade_check.VARIABLE in os.environ:  # a master that runs wants to know whether we could take its place
        return upgrade_check.run_trial(loaded)
    fd = os.environ.pop(READY_FD, None)
    if fd is not None:  # somebody else tells the people
        return arbiter.run(loaded, ready_fd=int(fd))
    log = loaded.settings.log
    if not os.isatty(2) and (log.file or log.format == "json"):  # nobody looks, or only a program does
        return arbiter.run(loaded)
    return arbiter.run(loaded, on_ready=lambda report: _print_without_waiting(_where(loaded, report)))


def run_detached(instance: Instance, loaded: Loaded, arguments: list[str]) -> int:
    """Start a master in the background; return when it is ready, or raise what kept it from that.

    `arguments` are those of the `start` command, without -d.
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
        report = _wait_for_report(child, reader, loaded.settings.master.ready_timeout + _MARGIN, log)
    except KeyboardInterrupt:
        child.send_signal(signal.SIGTERM)  # it is in a session of its own: Ctrl-C did not reach it
        raise
    finally:
        os.close(reader)
    if not report.get("ok"):
        raise RefusedByMaster(int(report.get("exit", ExitCode.FAILED)), str(report.get("error", "it did not start")))
    click.echo(_where(loaded, report), err=True)
    again = shlex.join([command(), *instance.arguments()])
    click.echo(f"log: {log}   look: {again} status   end: {again} stop", err=True)
    return ExitCode.DONE


def restart(instance: Instance) -> None:
    """Tell the master to execute itself again; the new one answers when it is ready, or says why it is not."""
    place = instance.locate()
    master = place.settings.master
    answer = instance.call(
        "restart", timeout=master.drain_timeout + master.stop_timeout + master.ready_timeout + _MARGIN
    )
    click.echo(_where(place, answer), err=True)


def upgrade(instance: Instance, path: str | None) -> None:
    """Have the master replace itself by the program at `path`, or by the one that we are."""
    from chatmaster import __version__

    command, root = _program(path)
    answer = instance.call("upgrade", {"command": command, "root": root}, timeout=None)
    for key in answer.get("needs_restart", ()):
        click.echo(f"{key} needs restart: it stays as it was", err=True)
    version, generation = answer.get("version", __version__), answer.get("generation", "?")
    click.echo(f"upgraded: chatmaster {version}, generation {generation}", err=True)


def _program(path: str | None) -> tuple[list[str], str]:
    """The words to execute before those of the master's own command line, and where its packages are imported from."""
    ourselves = [sys.executable, "-P", "-m", "chatmaster"]
    if path is None:
        root = str(Path(__file__).resolve().parents[2])
        installed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), site.getusersitepackages()}
        return ourselves, "" if root in installed else root
    place = Path(os.path.abspath(path))  # not resolved: a link may lead elsewhere tomorrow
    if (place / "chatmaster" / "__main__.py").is_file():
        return ourselves, str(place)
    if place.is_file() and os.access(place, os.X_OK):
        return [str(place)], ""
    raise UsageError(f"{path} is neither a program nor a directory with the package chatmaster in it")


def _where(loaded: Loaded, report: Mapping[str, Any]) -> str:
    listen = report.get("addresses") or loaded.settings.server.listen
    pages = report.get("pages", ())
    places = "  ".join(_url(text, page=text in pages) for text in listen)
    return f"{loaded.settings.master.name} is running: {places}  (pid {report.get('pid', '?')})"


def _print_without_waiting(line: str) -> None:
    """On standard error, where that takes it at once: the master waits for nobody who reads."""
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
    """The detached master, and the end of the pipe that its report comes from."""
    reader, writer = os.pipe()
    try:
        out = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        if owner.uid is not None:
            os.fchown(out, owner.uid, -1)  # it is opened again once privileges are dropped
    except OSError as error:
        raise ChatmasterError(f"the log {log} cannot be opened: {error.strerror}") from None
    try:
        # -P: a directory named workers in the current one must not hide ours.
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


def _wait_for_report(child: subprocess.Popen[bytes], reader: int, timeout: float, log: Path) -> dict[str, Any]:
    """The master's line. Raises TimedOut, or ChatmasterError where it died without one."""
    deadline = time.monotonic() + timeout
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    received = b""
    while b"\n" not in received:
        left = deadline - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            raise TimedOut(f"pid {child.pid} is not ready after {timeout:g} s, and goes on trying; see {log}")
        part = os.read(reader, 65_536)
        if not part:
            raise _describe_death(child, log)
        received += part
    report: dict[str, Any] = json.loads(received.split(b"\n", 1)[0])
    return report


def _describe_death(child: subprocess.Popen[bytes], log: Path) -> RefusedByMaster:
    """It died without a word: how, and the end of its log."""
    code = child.wait()
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    try:
        last = log.read_text(errors="replace").splitlines()[-5:]
    except OSError:
        last = []
    text = "\n".join([f"the master {how} before it was ready; the end of {log}:", *(f"  {line}" for line in last)])
    return RefusedByMaster(code if code in set(ExitCode) and code else ExitCode.FAILED, text)
