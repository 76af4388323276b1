"""Owns what is worth a log line once for each cause, such as an origin that is refused, whoever repeats it."""

from __future__ import annotations

import logging
from typing import Final

log = logging.getLogger(__name__)

MOST: Final = 64  # causes of one kind; what a stranger can vary must not fill the log, nor the memory
LONGEST: Final = 200  # characters of what a stranger sent


class Notices:
    """Warnings of one worker, each once."""

    __slots__ = ("_said",)

    def __init__(self) -> None:
        self._said: dict[str, set[str]] = {}

    def warn(self, kind: str, cause: str, message: str) -> None:
        """Log `message`, unless that was done for this cause. `kind` is a word of ours."""
        said = self._said.setdefault(kind, set())
        cause = cause[:LONGEST]
        if cause in said or len(said) > MOST:
            return
        said.add(cause)
        if len(said) > MOST:
            log.warning("there are more of these, which are not logged any more: %s", kind)
        else:
            log.warning("%s", message)


def shown(text: str) -> str:
    """What a stranger sent, harmless in a log line."""
    return repr(text if len(text) <= LONGEST else f"{text[:LONGEST]}…")
