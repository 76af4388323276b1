"""Finds words in a text in any case and with look-alike letters (UTS #39).

The look-alikes of each letter are collected once, and the words become one regular expression, so that any text is
searched in one pass: folding each word of the text first took half a second for 64 KB.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Final

from workers.chat.rules import names

# Unicode blocks with variants of letters: superscripts, letter-like symbols, enclosed, full width, mathematical.
_DRESSED: Final = (
    range(0x20, 0x250), range(0x2070, 0x20A0), range(0x2100, 0x2190), range(0x2460, 0x2500), range(0xFB00, 0xFB07),
    range(0xFF00, 0xFFF0), range(0x1D400, 0x1D800), range(0x1F100, 0x1F1A0),
)  # fmt: skip

Alike = dict[str, frozenset[str]]  # skeleton of a letter → the letters with that skeleton


def pattern_of(words: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern that finds any of the words as a whole word, in group 1."""
    words = tuple(words)
    alike = _alike(frozenset(character for word in words for character in _cases(word)))
    longest = max(map(len, alike))
    known: dict[frozenset[str], str] = {}

    def rest(keys: frozenset[str]) -> str:
        """Return the expression for the remaining letters of the words."""
        if keys not in known:
            branches: dict[str, set[str]] = {}
            for key in keys:
                for size in range(1, min(longest, len(key)) + 1):
                    if key[:size] in alike:
                        branches.setdefault(key[:size], set()).add(key[size:])
            found = [f"[{_escaped(alike[part])}]{rest(frozenset(left))}" for part, left in sorted(branches.items())]
            known[keys] = "(?:" + "|".join([*found, *([r"(?!\w)"] if "" in keys else ())]) + ")"
        return known[keys]

    wanted = frozenset(key for word in words for key in names.keys_of(word) if key)
    if not wanted:
        return re.compile("((?!))")
    shortest = min(_fewest(key, alike, longest) for key in wanted)  # most words of a text are too short to be looked at
    return re.compile(rf"(?<!\w)(?=\w{{{shortest}}})({rest(wanted)})")


def _fewest(key: str, alike: Alike, longest: int) -> int:
    """The smallest number of letters that look like `key`."""
    fewest = [0]
    for end in range(1, len(key) + 1):
        sizes = range(1, min(longest, end) + 1)
        fewest.append(1 + min((fewest[end - size] for size in sizes if key[end - size : end] in alike), default=end))
    return fewest[-1]


def _escaped(characters: Iterable[str]) -> str:
    return re.escape("".join(sorted(characters)))


def _alike(own: frozenset[str]) -> Alike:
    """The look-alikes of Unicode's table and of the words' own characters, which may be of any script."""
    found = {key: set(characters) for key, characters in _everyones().items()}
    _collect(found, own)
    return {key: frozenset(characters) for key, characters in found.items()}


@cache
def _everyones() -> Alike:
    """The look-alikes of Unicode's table; computed at the first use, in about 50 ms."""
    found: dict[str, set[str]] = {}
    characters = {one for source in names.confusables() for one in _cases(source)}
    characters.update(chr(code) for some in _DRESSED for code in some)
    _collect(found, characters)
    return {key: frozenset(some) for key, some in found.items()}


def _collect(found: dict[str, set[str]], characters: Iterable[str]) -> None:
    for character in characters:
        if len(character) == 1 and (character.isalnum() or character == "_"):
            for key in names.keys_of(character):
                if key:
                    found.setdefault(key, set()).add(character)


def _cases(text: str) -> set[str]:
    return {one for some in (text, text.lower(), text.upper(), text.title()) for one in some}
