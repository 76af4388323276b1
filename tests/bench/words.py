"""Padding that compresses about as well as what people say: words drawn by their frequency, always the same."""

from __future__ import annotations

import functools
import random

_SYLLABLES = ("ba", "con", "de", "er", "fi", "gra", "ho", "in", "ju", "ka", "lo", "men", "no", "or", "pe", "qui", "re",
              "sta", "ti", "un", "ver", "wa", "xi", "yo", "za")  # fmt: skip
VOCABULARY = 4000


@functools.cache
def words(size: int) -> str:
    """So many characters of them."""
    chance = random.Random(1)
    vocabulary = ["".join(chance.choices(_SYLLABLES, k=chance.randint(1, 4))) for _ in range(VOCABULARY)]
    weights = [1 / rank for rank in range(1, VOCABULARY + 1)]  # Zipf's law
    return " ".join(chance.choices(vocabulary, weights, k=size))[:size]
