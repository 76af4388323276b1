"""The Workers of a program with their addresses and counts, from its declaration and the settings. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from chatmaster import addresses
from chatmaster.config.formatting import shown
from chatmaster.contract import Declared
from chatmaster.errors import ChatmasterError, ConfigError, Fault
from chatmaster.plural import counted
from chatmaster.runtime.cores import Cores, available
from chatmaster.settings import Settings
from chatmaster.stats import MOST_WORKERS

_WEAKER = ("default", "program")  # origins of a value that the operator did not set


@dataclass(frozen=True, slots=True)
class Group:
    """The slots of one Worker of the program."""

    name: str
    listen: tuple[str, ...]
    count: int
    inherited: bool = False  # systemd's sockets replace its own addresses
    chat: bool = False  # the chat serves it
    api: str = ""  # where only the verbs are served: an address beside `listen`

    @property
    def bound(self) -> tuple[str, ...]:
        """All addresses that its processes listen on."""
        return (*self.listen, self.api) if self.api else self.listen


def plain(groups: Sequence[Group]) -> str:
    """The group whose rooms have no prefix in the store: the chat, or else the first group."""
    return next((group.name for group in groups if group.chat), groups[0].name if groups else "")


def declarations(declared: Sequence[Declared]) -> dict[str, object]:
    """The settings that a program declares; only the declaration of a single Worker is a setting of the instance."""
    said: dict[str, object] = {}
    if declared and not any(one.chat for one in declared):
        said["limits.rate"] = 0.0  # the default fits people who chat
    if len(declared) != 1:
        return said
    only = declared[0]
    if only.listen:
        said["server.listen"] = list(only.listen)
    if only.count:
        said["server.workers"] = only.count
    return said


def groups(declared: Sequence[Declared], settings: Settings, origins: Mapping[str, str]) -> tuple[Group, ...]:
    """The groups of a program, in its order.

    A single Worker gets the address and count of the settings. Of several Workers each has its own; a value from file,
    environment or flag applies to the first. Raises ConfigError for groups that cannot run.
    """
    made = _with_api(_groups(declared, settings, origins), settings.api.address)
    if faults := [*_faults(made, settings), *_doubles(made)]:
        raise ConfigError(faults)
    return made


def _groups(declared: Sequence[Declared], settings: Settings, origins: Mapping[str, str]) -> tuple[Group, ...]:
    count = settings.server.workers or cores()
    if len(declared) == 1:
        return (Group(declared[0].name, settings.server.listen, count, chat=declared[0].chat),)
    dev = settings.server.dev
    made = [Group(one.name, one.listen, 1 if dev else one.count or cores(), chat=one.chat) for one in declared]
    if made and _asked(origins, "server.listen"):
        made[0] = replace(made[0], listen=settings.server.listen)
    if made and _asked(origins, "server.workers"):
        made[0] = replace(made[0], count=count)
    return tuple(made)


def _with_api(made: tuple[Group, ...], address: str) -> tuple[Group, ...]:
    """The groups; the one whose verbs are meant where none is named has the API's address."""
    if not address or not made:
        return made
    meant = plain(made)
    return tuple(replace(group, api=address) if group.name == meant else group for group in made)


def _faults(made: Sequence[Group], settings: Settings) -> Iterator[Fault]:
    for group in made:
        for text in group.listen:
            if complaint := addresses.complaint(text, tls=bool(settings.server.tls_cert)):
                yield Fault("", f"Worker {group.name!r}", "", f"{shown(text)}: {complaint}")
    if (total := sum(group.count for group in made)) > MOST_WORKERS:
        yield Fault("", "the program", "", f"{total} workers; allowed: {MOST_WORKERS}")


def _doubles(made: Sequence[Group]) -> Iterator[Fault]:
    seen: dict[tuple[str, int, str], str] = {}
    for group in made:
        for text in group.bound:
            try:
                address = addresses.parse(text)
            except ValueError:
                continue
            place = (address.host, address.port, address.path)
            if (first := seen.setdefault(place, group.name)) != group.name:
                yield Fault(
                    "", f"Worker {group.name!r}", "", f"{shown(text)}: the Worker {first!r} has the same address"
                )


def check_names(new: Sequence[Group], old: Sequence[Group]) -> None:
    """Raise ChatmasterError if a program declares other Workers than the running ones."""
    if sorted(group.name for group in new) != sorted(group.name for group in old):
        raise ChatmasterError(
            f"the program now declares {', '.join(group.name for group in new)} instead of "
            f"{', '.join(group.name for group in old)}: this change needs a restart"
        )


def crowded(workers: int, able: Cores) -> str:
    """The warning about more workers than the cores can run; "" where there are not too many."""
    if not able.are_crowded_by(workers):
        return ""
    return (
        f"{counted(workers, 'worker')} on {counted(able.count, 'core')} ({able}): more than two workers a core take "
        "turns, need memory, and serve no client faster"
    )


def cores() -> int:
    """The number of cores that this process may use."""
    return available().count


def _asked(origins: Mapping[str, str], key: str) -> bool:
    return not origins.get(key, "default").startswith(_WEAKER)
