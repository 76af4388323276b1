"""Who can be mentioned: the names that this worker has heard of, and whom a text means by `@name`.

Names come from this worker's own connections and from presence, so that a name is known wherever its bearer shares a
room with somebody here. Nothing is forgotten at once when somebody leaves: one may mention who is away.
"""

from __future__ import annotations

from typing import Final

from workers.chat.messages import MAX_MENTIONS, MENTION, ROOM_MENTION
from workers.chat.names import MAX_LENGTH, folded

MOST_NAMES: Final = 100_000
MOST_OF_ONE_NAME: Final = 8


class People:
    """Names and the users who bear them."""

    def __init__(self) -> None:
        self._users: dict[str, tuple[str, ...]] = {}  # folded name → users, the latest last

    def called(self, user: str, name: str, before: str = "") -> None:
        """A user is called so; `before` is a name that is given up."""
        if before:
            self._forget(user, folded(before))
        key = folded(name)
        users = self._users.pop(key, ())
        if user not in users:
            users = (*users, user)[-MOST_OF_ONE_NAME:]
        self._users[key] = users
        if len(self._users) > MOST_NAMES:
            del self._users[next(iter(self._users))]

    def _forget(self, user: str, key: str) -> None:
        users = tuple(one for one in self._users.get(key, ()) if one != user)
        if users:
            self._users[key] = users
        else:
            self._users.pop(key, None)

    def mentioned(self, room: str, text: str) -> tuple[str, ...]:
        """The users whom the text means, and `@room`; each once. Of several names the longest that fits counts."""
        found: dict[str, None] = {}
        for place in MENTION.finditer(text):
            found.update(dict.fromkeys(self._meant(folded(text[place.end() : place.end() + MAX_LENGTH]))))
            if len(found) >= MAX_MENTIONS:
                break
        return tuple(found)[:MAX_MENTIONS]

    def _meant(self, words: str) -> tuple[str, ...]:
        for end in range(len(words), 0, -1):
            if end < len(words) and words[end].isalnum() and words[end - 1].isalnum():
                continue  # in the middle of a word
            if words[:end] == ROOM_MENTION[1:]:
                return (ROOM_MENTION,)
            users = self._users.get(words[:end])
            if users:
                return users
        return ()
