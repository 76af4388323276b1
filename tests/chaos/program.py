"""The chat, with ways to go wrong that a test can ask for by files beside this one and by a signal.

* `raise`: every hook fails.
* `exit`: a process that imports this ends at once.
* SIGUSR2: the loop stands still for 20 s.
"""

import os
import signal
import time
from pathlib import Path

from workers.chat import Chat

FOLDER = Path(__file__).parent

if (FOLDER / "exit").exists():
    os._exit(3)

chat = Chat()


@chat.on_say
def fail_when_told(message: object) -> None:
    if (FOLDER / "raise").exists():
        raise RuntimeError("a bug in a callback")


signal.signal(signal.SIGUSR2, lambda number, frame: time.sleep(20))

worker = chat.worker
