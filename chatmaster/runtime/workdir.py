"""The working directory of the server, by the path it was started with.

A release is often a symbolic link, `/srv/app/current`, that a deployment points elsewhere. The working directory of a
process does not follow the link. So the master enters the path again each time it reads the program, as gunicorn does.
The path is in `PWD`, where every shell sets it, and stays there for the life of the process, over an exec, too.
"""

from __future__ import annotations

import os
from typing import Final

from chatmaster.errors import ApplicationError

_VARIABLE: Final = "PWD"


def settle() -> None:
    """Set `PWD` to the working directory if it is missing or wrong; called once at the start."""
    named = os.environ.get(_VARIABLE, "")
    try:
        if not (os.path.isabs(named) and os.path.samefile(named, ".")):
            os.environ[_VARIABLE] = os.getcwd()
    except OSError:
        try:
            os.environ[_VARIABLE] = os.getcwd()
        except OSError:
            os.environ.pop(_VARIABLE, None)  # the directory was deleted before the start


class DirectoryChange:
    """A change to where the path leads now, which can be undone if the reload is refused."""

    def __init__(self) -> None:
        """Enter the directory. Raises ApplicationError if the path does not exist."""
        self._before: int | None = None
        try:
            self._before = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            pass  # without a descriptor there is no way back
        try:
            enter()
        except ApplicationError:
            self.keep()
            raise

    def keep(self) -> None:
        """Keep the new directory."""
        if self._before is not None:
            os.close(self._before)
            self._before = None

    def undo(self) -> None:
        """Return to the old directory, which the replacement of a crashed worker then uses, too."""
        if self._before is not None:
            try:
                os.fchdir(self._before)
            except OSError:
                pass  # the directory was deleted meanwhile
        self.keep()


def enter() -> None:
    """Enter the directory that the path leads to now. Raises ApplicationError if it does not exist."""
    path = os.environ.get(_VARIABLE)
    if path is None:
        return
    try:
        os.chdir(path)
    except OSError as error:
        raise ApplicationError(
            f"the directory that the server was started in cannot be entered any more: {path}: {error.strerror}"
        ) from None


def enter_if_gone() -> None:
    """Enter the path again if the working directory was deleted; called before a worker is replaced.

    As long as the directory exists, a replacement runs the code of the other workers.
    """
    try:
        os.getcwd()
    except OSError:
        try:
            enter()
        except ApplicationError:
            pass  # the import of the program says what is missing
