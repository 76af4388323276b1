"""Keeps a worker's log as it was set up, whatever the application does to the logging of its process.

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

OURS = ("workers", "chatmaster")  # their loggers, and all below
SHARED = "asyncio"  # says what nobody has caught


class LogKeeper:
    """The log of one worker process; `keep` is called after the application's import, and now and then."""

    def __init__(self, handler: LogHandler, settings: Log) -> None:
        self._handler = handler
        self._formatter = handler.formatter
        self._level = LEVELS[settings.level]
        # A descriptor of its own: the handler may be closed by anybody, and a hang must still be written down.
        self._faults = os.dup(handler.fileno())
        os.set_inheritable(self._faults, False)
        for name in OURS:
            logging.getLogger(name).setLevel(self._level)
        self._watch_faults()

    def descriptors(self) -> set[int]:
        """Those that must stay open."""
        return {self._handler.fileno(), self._faults}

    def keep(self) -> None:
        """Put back what is gone, and say so."""
        root = logging.getLogger()
        gone = self._handler not in root.handlers
        if gone:
            root.addHandler(self._handler)
        self._handler.setLevel(logging.NOTSET)
        self._handler.filters.clear()
        self._handler.setFormatter(self._formatter)
        _keep_records()
        silenced = self._give_voice()
        self._watch_faults()  # whoever has directed them elsewhere since
        if gone:
            log.warning("the application has set up logging of its own: the worker's log goes on beside it")
        elif silenced:
            log.warning("the application has silenced loggers of the worker: they speak again")

    def reopen(self) -> None:
        """The log file was rotated. Raises OSError."""
        self.keep()
        self._handler.reopen()
        os.dup2(self._handler.fileno(), self._faults, inheritable=False)

    def _give_voice(self) -> bool:
        """Whether a logger of ours was silent."""
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
    """A record factory of the application's may fail, outside of a request for example: the line is written anyway."""
    factory = logging.getLogRecordFactory()
    if factory is not logging.LogRecord and not isinstance(factory, _Records):
        logging.setLogRecordFactory(_Records(factory))


class _Records:
    """What makes the records: the application's factory, or where that raises the standard one."""

    def __init__(self, factory: Callable[..., logging.LogRecord]) -> None:
        self._factory = factory

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        try:
            return self._factory(*args, **kwargs)
        except Exception:
            return logging.LogRecord(*args, **kwargs)
