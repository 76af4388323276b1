"""The process that reloads a server in development mode when a file of the program changes.

`chatctl start --dev` starts it beside the master and it ends with the master. It watches the folder of the program (or
the current directory, for a module), the folders in PYTHONPATH and the configuration file; of these, Python files and
the configuration file count. A reload waits while a debugger holds the terminal, because it would end that worker.
"""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import watchfiles

from chatmaster.runtime import logs
from chatmaster.runtime.fork import die_with_parent
from chatmaster.settings import Log

log = logging.getLogger("chatmaster")

DEBOUNCE: Final = 300  # milliseconds of changes that are one reload
_FIRST_LOOK: Final = 200  # milliseconds
_POLL: Final = 0.1  # seconds between two looks at a debugger that holds the terminal


class ProgramFiles(watchfiles.DefaultFilter):
    """Lets Python files and some named files through, in no folder that editors and package managers write to."""

    def __init__(self, named: Sequence[str]) -> None:
        super().__init__()
        self._named = frozenset(named)

    def __call__(self, change: watchfiles.Change, path: str) -> bool:
        """Whether the change of a file counts."""
        return super().__call__(change, path) and (path.endswith(".py") or path in self._named)


def changes(paths: Sequence[str]) -> Iterator[str]:
    """Yield the names of files that changed together. Folders are watched with all below them.

    A file is watched through its folder: an editor may replace the file by another one. The first text is "", as soon
    as changes are noticed.
    """
    files = [path for path in paths if not Path(path).is_dir()]
    folders = [str(Path(path).parent) if path in files else path for path in paths]
    watching = False
    for changed in watchfiles.watch(
        *_outermost(folders),
        watch_filter=ProgramFiles(files),
        debounce=DEBOUNCE,
        rust_timeout=_FIRST_LOOK,
        yield_on_timeout=True,
    ):
        if not watching:
            watching = True
            yield ""
        if not changed:
            continue
        names = sorted({Path(path).name for _, path in changed})
        yield ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _outermost(folders: Sequence[str]) -> list[str]:
    """The folders without those below another one, which is watched with all below it."""
    return [
        folder for folder in dict.fromkeys(folders) if not any(str(above) in folders for above in Path(folder).parents)
    ]


def wait_for_debugger(lock: str) -> None:
    """Wait until no worker holds the terminal for its debugger; a worker that ends holds it no longer."""
    told = False
    while _is_locked(lock):
        if not told:
            log.info("a file changed: the reload waits until the debugger goes on")
            told = True
        time.sleep(_POLL)


def _is_locked(path: str) -> bool:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False  # no debugger has run yet
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def main(master: int, ready: int, lock: str, paths: Sequence[str]) -> None:
    """Send SIGHUP to the master, this process's parent, at each change, until the master ends.

    The descriptor `ready` is closed as soon as changes are noticed.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches this process, too
    die_with_parent(signal.SIGKILL, master)
    logs.configure(Log(format="dev"), "worker")
    logging.getLogger("watchfiles").setLevel(logging.WARNING)
    for names in changes(paths):
        if not names:
            os.close(ready)
            continue
        wait_for_debugger(lock)
        log.info("%s changed: reloading", names)
        os.kill(master, signal.SIGHUP)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:])
