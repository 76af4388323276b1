"""Has children of every kind: a pool of processes, an executed program, a plain fork; also one from its import."""

import asyncio
import os
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from workers import Connection, Worker


def nap() -> int:
    time.sleep(0.2)
    return os.getpid()


worker = Worker(name="parent")
pool = ProcessPoolExecutor(2)
early = pool.submit(os.getpid)  # while the program is imported: before the worker listens


def fork() -> int:
    pid = os.fork()
    if pid == 0:
        time.sleep(600)
        os._exit(0)
    return pid


@worker.on_message
async def message(connection: Connection, data: str | bytes) -> None:
    match data:
        case "children":
            loop = asyncio.get_running_loop()
            pids = await asyncio.gather(*(loop.run_in_executor(pool, nap) for _ in range(2)))
            # Not `close_fds`: what a program is executed with must be close-on-exec by itself.
            sleeper = subprocess.Popen(["sleep", "600"], close_fds=False)
            other = await asyncio.create_subprocess_exec(sys.executable, "-c", "input()", stdin=subprocess.PIPE)
            found = [*pids, early.result(), fork(), sleeper.pid, other.pid]
            connection.send(" ".join(map(str, found)))
        case "echo":
            connection.send("echo")
        case "pid":
            connection.send(str(os.getpid()))
        case "terminate":
            pid = fork()
            os.kill(pid, 15)
            while os.waitpid(pid, os.WNOHANG) == (0, 0):
                await asyncio.sleep(0.01)
            connection.send("terminated")
