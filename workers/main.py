"""The composition root of a worker process: builds every part, runs it, returns an exit code.

The master calls `main` in a process that it has just forked (see `chatmaster/contract.py`); nothing here knows
more of the master than that.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from chatmaster import contract
from chatmaster.contract import ExitCode, Launch, Probe, Task
from workers.process import program
from workers.process.forked import LAST_WISH, Forks
from workers.process.lifecycle import Lifecycle
from workers.process.master_channel import send_blocking
from workers.worker import Worker, serving

# Objects that may be made before the collector looks at the young ones, and so on (gc.set_threshold). They are made of
# messages, which reference counting frees: looking at them often finds nothing.
GC_THRESHOLD: Final = (50_000, 20, 50)

try:
    import uvloop

    _new_loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
except ImportError:  # no wheel for this platform: asyncio's own loop does the same, slower
    _new_loop = asyncio.new_event_loop

logger = logging.getLogger(__name__)


def main(task: Task) -> int:
    """Do what the master asks of this process. Returns its exit code."""
    listeners = task.listeners if isinstance(task, Launch) else ()
    forks = Forks(listener.sock for listener in listeners)
    forks.watch()
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
    return _serve(task, workers, forks)


def _serve(launch: Launch, workers: dict[str, Worker], forks: Forks) -> int:
    worker = workers.get(launch.worker)
    if worker is None:
        reason = f"{launch.settings.server.app} no longer defines the Worker {launch.worker!r}"
        send_blocking(launch.channel, contract.Failed(ExitCode.NOT_READY, reason))
        return ExitCode.NOT_READY
    serving()
    # What was there before the fork is frozen; a full collection would only touch, and so copy, shared pages.
    gc.set_threshold(*GC_THRESHOLD)
    loop = _new_loop()
    asyncio.set_event_loop(loop)
    pool = ThreadPoolExecutor(thread_name_prefix="asyncio")
    loop.set_default_executor(pool)
    code = run_to_end(loop, loop.create_task(Lifecycle.run(launch, worker, forks, run_to_end.__code__)))
    _end_tasks(loop)
    _end_threads(pool)
    return code


def _end_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel what the program's own tasks still do, and give them a moment for their `finally`."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    try:
        if tasks:
            loop.run_until_complete(asyncio.wait(tasks, timeout=LAST_WISH))
    except BaseException:
        logger.exception("a task of the application failed while it was ended")


def _end_threads(pool: ThreadPoolExecutor) -> None:
    """Wait a moment for what the program has under way in threads, as by `asyncio.to_thread`; it may block for ever."""
    closing = threading.Thread(target=pool.shutdown, daemon=True)
    closing.start()
    closing.join(LAST_WISH)
    if closing.is_alive():
        logger.warning("what the application runs in threads does not end: it is left")


def run_to_end(loop: asyncio.AbstractEventLoop, life: asyncio.Task[int]) -> int:
    """Run the loop until `life` is done, whatever application code does in tasks and handles of its own.

    Both kinds of loop let SystemExit and KeyboardInterrupt out of whatever raises them, and may be stopped by anybody:
    the loop is entered again.
    """
    while True:
        try:
            return loop.run_until_complete(life)
        except (SystemExit, KeyboardInterrupt) as error:
            if life.done():
                raise
            logger.error("application code raised %r outside of a callback; the worker goes on", error, exc_info=error)
        except RuntimeError as error:
            if life.done() or loop.is_closed():
                raise
            logger.error("application code stopped the worker's loop (%s); the worker goes on", error)


def _could_not_load(task: Task, error: BaseException) -> int:
    expected = isinstance(error, program.ProgramError)
    text = "" if expected else "".join(traceback.format_exception(error))
    said = "".join(traceback.format_exception_only(error)).strip()  # of a syntax error with its line
    reason = str(error) if expected else f"{task.settings.server.app} could not be loaded: {said}"
    send_blocking(task.channel, contract.Failed(ExitCode.NOT_READY, reason, text))
    return ExitCode.NOT_READY
