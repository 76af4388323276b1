"""MentionIndex: the names that this worker knows, and which users a text means by `@name`.

Names come from this worker's own connections, from presence and from history, so that a name is known wherever its
bearer shares a room with a user of this worker. A name outlives the connection, since users who are away can be
mentioned. A user has one name at a time.

The search is bounded whatever the text: behind each `@` no more characters than a name can have are folded, once, their
first word says which lengths of names are worth a look, and a text has a budget of characters for all its `@` together.
"""

from __future__ import annotations

import unicodedata
from typing import Final

from workers.chat.rules.entries import MAX_MENTIONS, MENTION, ROOM_MENTION
from workers.chat.rules.names import MAX_LENGTH, folded

WINDOW: Final = 2 * MAX_LENGTH + 1  # characters behind an `@`: a name may be written with its accents apart
MOST_NAMES: Final = 100_000
MOST_OF_ONE_NAME: Final = 8
BUDGET: Final = 40_000  # what one text may cost, in characters: 300 `@` with ASCII behind them, about 1 ms
PLACE_COST: Final = 64  # characters that an `@` costs beside those that are folded
FOLDING_COST: Final = 4  # times that what is not ASCII costs


class MentionIndex:
    """Names and the users who bear them."""

    def __init__(self) -> None:
        # Folded name → the user, or several users, the latest last.
        self._users: dict[str, str | tuple[str, ...]] = {}
        self._names: dict[str, str] = {}  # user → the folded name that counts
        # First word → length of a folded name → such names; without names of one word, which nearly every guest has.
        self._lengths: dict[str, dict[int, int]] = {}

    def add(self, user: str, name: str) -> None:
        """Note what a user is called from now on."""
        key = folded(name)
        before = self._names.get(user)
        if before is not None and before != key:
            self._forget(user, before)
        self._names[user] = key
        known = self._users.pop(key, None)
        if known is None:
            self._index(key)
            self._users[key] = user
        else:
            self._users[key] = self._with_another(_several(known), user)
        if len(self._users) > MOST_NAMES:
            oldest = next(iter(self._users))
            for one in _several(self._users.pop(oldest)):
                self._names.pop(one, None)
            self._unindex(oldest)

    def _with_another(self, users: tuple[str, ...], user: str) -> str | tuple[str, ...]:
        """The users of one name with one more, who pushes out the oldest of too many."""
        if user not in users:
            users = (*users, user)
            if len(users) > MOST_OF_ONE_NAME:
                self._names.pop(users[0], None)
                users = users[1:]
        return _as_kept(users)

    def knows(self, name: str) -> bool:
        """Whether a user has this name, as far as this worker knows."""
        return folded(name) in self._users

    def is_called(self, user: str, name: str) -> bool:
        """Whether that is the name which counts for the user, as far as this worker knows."""
        return self._names.get(user) == folded(name)

    def add_if_new(self, user: str, name: str) -> None:
        """Note what a user was called once; a name that is known already is newer."""
        if user not in self._names:
            self.add(user, name)

    def _forget(self, user: str, key: str) -> None:
        """Remove a name that a user gave up."""
        users = tuple([one for one in _several(self._users.get(key, ())) if one != user])
        if users:
            self._users[key] = _as_kept(users)
        elif self._users.pop(key, None) is not None:
            self._unindex(key)

    def _index(self, key: str) -> None:
        word = _first_word(key)
        if word != key:
            lengths = self._lengths.setdefault(word, {})
            lengths[len(key)] = lengths.get(len(key), 0) + 1

    def _unindex(self, key: str) -> None:
        word = _first_word(key)
        if word == key:
            return
        lengths = self._lengths[word]
        lengths[len(key)] -= 1
        if not lengths[len(key)]:
            del lengths[len(key)]
            if not lengths:
                del self._lengths[word]

    def mentioned(self, room: str, text: str) -> tuple[str, ...]:
        """The users whom the text means, and `@room`; each once. Of several names the longest that fits counts.

        What lies beyond the text's budget, or beyond MAX_MENTIONS users, is not found.
        """
        found: dict[str, None] = {}
        left = BUDGET
        for place in MENTION.finditer(text):
            words = folded(text[place.end() : place.end() + WINDOW])
            found.update(dict.fromkeys(self._meant(words)))
            left -= PLACE_COST + len(words) * (1 if words.isascii() else FOLDING_COST)
            if left <= 0 or len(found) >= MAX_MENTIONS:
                break
        return tuple(found)[:MAX_MENTIONS]

    def _meant(self, words: str) -> tuple[str, ...]:
        """The users whose name the words begin with."""
        first = _first_word(words)
        for length in (*sorted(self._lengths.get(first, ()), reverse=True), len(first)):
            name = words[:length]
            if name in self._users and name != ROOM_MENTION[1:] and _ends_word(words, length):
                return _several(self._users[name])
        return (ROOM_MENTION,) if first == ROOM_MENTION[1:] else ()


def _several(users: str | tuple[str, ...]) -> tuple[str, ...]:
    """The users of one name, as the index keeps them, as a tuple."""
    return (users,) if isinstance(users, str) else users


def _as_kept(users: tuple[str, ...]) -> str | tuple[str, ...]:
    """Some users of one name, as the index keeps them: a tuple of one costs each connection 48 bytes."""
    return users[0] if len(users) == 1 else users


def _first_word(folded_name: str) -> str:
    """The letters and digits that it begins with, or else its first character."""
    if folded_name.isalnum():
        return folded_name
    for at, character in enumerate(folded_name):
        if not character.isalnum():
            return folded_name[: at or 1]
    return folded_name


def _ends_word(words: str, end: int) -> bool:
    """Whether what ends there does not end in the middle of a word, or before a mark of its last character."""
    if end == len(words):
        return True
    behind = words[end]
    if not behind.isascii() and unicodedata.category(behind)[0] == "M":
        return False
    return not (behind.isalnum() and words[end - 1].isalnum())
