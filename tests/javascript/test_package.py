"""The package for npm, packed as it would be published: it works in Node and types programs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from chatmaster import __version__
from chatmaster.testing import LocalServer
from tests.support import archives
from tests.support.sources import ROOT

pytest_plugins = ["chatmaster.testing"]
HERE = Path(__file__).parent
TOOLS = ROOT / "etc/javascript"
MODULES = TOOLS / "node_modules"

pytestmark = pytest.mark.skipif(
    shutil.which("npm") is None or not (MODULES / "react").is_dir(), reason="npm, or what it installs, is missing"
)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the packed package and React in its node_modules."""
    folder = tmp_path_factory.mktemp("program")
    run("npm", "pack", "--silent", "--pack-destination", str(folder), cwd=TOOLS / "client")
    (packed,) = folder.glob("*.tgz")
    with packed.open("rb") as archive:
        archives.unpack(archive, folder / "node_modules")
    (folder / "node_modules/package").rename(folder / "node_modules/chatmaster-client")
    for name in ("react", "react-dom", "scheduler", "@types", "csstype"):
        (folder / "node_modules" / name).symlink_to(MODULES / name)
    for path in (*HERE.glob("*.mjs"), *HERE.glob("*.ts")):
        shutil.copy(path, folder)
    return folder


def test_it_has_the_servers_version_and_depends_on_nothing() -> None:
    manifest = json.loads((TOOLS / "client/package.json").read_text())
    assert manifest["version"] == __version__ and "dependencies" not in manifest
    assert set(manifest["peerDependencies"]) == {"react"} and manifest["peerDependenciesMeta"]["react"]["optional"]


def test_it_works_in_node(program: Path, serve: Callable[..., LocalServer], tmp_path: Path) -> None:
    configuration = tmp_path / "chatmaster.toml"
    configuration.write_text('[[rooms]]\nmatch = "closed-room"\njoin = ["role:moderator"]\n')
    server = serve(environment={"CHATMASTER_CONFIG": str(configuration)})
    command = ["node", "--no-warnings", "--experimental-websocket", "--test", "--test-reporter=tap", "package.test.mjs"]
    shown = run(*command, cwd=program, CHATMASTER_URL=f"{server.url}/")
    assert "# pass 4" in shown


def test_it_types_programs(program: Path) -> None:
    options = "--noEmit --strict --skipLibCheck --target esnext --module esnext --moduleResolution bundler"
    tsc = MODULES / "typescript/bin/tsc"
    run("node", str(tsc), "--ignoreConfig", *options.split(), "--types", "react", "consumer.ts", cwd=program)


def run(*command: str, cwd: Path, **more: str) -> str:
    done = subprocess.run(command, cwd=cwd, env={**os.environ, **more}, capture_output=True, text=True, timeout=55)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    return done.stdout
