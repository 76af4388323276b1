"""Rows of an answer, put into packets that fit the channel to the master: by their bytes, not by their number. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from chatmaster import contract

Row = dict[str, Any]

HEAD = 256  # bytes of a packet for everything but rows
ROOM = contract.MAX_PACKET - HEAD


def answers(query_id: int, rows: Iterable[Row]) -> Iterator[contract.Answer]:
    """The rows in order, none of them the last answer."""
    together: list[Row] = []
    size = 0
    for row in rows:
        encoded = contract.encode(row)
        if together and size + len(encoded) > ROOM:
            yield contract.Answer(query_id, together, last=False)
            together, size = [], 0
        if len(encoded) > ROOM:
            yield from _pieces(query_id, encoded)
        else:
            together.append(row)
            size += len(encoded)
    if together:
        yield contract.Answer(query_id, together, last=False)


def _pieces(query_id: int, encoded: bytes) -> Iterator[contract.Answer]:
    for start in range(0, len(encoded), ROOM):
        end = start + ROOM
        yield contract.Answer(query_id, last=False, piece=encoded[start:end], more=end < len(encoded))
