"""The errors that end a command or a start, each with an exit code and one sentence for people.

::

    ChatmasterError                1  the command failed
    ├── ConfigError                2  every fault of the configuration at once
    ├── UsageError                 2  the command does not make sense as given
    ├── NotRunning                 3  no master answers at the control socket
    ├── AlreadyRunning             4  another master holds the pid file
    ├── ApplicationError           5  the application could not be loaded, or a worker did not get ready
    ├── StoreUnreachable           6  the configured store did not answer at the first start
    ├── StoreUnusable              6  the embedded store cannot be run, or cannot read its data
    ├── TimedOut                   7  chatctl itself ran out of time
    └── RefusedByMaster            n  the master refused the command and chose the exit code
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chatmaster.contract import ExitCode


class ChatmasterError(Exception):
    """The command failed; the text is one sentence for people."""

    exit_code: ExitCode = ExitCode.FAILED


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a configuration."""

    key: str  # full key path: server.workers, rooms[0].match; "" for a file that is not TOML
    origin: str  # FILE:LINE, environment NAME, flag --NAME
    found: str  # as TOML, shortened
    allowed: str

    def __str__(self) -> str:
        what = f"{self.key} is {self.found}; " if self.found else f"{self.key}: " if self.key else ""
        return f"{self.origin}: {what}{self.allowed}"


class ConfigError(ChatmasterError):
    """The configuration is wrong; `faults` has every fault."""

    exit_code = ExitCode.USAGE

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = tuple(faults)


class UsageError(ChatmasterError):
    """The command does not make sense as given."""

    exit_code = ExitCode.USAGE


class NotRunning(ChatmasterError):
    """No master answers at the control socket."""

    exit_code = ExitCode.NOT_RUNNING


class AlreadyRunning(ChatmasterError):
    """Another master holds the pid file."""

    exit_code = ExitCode.ALREADY_RUNNING

    def __init__(self, name: str, pid: int) -> None:
        """`name` is the instance's; `pid` is 0 for a master in another pid namespace."""
        super().__init__(
            f"{name} is already running{f' as pid {pid}' if pid else ''}; a second server on this machine needs a name "
            "and an address of its own: --name NAME -b websocket://HOST:PORT"
        )


class ApplicationError(ChatmasterError):
    """The application could not be loaded, or a worker did not get ready."""

    exit_code = ExitCode.NOT_READY


class StoreUnreachable(ChatmasterError):
    """The configured store does not answer at the first start, or refuses commands."""

    exit_code = ExitCode.STORE_UNREACHABLE

    def __init__(self, text: str, *, transient: bool = False) -> None:
        """`transient`: the error passes by itself."""
        super().__init__(text)
        self.transient = transient


class StoreUnusable(ChatmasterError):
    """The embedded store cannot be run, or cannot read its data."""

    exit_code = ExitCode.STORE_UNREACHABLE


class TimedOut(ChatmasterError):
    """chatctl itself ran out of time."""

    exit_code = ExitCode.TIMED_OUT


class RefusedByMaster(ChatmasterError):
    """The master refused the command."""

    def __init__(self, exit_code: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = ExitCode(exit_code)
