"""Owns how a command becomes bytes; hiredis does it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import hiredis

Argument = str | bytes | int | float

# hiredis's stub wants a tuple of exactly one argument.
_pack: Any = hiredis.pack_command


def pack(*words: Argument) -> bytes:
    """One command in RESP."""
    packed: bytes = _pack(words)
    return packed


def bulk(data: bytes) -> bytes:
    """One argument of a command that is put together by hand."""
    return b"$%d\r\n%b\r\n" % (len(data), data)


def pack_evalsha(sha: str, keys: Sequence[str], args: Sequence[Argument]) -> bytes:
    """Run a script by its hash."""
    return pack(b"EVALSHA", sha, len(keys), *keys, *args)
