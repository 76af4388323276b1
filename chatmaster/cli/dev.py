"""`chatctl start --dev`: one worker, a log for people, and a reload whenever a file of the program changes.

A program that cannot be loaded does not end the command: chatctl waits for a change and starts again.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from chatmaster.cli import stdio
from chatmaster.config.loader import Loaded
from chatmaster.contract import DEBUGGER_LOCK, ExitCode
from chatmaster.errors import ApplicationError

WATCHER: Final = "_CHATMASTER_FILE_WATCHER"  # environment variable: "MASTER WATCHER", pids
_WATCHER_START: Final = 5.0  # seconds
_LONG: Final = 86_400.0  # seconds: a debugger may hold a worker for hours


def flags(overrides: Sequence[str]) -> dict[str, Any]:
    """The settings of development mode; what --set names stays as it is."""
    wanted = {
        "server.dev": True,
        "server.workers": 1,
        "log.format": "dev",
        "master.hang_timeout": _LONG,
        "master.ready_timeout": _LONG,
    }
    named = {text.partition("=")[0].strip() for text in overrides}
    return {key: value for key, value in wanted.items() if key not in named}


def prepare(loaded: Loaded, environ: MutableMapping[str, str]) -> None:
    """Start the file watcher beside this process, which becomes the master; once, also if it is executed again.

    Returns as soon as the watcher notices changes, so that none is missed between the program's import and that.
    """
    # Before the master handles it: a file may change at once. Ignored signals stay ignored over an exec.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    lock = str(loaded.state_dir / f"{loaded.settings.master.name}.debugger")
    environ[DEBUGGER_LOCK] = lock
    if _is_watched(environ):
        return
    reader, writer = os.pipe()
    command = [sys.executable, "-P", "-m", "chatmaster.cli.file_watcher", str(os.getpid()), str(writer), lock]
    watcher = subprocess.Popen([*command, *watched(loaded, environ)], stdin=subprocess.DEVNULL, pass_fds=[writer])
    os.close(writer)
    environ[WATCHER] = f"{os.getpid()} {watcher.pid}"
    watcher.returncode = 0  # the master waits for its children by itself
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    poll.poll(_WATCHER_START * 1000)
    os.close(reader)


def _is_watched(environ: Mapping[str, str]) -> bool:
    master, _, watcher = environ.get(WATCHER, "").partition(" ")
    return master == str(os.getpid()) and Path(f"/proc/{watcher}").exists()


def watched(loaded: Loaded, environ: Mapping[str, str]) -> list[str]:
    """The folders and files whose changes reload the server, absolute and without symbolic links."""
    directory, app = loaded.sources.directory, loaded.settings.server.app
    folders = [(directory / app).resolve().parent if app.endswith(".py") else directory]
    folders += [directory / entry for entry in environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    found = [folder.resolve() for folder in folders if folder.is_dir()]
    return [str(path) for path in dict.fromkeys([*found, *([loaded.file.resolve()] if loaded.file else [])])]


def wait_and_start_again(error: ApplicationError) -> NoReturn:
    """Print why the program could not be loaded, wait for a change, and execute this command again."""
    told = {signal.SIGHUP, signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, told)
    stdio.print_error(str(error))
    click.echo("waiting for a change; Ctrl-C ends it", err=True)
    number = signal.sigwait(told)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, told)
    if number != signal.SIGHUP:
        raise click.exceptions.Exit(ExitCode.NOT_READY)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
