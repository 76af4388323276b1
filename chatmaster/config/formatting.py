"""Text for configuration messages: the value that was found, the allowed values, the key that was probably meant."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import msgspec.inspect

from chatmaster.settings import Settings

HIDDEN: Final = "***"  # stands for a secret
_SHOWN = 60  # characters of a value in a message


def shown(value: Any) -> str:
    """A value as TOML, shortened."""
    text = toml(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def toml(value: Any) -> str:
    """A value as one line of TOML."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return json.dumps(value, ensure_ascii=False)
        case list() | tuple():
            return "[" + ", ".join(toml(item) for item in value) + "]"
        case dict():
            return "{" + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + "}"
        case _:
            return str(value)


def closest(key: str, known: Iterable[str]) -> str:
    """The known key that `key` probably means, or ""."""
    section, _, last = key.rpartition(".")
    candidates = [candidate.rpartition(".") for candidate in known]
    # Only the last parts are compared: paths in the same section are similar in any case.
    for part in ([one for one in candidates if one[0] == section], candidates):
        if near := difflib.get_close_matches(last, dict.fromkeys(one[2] for one in part), 1, 0.7):
            found = ["".join(one) for one in part if one[2] == near[0]]
            return found[0] if len(found) == 1 else ""
    return ""


def allowed_by(wanted: Any) -> str:
    """The values that a type allows, in words."""
    return _words(msgspec.inspect.type_info(wanted))


def _words(kind: msgspec.inspect.Type) -> str:
    match kind:
        case msgspec.inspect.BoolType():
            return "true or false"
        case msgspec.inspect.IntType():
            return "a whole number" + _range(kind)
        case msgspec.inspect.FloatType():
            return "a number" + _range(kind)
        case msgspec.inspect.StrType():
            return "a string" + (f" that matches {kind.pattern}" if kind.pattern else "")
        case msgspec.inspect.LiteralType():
            return " or ".join(toml(value) for value in kind.values)
        case msgspec.inspect.VarTupleType():
            return f"a list, each {_words(kind.item_type)}"
        case msgspec.inspect.UnionType():
            return " or ".join(_words(part) for part in kind.types if not isinstance(part, msgspec.inspect.NoneType))
        case _:
            return str(kind)


def _range(kind: msgspec.inspect.IntType | msgspec.inspect.FloatType) -> str:
    if kind.ge is not None and kind.le is not None:
        return f" from {kind.ge} to {kind.le}"
    if kind.ge is not None:
        return f", {kind.ge} or more"
    if kind.gt is not None:
        return f" above {kind.gt}"
    return ""


def without_password(url: str) -> str:
    """The URL of a store with its user, but without passwords, also those in the query."""
    parts = urlsplit(url)
    if not parts.scheme:
        return url  # "embedded"
    login, at, hosts = parts.netloc.rpartition("@")
    user, colon, _ = login.partition(":")
    netloc = f"{user}{colon}{HIDDEN if colon else ''}{at}{hosts}"
    query = HIDDEN if "password" in parts.query else parts.query
    return f"{parts.scheme}://{netloc}{parts.path}" + (f"?{query}" if query else "")


def visible(settings: Settings, key: str) -> Any:
    """The value of a setting by its key path, as TOML types, without secrets."""
    section, _, name = key.partition(".")
    if not name:
        rules = [msgspec.to_builtins(rule) for rule in getattr(settings, section)]
        return [{key: value for key, value in rule.items() if value is not None} for rule in rules]
    found = msgspec.to_builtins(getattr(getattr(settings, section), name))
    if found and (
        key in ("auth.secret", "hooks.secret") or (key == "auth.jwks" and not found.startswith(("https://", "http://")))
    ):
        return HIDDEN  # a key set in a file may have secrets
    return without_password(found) if key == "store.url" else found
