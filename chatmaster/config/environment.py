"""Environment variables that are settings, and warnings about variables that only look like settings.

Other programs set variables, too: Kubernetes and Docker set `<SERVICE>_PORT`, `<SERVICE>_SERVICE_HOST` and the like in
every container beside a service. A variable that is not a setting therefore causes a warning, not an error.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from chatmaster.config.formatting import closest

PREFIX: Final = "CHATMASTER_"
_NO_SETTING: Final = frozenset({"CHATMASTER_CONFIG"})  # read by chatmaster, but not a key of the configuration
# The service links of Kubernetes, and those of Docker.
_SERVICE_LINK = re.compile(
    r"(?P<service>CHATMASTER(_\w+?)??)_"
    r"(SERVICE_(HOST|PORT)(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?|ENV_\w+)"
)


@dataclass(frozen=True, slots=True)
class Environment:
    """The settings in the environment, and a warning for each variable that is not a setting."""

    texts: Mapping[str, tuple[str, str]]  # key → name of the variable, its text
    warnings: tuple[str, ...]


def variable(key: str) -> str:
    """The variable for a key: server.workers → CHATMASTER_SERVER_WORKERS."""
    return PREFIX + key.replace(".", "_").upper()


def read(environ: Mapping[str, str], keys: Collection[str]) -> Environment:
    """Read the variables that begin with CHATMASTER_."""
    known = {variable(key): key for key in keys}
    texts: dict[str, tuple[str, str]] = {}
    links: dict[str, list[str]] = {}
    warnings: list[str] = []
    for name, text in environ.items():
        if not name.startswith(PREFIX) or name in _NO_SETTING:
            continue
        if (key := known.get(name)) is not None:
            texts[key] = (name, text)
        elif link := _SERVICE_LINK.fullmatch(name):
            links.setdefault(link["service"], []).append(name)
        else:
            warnings.append(_unknown(name, known))
    warnings += [_linked(service, sorted(names)) for service, names in sorted(links.items()) if service != "CHATMASTER"]
    return Environment(texts, tuple(warnings))


def _unknown(name: str, known: Mapping[str, str]) -> str:
    near = closest(name.removeprefix(PREFIX).lower().replace("_", ".", 1), known.values())
    hint = f"; did you mean {variable(near)}?" if near else ""
    return f"environment {name}: not a setting, ignored{hint}"


def _linked(service: str, names: list[str]) -> str:
    service = service.lower().replace("_", "-")
    others = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return (
        f"environment {names[0]}{others}: not a setting, ignored; container platforms set such variables for a "
        f"service named {service} (Kubernetes: enableServiceLinks: false prevents them)"
    )
