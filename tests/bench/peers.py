"""What is measured beside ours and has to be built first: the bound in C, and Centrifugo, which does the same in Go.

Both are built once and kept in `$XDG_CACHE_HOME/chatmaster-bench` (`~/.cache/chatmaster-bench`): the bound where there
is a C compiler, in a second; Centrifugo where there is a Go tool chain, through the module proxy, in minutes.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.bench import servers
from tests.bench.dialects import CENTRIFUGO
from tests.bench.servers import Server
from tests.support import processes
from tests.support.store import RedisServer

BOUND_SOURCE: Final = Path(__file__).with_name("bound.c")
MODULE: Final = "github.com/centrifugal/centrifugo/v6@latest"
_VERSION: Final = re.compile(rb"mod\t" + re.escape(MODULE.partition("@")[0].encode()) + rb"\t(\S+)\t")
HISTORY_TTL: Final = "1h"
_LONG: Final = "1h"  # Centrifugo's pings, which the load does not answer, come later than any run ends


class CannotBuild(Exception):
    """A peer is not there: the message says what is missing."""


def cache() -> Path:
    """The directory of what was built."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    place = Path(base) / "chatmaster-bench"
    place.mkdir(parents=True, exist_ok=True)
    return place


@functools.cache
def bound_program() -> Path:
    """The bound, compiled where its source is new. Raises CannotBuild."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise CannotBuild("no C compiler (cc, gcc, clang)")
    digest = hashlib.sha256(BOUND_SOURCE.read_bytes()).hexdigest()[:12]
    return _built(cache() / f"bound-{digest}", lambda target: [compiler, "-O2", "-o", str(target), str(BOUND_SOURCE)])


@functools.cache
def centrifugo_program() -> Path:
    """Centrifugo's newest version at the time of the first call. Raises CannotBuild."""
    place = cache() / "centrifugo"
    if place.exists():
        return place
    go = shutil.which("go")
    if go is None:
        raise CannotBuild("no Go tool chain (go)")
    print(f"building {MODULE}, once, which takes minutes", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=cache()) as directory:
        _run([go, "install", MODULE], {"GOBIN": directory})
        os.replace(Path(directory) / "centrifugo", place)
    return place


def _version_of(program: Path) -> str:
    """The version of the module that Go writes into what it builds; the program itself does not know its own."""
    found = _VERSION.search(program.read_bytes())
    return found[1].decode() if found else "of an unknown version"


def built(name: str) -> bool:
    """Whether a peer can be started at once."""
    return name != "centrifugo" or (cache() / name).exists()


def versions(measured: Collection[str]) -> dict[str, str]:
    """What a table says of the peers that were measured."""
    told = {"bound": "the C bound, built by the machine's compiler with -O2"}
    if "centrifugo" in measured:
        told["centrifugo"] = f"Centrifugo {_version_of(centrifugo_program())}"
    return {name: told[name] for name in measured if name in told}


def absent(name: str) -> str:
    """Why a peer cannot be measured here; "" where it can."""
    try:
        _PROGRAMS.get(name, lambda: None)()
    except CannotBuild as error:
        return str(error)
    return ""


@contextmanager
def bound(workers: int, cores: Collection[int], settings: Mapping[str, Any] | None = None) -> Iterator[Server]:
    """One process in C, whatever the workers, that only writes what comes to the room."""
    port = processes.free_port()
    with servers.pinned(cores), servers.started([str(bound_program()), str(port)], port) as server:
        yield server


@contextmanager
def centrifugo(workers: int, cores: Collection[int], settings: Mapping[str, Any] | None = None) -> Iterator[Server]:
    """One process with as many threads for Go as there are workers; history, recovery and presence on, in a Redis."""
    port = processes.free_port()
    with (
        servers.pinned(cores),
        tempfile.TemporaryDirectory(prefix="cm-bench-") as directory,
        RedisServer(Path(directory), tcp=True) as store,
    ):
        config = Path(directory) / "config.json"
        config.write_text(json.dumps(_configuration(port, store.tcp_url, settings or {})))
        environment = {**os.environ, "GOMAXPROCS": str(workers)}
        command = [str(centrifugo_program()), "--config", str(config)]
        with servers.started(command, port, environment=environment, dialect=CENTRIFUGO) as server:
            yield server


def _configuration(port: int, store_url: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """`settings`: ours, of which the length of the history counts."""
    channel = {
        "history_size": settings.get("store.history_size", 1000),
        "history_ttl": HISTORY_TTL,
        "force_recovery": True,
        "presence": True,
    }
    return {
        "http_server": {"address": "127.0.0.1", "port": port},
        "client": {"insecure": True, "allowed_origins": ["*"], "ping_interval": _LONG, "pong_timeout": "10s"},
        "channel": {"without_namespace": channel},
        "engine": {"type": "redis", "redis": {"address": store_url}},
        "log": {"level": "error"},
    }


def _built(place: Path, command: Any) -> Path:
    if not place.exists():
        part = place.with_suffix(f".{os.getpid()}")
        _run(command(part), {})
        os.replace(part, place)
    return place


def _run(command: list[str], environment: Mapping[str, str]) -> None:
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotBuild(f"{command[0]} failed: {done.stderr.strip()[-500:]}")


_PROGRAMS: Final = {"bound": bound_program, "centrifugo": centrifugo_program}
