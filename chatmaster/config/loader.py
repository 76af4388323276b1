"""Loads the configuration from defaults, program, TOML file, environment and flags; the last source wins.

`load` returns a `Loaded`: the frozen `Settings`, and the origin of every value. All faults are reported at once, each
with its full key path, file and line, the value that was found and the allowed values. `settings.py` defines type,
default and bounds of each setting, `validation.py` the rules between settings.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from chatmaster.config import environment as config_environment
from chatmaster.config import toml_file, validation
from chatmaster.config.environment import Environment
from chatmaster.config.formatting import allowed_by, closest, shown
from chatmaster.errors import ConfigError, Fault
from chatmaster.settings import RoomRule, Settings

DEFAULT = "default"
SECRET_KEYS = frozenset({"auth.secret", "hooks.secret", "auth.jwks", "store.url"})  # never shown completely


@dataclass(frozen=True)
class _Value:
    value: Any
    origin: str
    lines: toml_file.ConfigFile | None = None  # the file, in which parts of the value have lines of their own

    def origin_of(self, key: str) -> str:
        return self.lines.origin(key) if self.lines is not None else self.origin


_Layer = Mapping[str, _Value]


@dataclass(frozen=True)
class Sources:
    """The arguments of `load`, so that a reload reads the same sources."""

    file: str | None
    overrides: tuple[str, ...]
    flags: Mapping[str, Any]
    environ: Mapping[str, str]
    directory: Path
    declared: Mapping[str, Any] = field(default_factory=dict)
    declared_by: str = ""


@dataclass(frozen=True)
class Loaded:
    """A valid configuration and its origins."""

    settings: Settings
    origins: Mapping[str, str]  # section.key → "default", "FILE:LINE", "environment NAME", "flag --NAME", "program X"
    file: Path | None
    sources: Sources
    warnings: tuple[str, ...] = ()  # one sentence for each ignored variable

    def reload(self) -> Loaded:
        """Read the same sources again. Raises ConfigError; this configuration stays valid."""
        return _load(self.sources)

    def declare(self, declared: Mapping[str, Any], by: str) -> Loaded:
        """Add the settings that the program declares, e.g. ``{"server.workers": 4}``; every source but defaults wins.

        Raises ConfigError for a declaration that is not allowed.
        """
        return _load(replace(self.sources, declared=dict(declared), declared_by=by))

    @property
    def state_dir(self) -> Path:
        """The directory for the control socket, the pid file and the embedded store, absolute."""
        return state_dir(self.settings, self.sources.environ, self.sources.directory)

    @property
    def control_socket(self) -> Path:
        """The control socket, by which chatctl reaches the master."""
        return self.state_dir / f"{self.settings.master.name}.sock"

    @property
    def pid_file(self) -> Path:
        """The locked pid file."""
        return self.state_dir / f"{self.settings.master.name}.pid"

    @property
    def worker_record(self) -> Path:
        """The names of the worker processes."""
        return self.state_dir / f"{self.settings.master.name}.workers"

    @property
    def store_dir(self) -> Path:
        """The directory of the embedded store."""
        return self.state_dir / f"{self.settings.master.name}.store"

    @property
    def log_file(self) -> Path | None:
        """The absolute path of `log.file`; None: standard error."""
        file = self.settings.log.file
        return self.sources.directory / file if file else None


def load(
    file: str | None = None,
    *,
    overrides: Sequence[str] = (),
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    directory: Path | None = None,
    only: str = "",
) -> Loaded:
    """Read the configuration.

    `file` is --config; `overrides` are the texts of --set; `flags` are other flags by key, e.g.
    ``{"server.workers": 4}``; relative paths begin at `directory`; `only` names the one section whose faults count.
    Raises ConfigError with every fault.
    """
    environ = dict(os.environ) if environ is None else environ
    return _load(Sources(file, tuple(overrides), flags or {}, environ, directory or working_directory(environ)), only)


def working_directory(environ: Mapping[str, str]) -> Path:
    """The directory at which relative paths begin; for a removed directory its former path, where nothing exists."""
    try:
        return Path.cwd()
    except OSError:
        return Path(environ.get("PWD") or "/")


def state_dir(settings: Settings, environ: Mapping[str, str], directory: Path) -> Path:
    """The absolute path of `master.state_dir`, else systemd's state directory, else that of the XDG specification.

    Raises ConfigError for a user without a home directory if no other source names it.
    """
    if settings.master.state_dir:
        return directory / settings.master.state_dir
    if systemd := environ.get("STATE_DIRECTORY"):
        return Path(systemd.split(":")[0])
    return directory / (environ.get("XDG_STATE_HOME") or _home(environ) / ".local" / "state") / "chatmaster"


def _home(environ: Mapping[str, str]) -> Path:
    if home := environ.get("HOME"):
        return Path(home)
    try:
        return Path.home()
    except RuntimeError:  # e.g. in a container that runs as a user id without an account
        wanted = "name a directory with --state-dir or CHATMASTER_MASTER_STATE_DIR, or set HOME"
        fault = Fault("master.state_dir", "default", "", f"user {os.getuid()} has no home directory: {wanted}")
        raise ConfigError([fault]) from None


def _load(sources: Sources, only: str = "") -> Loaded:
    path = toml_file.find(sources.file, sources.environ, sources.directory)
    read = toml_file.read(path) if path is not None else None
    environment = config_environment.read(sources.environ, KEYS)
    faults: list[Fault] = []
    layers: list[_Layer] = [
        {key: _Value(value, f"program {sources.declared_by}") for key, value in sources.declared.items()},
        _file_layer(read, faults) if read is not None else {},
        _environment_layer(environment),
        _flag_layer(sources, faults),
    ]
    merged: dict[str, _Value] = {}
    for layer in layers:
        merged.update(layer)
    settings = _with_key_files(_convert(merged, faults), sources.directory)
    origins = {key: merged[key].origin if key in merged else DEFAULT for key in KEYS}
    loaded = Loaded(_with_push_key(settings, sources), origins, path, sources, environment.warnings)
    if not faults:
        faults += validation.check(settings, loaded.state_dir, sources.directory, origins)
    if only:
        faults = [fault for fault in faults if fault.key.partition(".")[0] == only]
    if faults:
        raise ConfigError([_of_an_empty_variable(fault, environment) for fault in faults])
    return loaded


def _of_an_empty_variable(fault: Fault, environment: Environment) -> Fault:
    """A fault, with what to do where it comes from a variable that is set to nothing, as by a script."""
    name, text = environment.texts.get(fault.key, ("", ""))
    if not name or text or fault.origin != f"environment {name}":
        return fault
    return replace(fault, allowed=f"{fault.allowed}; {name} is set and empty: `unset {name}` if nothing is meant")


# ---- the known keys --------------------------------------------------------------------------------


def _sections() -> Iterator[tuple[str, type[msgspec.Struct]]]:
    for section in msgspec.structs.fields(Settings):
        if isinstance(section.type, type) and issubclass(section.type, msgspec.Struct):
            yield section.name, section.type


def _known_keys() -> dict[str, Any]:
    keys: dict[str, Any] = {
        f"{name}.{key.name}": key.type for name, section in _sections() for key in msgspec.structs.fields(section)
    }
    keys["rooms"] = tuple[RoomRule, ...]
    return keys


KEYS: Mapping[str, Any] = _known_keys()  # full key path → its type
_SECTIONS = frozenset(name for name, _ in _sections())
_ROOM_KEYS = {key.name: key.type for key in msgspec.structs.fields(RoomRule)}


def _unknown(key: str, origin: str, known: Iterable[str]) -> Fault:
    near = closest(key.rpartition("].")[2], known)
    return Fault(key, origin, "", "unknown key" + (f"; did you mean {near}?" if near else ""))


# ---- the layers ------------------------------------------------------------------------------------


def _file_layer(file: toml_file.ConfigFile, faults: list[Fault]) -> _Layer:
    layer: dict[str, _Value] = {}
    for name, table in file.values.items():
        if name == "rooms":
            layer[name] = _Value(table, file.origin(name), file)
        elif name not in _SECTIONS:
            faults.append(_unknown(name, file.origin(name), [*_SECTIONS, "rooms"]))
        elif not isinstance(table, dict):
            faults.append(Fault(name, file.origin(name), shown(table), "allowed: a table of keys"))
        else:
            for key, value in table.items():
                full = f"{name}.{key}"
                if full in KEYS:
                    layer[full] = _Value(value, file.origin(full), file)
                else:
                    faults.append(_unknown(full, file.origin(full), KEYS))
    return layer


def _environment_layer(environment: Environment) -> _Layer:
    return {key: _Value(_parse(key, text), f"environment {name}") for key, (name, text) in environment.texts.items()}


def _flag_layer(sources: Sources, faults: list[Fault]) -> _Layer:
    layer: dict[str, _Value] = {}
    for text in sources.overrides:
        key, equals, value = text.partition("=")
        key = key.strip()
        if not equals:
            faults.append(Fault("", "flag --set", "", f"{text!r} has no '='; allowed: section.key=value"))
        elif key not in KEYS:
            faults.append(_unknown(key, "flag --set", KEYS))
        else:
            layer[key] = _Value(_parse(key, value.strip()), "flag --set")
    for key, value in sources.flags.items():
        layer[key] = _Value(value, f"flag {_FLAGS.get(key, key)}")
    return layer


_FLAGS = {
    "master.name": "--name",
    "master.state_dir": "--state-dir",
    "server.app": "APP",
    "server.workers": "-n",
    "server.listen": "-b",
    **dict.fromkeys(("server.dev", "log.format", "master.hang_timeout", "master.ready_timeout"), "--dev"),
}


def _parse(key: str, text: str) -> Any:
    """Parse a value from the environment or --set: TOML, or a bare word as a string; lists also as a,b,c."""
    wanted = KEYS[key]
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, KeyError):
        value = text
    if wanted is str and not isinstance(value, str):
        return text  # a name or a secret that looks like a number
    if wanted == tuple[str, ...] and isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


# ---- values to settings ----------------------------------------------------------------------------


def _convert(merged: Mapping[str, _Value], faults: list[Fault]) -> Settings:
    sections: dict[str, Any] = {name: {} for name in _SECTIONS}
    for full, value in merged.items():
        section, _, key = full.partition(".")
        if full == "rooms":
            sections["rooms"] = tuple(_convert_rooms(value, faults))
        elif (converted := _convert_one(full, value, KEYS[full], faults)) is not _WRONG:
            sections[section][key] = converted
    made: dict[str, Any] = {name: kind(**sections[name]) for name, kind in _sections()}
    return Settings(**made, rooms=sections.get("rooms", ()))


def _with_key_files(settings: Settings, directory: Path) -> Settings:
    """Replace a path in `auth.public_key` or `auth.jwks` by the text of that file; workers only get the text."""
    auth = settings.auth
    if auth.public_key and "-----BEGIN" not in auth.public_key:
        auth = msgspec.structs.replace(auth, public_key=_text_of(auth.public_key, directory))
    if auth.jwks and not auth.jwks.lstrip().startswith(("{", "https://", "http://")):
        auth = msgspec.structs.replace(auth, jwks=_text_of(auth.jwks, directory))
    return msgspec.structs.replace(settings, auth=auth)


def _with_push_key(settings: Settings, sources: Sources) -> Settings:
    """Make the path of the key for Web Push absolute, where there is push: workers know no state directory."""
    push = settings.push
    if not push.contact:
        return settings
    own = state_dir(settings, sources.environ, sources.directory) / f"{settings.master.name}.vapid.pem"
    path = sources.directory / push.key_file if push.key_file else own
    return msgspec.structs.replace(settings, push=msgspec.structs.replace(push, key_file=str(path)))


def _text_of(file: str, directory: Path) -> str:
    """The text of a file; its name where it cannot be read, which the check then names."""
    try:
        return (directory / file).read_text(encoding="ascii")
    except (OSError, ValueError):
        return file


_WRONG = object()


def _convert_one(key: str, value: _Value, wanted: Any, faults: list[Fault]) -> Any:
    try:
        if _has_nul(value.value):
            raise msgspec.ValidationError  # no path, name or address may contain NUL
        return msgspec.convert(value.value, wanted)
    except msgspec.ValidationError:
        found = "of the wrong type" if key in SECRET_KEYS else shown(value.value)
        faults.append(Fault(key, value.origin_of(key), found, f"allowed: {allowed_by(wanted)}"))
        return _WRONG


def _has_nul(value: Any) -> bool:
    return "\0" in value if isinstance(value, str) else isinstance(value, list) and any(map(_has_nul, value))


def _convert_rooms(value: _Value, faults: list[Fault]) -> Iterator[RoomRule]:
    if not isinstance(value.value, list) or not all(isinstance(table, dict) for table in value.value):
        faults.append(Fault("rooms", value.origin, shown(value.value), "allowed: an array of tables, [[rooms]]"))
        return
    for index, table in enumerate(value.value):
        path = f"rooms[{index}]"
        known = {key: part for key, part in table.items() if key in _ROOM_KEYS}
        for key in table.keys() - known.keys():
            faults.append(_unknown(f"{path}.{key}", value.origin_of(f"{path}.{key}"), _ROOM_KEYS))
        parts = {
            key: _convert_one(f"{path}.{key}", replace(value, value=part), _ROOM_KEYS[key], faults)
            for key, part in known.items()
        }
        if "match" not in known:
            faults.append(Fault(path, value.origin_of(path), "", "match is missing: the pattern of the room names"))
        elif _WRONG not in parts.values():
            yield RoomRule(**parts)
