"""Identifiers: random, unique over all workers and machines, and never telling where something is."""

from __future__ import annotations

import os


def connection_id() -> str:
    """96 random bits in hexadecimal: two alike among a billion have a chance of one in 10^11."""
    return os.urandom(12).hex()
