"""Keeps the log of a worker as the master configured it, whatever the application does to logging.

`logging.config.dictConfig` (so `django.setup()`) closes every handler there is, puts its own in their place and
disables all loggers; `basicConfig(force=True)`, `logging.disable` and levels do as much. What the application has set
up stays beside ours: only what would silence the worker is undone.
"""

from __future__ import annotations

import faulthandler
import logging
import os
from collections.abc import Callable
from typing import Any

from chatmaster.runtime.logs import LEVELS, LogHandler
from chatmaster.settings import Log

log = logging.getLogger(__name__)

OURS = ("workers", "chatmaster")  # these loggers and all below them
SHARED = "asyncio"  # logs exceptions that were not handled


class LogKeeper:
    """The log of one worker process; `keep` is called after the import of the application, and periodically."""

    def __init__(self, handler: LogHandler, settings: Log) -> None:
        self._handler = handler
        self._formatter = handler.formatter
        self._level = LEVELS[settings.level]
        # A separate descriptor: the application may close the handler, and the stack of a hang must still be written.
        self._faults = os.dup(handler.fileno())
        os.set_inheritable(self._faults, False)
        for name in OURS:
            logging.getLogger(name).setLevel(self._level)
        self._watch_faults()

    def descriptors(self) -> set[int]:
        """Return the descriptors that must stay open."""
        return {self._handler.fileno(), self._faults}

    def keep(self) -> None:
        """Restore the handler and the loggers, and log a warning if that was necessary."""
        root = logging.getLogger()
        gone = self._handler not in root.handlers
        if gone:
            root.addHandler(self._handler)
        self._handler.setLevel(logging.NOTSET)
        self._handler.filters.clear()
        self._handler.setFormatter(self._formatter)
        _keep_records()
        silenced = self._give_voice()
        self._watch_faults()  # the application may have redirected them
        if gone:
            log.warning("the application has configured logging: the log of the worker goes on beside it")
        elif silenced:
            log.warning("the application has silenced loggers of the worker: they are enabled again")

    def reopen(self) -> None:
        """Open the log file again after it was rotated. Raises OSError."""
        self.keep()
        self._handler.reopen()
        os.dup2(self._handler.fileno(), self._faults, inheritable=False)

    def _give_voice(self) -> bool:
        """Enable the loggers of the worker; return True if one was silenced."""
        found = False
        if logging.root.manager.disable > self._level - 1:
            logging.disable(logging.NOTSET)
            found = True
        logging.getLogger(SHARED).disabled = False
        for name, logger in list(logging.root.manager.loggerDict.items()):
            if name.partition(".")[0] not in OURS or not isinstance(logger, logging.Logger):
                continue
            level = self._level if name in OURS else logging.NOTSET
            quiet = logger.level != level if name in OURS else logger.level > logging.WARNING
            if logger.disabled or not logger.propagate or quiet or logger.filters:
                logger.disabled, logger.propagate = False, True
                logger.filters.clear()
                logger.setLevel(level)
                found = True
        return found

    def _watch_faults(self) -> None:
        faulthandler.enable(file=self._faults)


def _keep_records() -> None:
    """Write a line even if a record factory of the application fails, outside of a request for example."""
    factory = logging.getLogRecordFactory()
    if factory is not logging.LogRecord and not isinstance(factory, _Records):
        logging.setLogRecordFactory(_Records(factory))


class _Records:
    """Makes records by the application's factory, or by the standard one if that raises."""

    def __init__(self, factory: Callable[..., logging.LogRecord]) -> None:
        self._factory = factory

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        try:
            return self._factory(*args, **kwargs)
        except Exception:
            return logging.LogRecord(*args, **kwargs)
