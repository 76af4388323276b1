"""The chat, of which a process goes deaf at SIGUSR2: what it publishes comes back, and it does not hear it."""

import signal

from workers.bus import health
from workers.chat import Chat

health.HOPELESS_AFTER = 5.0
deaf: list[int] = []  # the signals that came
hear = health.HealthProbe.returned


def returned(self: health.HealthProbe, stamp: bytes) -> None:
    if not deaf:
        hear(self, stamp)


health.HealthProbe.returned = returned  # type: ignore[method-assign]
signal.signal(signal.SIGUSR2, lambda number, frame: deaf.append(number))
worker = Chat().worker
