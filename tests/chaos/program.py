"""The chat, with ways to go wrong that a test can ask for by files beside this one and by a signal.

* `raise`: every hook fails; to join fails only outside of the hall, because who is refused there is out for good.
* `exit`: a process that imports this ends at once.
* `exit-late`: it ends when the worker starts, where a program's on_worker_start would run.
* SIGUSR2: the loop stands still for 20 s.
"""

import os
import signal
import time
from pathlib import Path

from workers.chat import Chat, JoinRequest, create
from workers.chat.app import ChatApplication
from workers.node.node import Node
from workers.worker import Worker

FOLDER = Path(__file__).parent

if (FOLDER / "exit").exists():
    os._exit(3)

chat = Chat()


@chat.on_hello
@chat.on_say
@chat.on_kept
def fail_when_told(about: object) -> None:
    if (FOLDER / "raise").exists():
        raise RuntimeError("a bug in a callback")


@chat.on_join
def fail_elsewhere(request: JoinRequest) -> None:
    if request.room != "hall":
        fail_when_told(request)


signal.signal(signal.SIGUSR2, lambda number, frame: time.sleep(20))


def start(worker: Worker, node: Node) -> ChatApplication:
    if (FOLDER / "exit-late").exists():
        os._exit(3)
    return create(worker, node, chat)


worker = chat.worker
worker.application = start
