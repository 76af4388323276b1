"""Sets up logging as web frameworks do: at the import, and again whenever a client says how."""

import asyncio
import faulthandler
import logging
import logging.config
import os
import time

from workers import Connection, Worker

QUIET = {
    "version": 1,  # disables all loggers that there are
    "handlers": {"null": {"class": "logging.NullHandler"}},
    "root": {"handlers": ["null"], "level": "CRITICAL"},
}
logging.config.dictConfig(QUIET)
worker = Worker(name="django-like")
own = logging.getLogger(__name__)


def disable_all() -> None:
    logging.disable(logging.CRITICAL)


def silence() -> None:
    for name in ("workers", "workers.failures"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        logging.getLogger(name).propagate = False


def remove_handlers() -> None:
    for handler in list(logging.getLogger().handlers):
        logging.getLogger().removeHandler(handler)
        handler.close()


WAYS = {
    "dict": lambda: logging.config.dictConfig(QUIET),
    "basic": lambda: logging.basicConfig(force=True, level=logging.CRITICAL),
    "disable": disable_all,
    "silence": silence,
    "remove": remove_handlers,
    "filter": lambda: logging.getLogger("workers.failures").addFilter(lambda record: False),
    "faults": lambda: faulthandler.enable(file=os.open("/dev/null", os.O_WRONLY)),
    "shutdown": logging.shutdown,
}


@worker.on_message
async def message(connection: Connection, data: str | bytes) -> None:
    what, _, how = str(data).partition(" ")
    match what:
        case "set":
            WAYS[how]()
            opened.append(os.open("/dev/null", os.O_RDONLY))  # takes the number of whatever was closed
            await asyncio.sleep(1.2)  # the worker looks every half second
            connection.send("set")
        case "say":
            own.critical("the program says %s", how)
            print(f"printed {how}")
        case "fail":
            raise ValueError(f"on purpose after {how}")
        case "hang":
            hang_here()


def hang_here() -> None:
    time.sleep(600)


opened: list[int] = []
