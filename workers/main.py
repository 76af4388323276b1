"""The composition root of a worker process: builds every part, runs it, returns an exit code.

The master calls `main` in a process that it has just forked (see `chatmaster/contract.py`); this module knows nothing
else about the master.
"""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import logging
import shlex
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from chatmaster import contract
from chatmaster.contract import ExitCode, Launch, Probe, Task
from chatmaster.tracebacks import format_program_error
from workers.process import program
from workers.process.debugger import Debugger
from workers.process.forked import LAST_WISH, Forks
from workers.process.lifecycle import Lifecycle
from workers.process.master_channel import send_blocking
from workers.worker import Worker, serving

# Allocations before the collector runs on each generation (gc.set_threshold). Most objects belong to messages and are
# freed by reference counting, so frequent collections of the older ones find nothing. The young ones are few at a time:
# while thousands of connections open, a collection of 5,000 takes 2 ms, one of 50,000 took 20 ms; all together as long.
GC_THRESHOLD: Final = (5_000, 200, 50)

try:
    import uvloop

    _new_loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
except ImportError:  # no wheel for this platform: asyncio's own loop does the same, slower
    _new_loop = asyncio.new_event_loop

logger = logging.getLogger(__name__)


def main(task: Task) -> int:
    """Carry out the master's task in this process. Returns the exit code."""
    listeners = task.listeners if isinstance(task, Launch) else ()
    forks = Forks(listener.sock for listener in listeners)
    forks.watch()
    debugger = Debugger()
    if task.settings.server.dev:
        debugger.install()
    try:
        workers = program.load(task.settings.server.app)
    except BaseException as error:  # a program may exit while it is imported
        return _could_not_load(task, error)
    finally:
        if isinstance(task, Launch) and task.log is not None:
            task.log.keep()
    if isinstance(task, Probe):
        send_blocking(task.channel, contract.Declares(program.declared(workers)))
        return ExitCode.DONE
    return _serve(task, workers, forks, debugger)


def _serve(launch: Launch, workers: dict[str, Worker], forks: Forks, debugger: Debugger) -> int:
    worker = workers.get(launch.worker)
    if worker is None:
        reason = f"{launch.settings.server.app} no longer defines the Worker {launch.worker!r}"
        send_blocking(launch.channel, contract.Failed(ExitCode.NOT_READY, reason))
        return ExitCode.NOT_READY
    serving()
    # Objects from before the fork are frozen: a full collection would only touch, and so copy, shared pages.
    gc.set_threshold(*GC_THRESHOLD)
    loop = _new_loop()
    asyncio.set_event_loop(loop)
    pool = ThreadPoolExecutor(thread_name_prefix="asyncio")
    loop.set_default_executor(pool)
    life = Lifecycle.run(launch, worker, forks, run_to_end.__code__, debugger)
    code = run_to_end(loop, loop.create_task(life))
    _end_tasks(loop)
    _end_threads(pool)
    return code


def _end_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel the program's remaining tasks, and give them a moment for their `finally` blocks."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    try:
        if tasks:
            loop.run_until_complete(asyncio.wait(tasks, timeout=LAST_WISH))
    except BaseException:
        logger.exception("a task of the application failed while it was cancelled")


def _end_threads(pool: ThreadPoolExecutor) -> None:
    """Wait a moment for the program's work in threads (`asyncio.to_thread`), which may block for ever."""
    closing = threading.Thread(target=pool.shutdown, daemon=True)
    closing.start()
    closing.join(LAST_WISH)
    if closing.is_alive():
        logger.warning("a thread of the application does not end: the worker exits without waiting for it")


def run_to_end(loop: asyncio.AbstractEventLoop, life: asyncio.Task[int]) -> int:
    """Run the loop until `life` is done, whatever application code does in its own tasks and handles.

    Both kinds of loop let SystemExit and KeyboardInterrupt of a task pass, and any code may stop the loop: then the
    loop is run again.
    """
    while True:
        try:
            return loop.run_until_complete(life)
        except (SystemExit, KeyboardInterrupt) as error:
            if life.done():
                raise
            logger.error("application code raised %r outside a callback; the worker continues", error, exc_info=error)
        except RuntimeError as error:
            if life.done() or loop.is_closed():
                raise
            logger.error("application code stopped the worker's loop (%s); the worker continues", error)


def _to_install(error: BaseException) -> str:
    """How to get the package that a program misses; "" where none is missing. A package may have another name."""
    missing = (error.name or "") if isinstance(error, ModuleNotFoundError) else ""
    if not missing or "." in missing or missing in sys.stdlib_module_names:
        return ""
    python = shlex.quote(sys.executable)
    first = "" if importlib.util.find_spec("pip") is not None else f"{python} -m ensurepip && "
    return f"; install the package that has the module {missing}: {first}{python} -m pip install PACKAGE"


def _could_not_load(task: Task, error: BaseException) -> int:
    expected = isinstance(error, program.ProgramError)
    text = "" if expected else format_program_error(error)
    if not text.startswith("Traceback"):
        text = ""  # a syntax error in the program itself: the reason says the same
    said = "".join(traceback.format_exception_only(error)).strip()  # of a syntax error with its line
    reason = str(error) if expected else f"{task.settings.server.app} could not be loaded: {said}{_to_install(error)}"
    send_blocking(task.channel, contract.Failed(ExitCode.NOT_READY, reason, text))
    return ExitCode.NOT_READY
