"""Finds and imports the application's program, and lists the Workers that it declares.

A program is `module:attribute`, `module`, or the path of a `.py` file. Its Workers are all that it makes while it is
imported, in a loop or a function too, and those that it imports by name, in the order in which they were made.
`module:attribute` serves that one alone.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from chatmaster.contract import Declared
from workers.worker import Worker, declared_in, importing


class ProgramError(Exception):
    """The application cannot be used; the message names it and the reason in one sentence."""


def load(app: str) -> dict[str, Worker]:
    """Import the program and return its Workers by name. Raises ProgramError, or what the import raises."""
    importing()
    target, _, attribute = app.partition(":") if not app.endswith(".py") else (app, "", "")
    module = _import_file(Path(target)) if target.endswith(".py") else _import_module(target)
    found = [_attribute(module, attribute)] if attribute else declared_in(module)
    if not found:
        raise ProgramError(
            f"{app} defines no Worker: give it one, such as worker = Worker('websocket://127.0.0.1:8000')"
        )
    return _scoped(_by_name(found, app))


def declared(workers: dict[str, Worker]) -> tuple[Declared, ...]:
    """Describe the Workers for the master."""
    return tuple(
        Declared(name=name, listen=(worker.listen,) if worker.listen else (), count=worker.count, chat=worker.is_chat)
        for name, worker in workers.items()
    )


def _import_module(name: str) -> ModuleType:
    # A program's own modules are expected in the current directory.
    try:
        here = str(Path.cwd())
    except OSError:  # the directory was removed
        here = ""
    if here and here not in sys.path:
        sys.path.insert(0, here)
    return importlib.import_module(name)


def _import_file(path: Path) -> ModuleType:
    path = path.resolve()
    if not path.is_file():
        raise ProgramError(f"{path}: no such file")
    name = _module_name(path)
    folder = str(path.parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ProgramError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _module_name(path: Path) -> str:
    """What the program's `__name__` is, and so its loggers': that of its file.

    Another one where that is a library's: a program called redis.py or wave.py must not hide it from itself.
    """
    name = path.stem.replace(".", "_")
    if name not in sys.stdlib_module_names:
        found = importlib.util.find_spec(name)
        if found is None or found.origin == str(path):
            return name
    return f"{name}_program"


def _attribute(module: ModuleType, name: str) -> Worker:
    value = getattr(module, name, None)
    if not isinstance(value, Worker):
        what = "has no such attribute" if value is None else f"it is {type(value).__name__}, not a Worker"
        raise ProgramError(f"{module.__name__}:{name}: {what}")
    return value


def _by_name(found: list[Worker], app: str) -> dict[str, Worker]:
    workers: dict[str, Worker] = {}
    for number, worker in enumerate(found):
        name = worker.name or (f"worker{number}" if len(found) > 1 else "worker")
        if name in workers:
            raise ProgramError(f"{app} defines two Workers of the name {name!r}: give each its own")
        workers[name] = worker
    return workers


def _scoped(workers: dict[str, Worker]) -> dict[str, Worker]:
    """Give each Worker its scope: the chat, or else the first Worker, has the instance's own rooms and users."""
    plain = next((one for one in workers.values() if one.is_chat), next(iter(workers.values())))
    for name, worker in workers.items():
        others = [one for one in workers.values() if one is not worker]
        worker.place("" if worker is plain else name, others)
    return workers
