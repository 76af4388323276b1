"""The wheel and the sdist: they are whole, and an environment that has nothing but the wheel runs a server.

The wheel is built from the unpacked sdist, so a file that is missing in either is missed here.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.sync.client import connect

from chatmaster.cli.interpreters import NAMES
from tests.support import archives, processes
from tests.support.server import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

SOURCES = (
    "bin",
    "chatmaster",
    "etc",
    "workers",
    ".gitignore",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "README.md",
    "SECURITY.md",
    "pyproject.toml",
)
SHARED = (
    "chatmaster.toml",
    "supervisord.conf",
    "doc",
    "examples",
    "grafana",
    "kubernetes",
    "prometheus",
    "proxy",
    "systemd",
)
LOADED = "workers/http/page/loaded/emoji.js"
OTHERS_COPIES = Path.home() / ".pyenv/versions"
HAS_PIP = importlib.util.find_spec("pip") is not None  # an environment that uv made has none
# Words of pip's that blame the network, not a package.
UNREACHABLE = re.compile(r"connection broken|ConnectionError|ProxyError|name resolution|timed out")


def run(*command: str | Path, cwd: Path | None = None, timeout: float = 120) -> str:
    """The output of a command that succeeds, in an environment without this checkout."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "CHATMASTER"))}
    done = subprocess.run(
        command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout
    )
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def pip(own: str | Path, python: Path, *arguments: str | Path) -> None:
    """Install into an environment, by the pip of `own`. Skips the test where pip reaches no registry."""
    options = ("--no-input", "--disable-pip-version-check", "--retries", "1", "--timeout", "20")
    try:
        run(own, "-m", "pip", "--quiet", *options, "--python", python, "install", "--no-compile", *arguments)
    except AssertionError as error:
        if reason := UNREACHABLE.search(str(error)):
            pytest.skip(f"pip reaches no registry ({reason[0]})")
        raise


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with a pip, and with the build backend that pyproject.toml asks for."""
    place = tmp_path_factory.mktemp("tools")
    try:
        run(sys.executable, "-m", "venv", *(["--without-pip"] if HAS_PIP else []), place)
    except AssertionError as error:
        pytest.skip(f"{sys.executable} cannot make environments with pip: {error}")
    python = place / "bin/python"
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    # The pip that came with the running Python may be too old to install for the newest one.
    pip(sys.executable if HAS_PIP else python, python, *wanted, "pip>=23.2")
    return python


@pytest.fixture(scope="module")
def built(tools: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist, and the wheel that was built from it, of a checkout where npm has built a part of the page."""
    place = tmp_path_factory.mktemp("built")
    checkout = place / "checkout"
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("node_modules", "loaded"))
        else:
            shutil.copy(ROOT / name, checkout / name)
    (checkout / LOADED).parent.mkdir()
    (checkout / LOADED).write_text("export const groups = [];\n")
    run(tools, "-m", "hatchling", "build", "--target", "sdist", "--directory", place, cwd=checkout)
    (sdist,) = place.glob("*.tar.gz")
    with sdist.open("rb") as archive:
        archives.unpack(archive, place / "unpacked")
    (sources,) = (place / "unpacked").iterdir()
    run(tools, "-m", "hatchling", "build", "--target", "wheel", "--directory", place, cwd=sources)
    (wheel,) = place.glob("*.whl")
    return sdist, wheel


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path, since a unix socket's ends at 107 bytes."""
    path = Path(tempfile.mkdtemp(prefix="cm-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


def newest_python() -> str:
    """The newest Python on PATH or among pyenv's that runs and is new enough."""
    named = [Path(directory, name) for name in NAMES for directory in os.get_exec_path()]
    versions: dict[tuple[int, ...], str] = {sys.version_info[:3]: sys.executable}
    code = "import sys; print(*sys.version_info[:3] if sys.version_info.releaselevel == 'final' else (0, 0, 0))"
    for path in [*named, *OTHERS_COPIES.glob("*/bin/python3")]:
        if os.access(path, os.X_OK):
            done = subprocess.run([path, "-I", "-S", "-c", code], capture_output=True, text=True, timeout=10)
            if done.returncode == 0:
                versions.setdefault(tuple(int(part) for part in done.stdout.split()), str(path))
    return versions[max(versions)]


def pins(place: Path) -> Path:
    """The versions of the server's lock, as constraints; pip wants no hashes beside a wheel that has none."""
    lines = (ROOT / "etc/requirements/server.txt").read_text().splitlines()
    file = place / "pins.txt"
    file.write_text("\n".join(line.rstrip(" \\") for line in lines if re.match(r"[a-z]", line)))
    return file


def files_below(folder: Path) -> set[str]:
    """The files that git knows: neither compiled ones nor what npm has built."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {str(path) for path in found if not {"__pycache__", "loaded"} & {*path.parts}}


def test_the_wheel_carries_both_packages_and_the_shared_files(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[1]) as wheel:
        carried = {*wheel.namelist()}
    packages = {f"{name}/{file}" for name in ("chatmaster", "workers") for file in files_below(ROOT / name)}
    assert packages - carried == set()
    assert [name for name in carried if name.endswith(".data/data/share/man/man1/chatctl.1")]
    wanted = {file for file in files_below(ROOT / "etc") if file.split("/")[0] in SHARED}
    assert {file.removeprefix("chatmaster/share/") for file in carried if "chatmaster/share/" in file} == wanted
    assert LOADED in carried


def test_the_sdist_carries_what_a_checkout_needs(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[0]) as sdist:
        carried = {name.partition("/")[2] for name in sdist.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "bin/chatctl", "etc/environment.sh", LOADED} <= carried
    assert not [name for name in carried if "node_modules" in name or "__pycache__" in name]


@pytest.mark.parametrize("which", ["the running Python", "the newest Python"])
def test_an_empty_environment_with_the_wheel_runs_a_server(
    which: str, tools: Path, built: tuple[Path, Path], folder: Path
) -> None:
    base = sys.executable if which == "the running Python" else newest_python()
    if which == "the newest Python" and os.path.samefile(base, sys.executable):
        pytest.skip("the running Python is the newest one")
    run(base, "-m", "venv", "--without-pip", folder / "venv")
    pip(tools, folder / "venv/bin/python", "--constraint", pins(folder), f"chatmaster[embedded] @ file://{built[1]}")
    chatctl = folder / "venv/bin/chatctl"
    run(chatctl, "config", "--write", cwd=folder)
    assert "#workers = 0" in (folder / "chatmaster.toml").read_text()
    run(chatctl, "examples", "given", cwd=folder)
    assert (folder / "given/examples/echo.py").is_file()
    address = f"127.0.0.1:{processes.free_port()}"
    here = ("--state-dir", str(folder / "state"))
    try:
        run(chatctl, *here, "start", "-d", "-n", "1", "-b", f"ws://{address}", cwd=folder)
        with urllib.request.urlopen(f"http://{address}/", timeout=20) as page:
            assert b"<html" in page.read()
        with connect(f"ws://{address}/", open_timeout=20) as client:
            client.send(json.dumps({"type": "hello", "id": 1, "name": "Ada", "rooms": [{"room": "lobby"}]}))
            assert json.loads(client.recv(timeout=20))["type"] == "welcome"
    finally:
        if (folder / "state").exists():
            run(chatctl, *here, "stop", cwd=folder)
