"""Who can be mentioned: the names that this worker has heard of, and whom a text means by `@name`.

Names come from this worker's own connections, from presence, and from what is looked back at, so that a name is known
wherever its bearer shares a room with somebody here. Nothing is forgotten at once when somebody leaves: one may mention
who is away. A user has one name at a time.
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
        self._names: dict[str, str] = {}  # user → the folded name that counts

    def called(self, user: str, name: str) -> None:
        """A user is called so, and not as before."""
        key = folded(name)
        before = self._names.get(user)
        if before is not None and before != key:
            self._forget(user, before)
        self._names[user] = key
        users = self._users.pop(key, ())
        if user not in users:
            users = (*users, user)
            if len(users) > MOST_OF_ONE_NAME:
                self._names.pop(users[0], None)
                users = users[1:]
        self._users[key] = users
        if len(self._users) > MOST_NAMES:
            for one in self._users.pop(next(iter(self._users))):
                self._names.pop(one, None)

    def met(self, user: str, name: str) -> None:
        """A user was called so once; what is known already is newer."""
        if user not in self._names:
            self.called(user, name)

    def _forget(self, user: str, key: str) -> None:
        """A name that is given up."""
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
