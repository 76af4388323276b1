"""The directory that the server was started in, by the path that people know it by.

A release is often a symbolic link, `/srv/app/current`, that a deployment points elsewhere: then the working directory
of the master stays in the old release, whatever the link says now. So the master goes back to the path each time it
reads the program anew, as gunicorn does. The path is in `PWD`, where every shell leaves it, and stays there for the
whole life of the process, over an exec, too.
"""

from __future__ import annotations

import os
from typing import Final

from chatmaster.errors import ApplicationError

_VARIABLE: Final = "PWD"


def settle() -> None:
    """Once at the start: make `PWD` true, should nobody have set it, or set it to something else."""
    named = os.environ.get(_VARIABLE, "")
    try:
        if not (os.path.isabs(named) and os.path.samefile(named, ".")):
            os.environ[_VARIABLE] = os.getcwd()
    except OSError:
        try:
            os.environ[_VARIABLE] = os.getcwd()
        except OSError:
            os.environ.pop(_VARIABLE, None)  # it was deleted before we came


class Visit:
    """Where the path leads now, from where one may come back: for a reload that is refused."""

    def __init__(self) -> None:
        """Go there. Raises ApplicationError where the path leads nowhere."""
        self._before: int | None = None
        try:
            self._before = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            pass  # what one cannot open one cannot come back to
        try:
            enter()
        except ApplicationError:
            self.stay()
            raise

    def stay(self) -> None:
        """This is where the program is from now on."""
        if self._before is not None:
            os.close(self._before)
            self._before = None

    def go_back(self) -> None:
        """The program is still what it was: so is what replaces a worker that crashes."""
        if self._before is not None:
            try:
                os.fchdir(self._before)
            except OSError:
                pass  # it was deleted meanwhile
        self.stay()


def enter() -> None:
    """Go to where the path leads now. Raises ApplicationError where that is nowhere."""
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
    """For a worker that replaces one between reloads: the code that its siblings have, as long as that is there."""
    try:
        os.getcwd()
    except OSError:
        try:
            enter()
        except ApplicationError:
            pass  # the import of the program says what is missing
