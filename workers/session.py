"""Session: a program's data of one connection, checked at every write so that it always survives a reload.

It takes None, booleans, numbers, strings, bytes, aware datetimes, and lists and dictionaries of them: what msgspec
gives back as it got it. A list or a dictionary that is put in is copied; the copy checks what is put into it later, at
any depth, so nothing comes in that another worker would get as something else, or not at all. All of it is bounded.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Self, SupportsIndex

import msgspec

MAX_SIZE: Final = 32_768  # bytes of an encoded session; a connection has to fit into one packet of a handover
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder().decode


class _Root:
    """Tracks an upper bound of the size of one session."""

    __slots__ = ("session", "size")

    def __init__(self) -> None:
        self.session: Session | None = None
        self.size = 0  # upper bound in bytes

    def make_room(self, size: int, replaced: Any) -> None:
        """Account for `size` more bytes in the place of `replaced`. Raises ValueError above MAX_SIZE."""
        if self.size + size > MAX_SIZE:  # recompute: the bound still counts replaced and removed values
            self.size = len(_encode(plain(self.session or {}))) - len(_encode(plain(replaced)))
            if self.size + size > MAX_SIZE:
                raise ValueError(
                    f"a session holds {MAX_SIZE} bytes at most: it has {self.size}, and {size} would be added"
                )
        self.size += size


class CheckedDict(dict[Any, Any]):
    """A dictionary in a session."""

    __slots__ = ("_path", "_root")

    def __init__(self, root: _Root, path: str) -> None:
        super().__init__()
        self._root = root
        self._path = path

    def __setitem__(self, key: Any, value: Any) -> None:
        path = f"{self._path}[{key!r}]"[:200]
        super().__setitem__(key, _checked(self._root, path, value, key, replaced=self.get(key)))

    def update(self, *args: Any, **values: Any) -> None:
        for key, value in dict(*args, **values).items():
            self[key] = value

    def __ior__(self, other: Any) -> Self:  # type: ignore[misc]
        self.update(other)
        return self

    def setdefault(self, key: Any, default: Any = None) -> Any:
        if key not in self:
            self[key] = default
        return self[key]

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle as a plain dictionary."""
        return dict, (plain(self),)


class CheckedList(list[Any]):
    """A list in a session."""

    __slots__ = ("_path", "_root")

    def __init__(self, root: _Root, path: str) -> None:
        super().__init__()
        self._root = root
        self._path = path

    def _taken(self, values: Iterable[Any]) -> list[Any]:
        return [_checked(self._root, f"{self._path}[…]", value) for value in values]

    def __setitem__(self, index: Any, value: Any) -> None:
        taken = self._taken(value) if isinstance(index, slice) else self._taken([value])[0]
        super().__setitem__(index, taken)

    def append(self, value: Any) -> None:
        super().append(*self._taken([value]))

    def insert(self, index: SupportsIndex, value: Any) -> None:
        super().insert(index, *self._taken([value]))

    def extend(self, values: Iterable[Any]) -> None:
        super().extend(self._taken(values))

    def __iadd__(self, values: Iterable[Any]) -> Self:  # type: ignore[misc]
        self.extend(values)
        return self

    def __imul__(self, times: SupportsIndex) -> Self:
        values = list(self) * (int(times) - 1)
        if int(times) < 1:
            self.clear()
        self.extend(values)
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle as a plain list."""
        return list, (plain(self),)


class Session(CheckedDict):
    """A connection's dictionary with string keys; it survives a reload.

    Raises TypeError at once for what another worker would get as something else, ValueError for more than `MAX_SIZE`.
    """

    __slots__ = ()

    def __init__(self, *args: Any, **values: Any) -> None:
        root = _Root()
        root.session = self
        super().__init__(root, "session")
        self.update(*args, **values)

    def __setitem__(self, key: str, value: Any) -> None:
        if not isinstance(key, str):
            raise TypeError(f"session[{key!r}]: keys are strings")
        super().__setitem__(key, value)

    def restore(self, travelled: dict[str, Any]) -> None:
        """Restore a session of another worker without checks: they were made there, and must not fail here."""
        for key, value in travelled.items():
            dict.__setitem__(self, key, _wrapped(self._root, f"session[{key!r}]", value))
        self._root.size = MAX_SIZE  # computed again at the next write


def plain(value: Any) -> Any:
    """Return the same data as plain lists and dictionaries."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list) else value


def _checked(root: _Root, path: str, value: Any, key: Any = "", *, replaced: Any = None) -> Any:
    """Return the checked copy of a value that is stored. Raises TypeError, ValueError."""
    try:
        given = [key, plain(value)] if isinstance(value, CheckedDict | CheckedList) else [key, value]
        encoded = _encode(given)
        # Keys of dictionaries are checked, too: numbers and tuples would come back as other types.
        same = _alike(_decode(encoded), given) and _decode(_encode({key: None})) == {key: None}
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise TypeError(f"{path} cannot travel to another worker: {error}") from None
    if not same:
        raise TypeError(f"{path} would be something else at another worker: {type(value).__name__}")
    root.make_room(len(encoded), replaced)
    return _wrapped(root, path, given[1])


def _wrapped(root: _Root, path: str, value: Any) -> Any:
    """Return a list or dictionary as a copy that checks its writes; return any other value unchanged."""
    if isinstance(value, dict):
        copy = CheckedDict(root, path)
        for key, inner in value.items():
            dict.__setitem__(copy, key, _wrapped(root, f"{path}[{key!r}]"[:200], inner))
        return copy
    if isinstance(value, list):
        items = CheckedList(root, path)
        list.extend(items, [_wrapped(root, f"{path}[…]", inner) for inner in value])
        return items
    return value


def _alike(left: Any, right: Any) -> bool:
    """True if two values are equal and of the same types at every depth: tuples and sets come back as lists."""
    if isinstance(right, CheckedDict | CheckedList):
        right = plain(right)
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(_alike(value, right[key]) for key, value in left.items())
    if isinstance(left, list):
        return len(left) == len(right) and all(map(_alike, left, right))
    return bool(left == right) or left != left  # NaN
