"""Peers that were written elsewhere, against the real server: the Autobahn test suite's cases, and a client in Go."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.server import Chatmaster

kosoku = pytest.importorskip("kosoku", reason="kosoku has no wheel for this machine")

ECHO = "etc/examples/echo.py"
GORILLA = Path(__file__).parent / "gorilla"
# The limits are the defaults but for sizes: case 9 sends 16 MiB at once and reads no answer until then. The rate is
# off because cases 9.7, 9.8 and 12 send 1,000 messages as fast as they can, which is what a rate is there against.
# The server does not ping meanwhile: kosoku 0.1 takes a ping for the end of a case of 9.7, 9.8, 12 or 13 (it does so
# with the server of `websockets`, too).
SETTINGS = {
    "limits.message_size": 16 * 2**20,
    "limits.queue_size": 64 * 2**20,
    "limits.rate": 0,
    "limits.ping_interval": 3600.0,
}
# What kosoku 0.1 says where it fails itself: it cannot make the data of some cases of 12, and on a busy machine it
# gives up cases of 12 and 13 long before their time. test_fragmenting.py of the transport has messages like theirs.
RUNNERS_FAULTS = ("Strings must be encoded before hashing", "Case did not finish within 480 seconds")


@pytest.mark.timeout(180)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # kosoku leaves its data files open
@pytest.mark.parametrize(
    "cases",
    [["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*"], ["9.*"], ["12.1.*", "13.1.*"]],
    ids=["framing, closing and UTF-8", "large messages and fragments", "compression"],
)
@pytest.mark.slow
async def test_no_case_of_autobahn_fails(cases: list[str]) -> None:
    with Chatmaster(ECHO, workers=1, settings=SETTINGS) as server:
        try:
            results = await kosoku.run_fuzzingclient(server.url, cases, concurrency=2)
        except kosoku.FailureError as error:
            results = error.results
    failed = {one.case_id: f"{one.result} {one.result_close}" for one in results if not one.passed}
    ours = {case: why for case, why in failed.items() if not why.startswith(RUNNERS_FAULTS)}
    assert ours == {}
    assert not any(one.remote_close_code == 4009 for one in results)
    assert len(results) - len(failed) >= (3 if cases[0] == "12.1.*" else 30)


@pytest.fixture(scope="module")
def gorilla(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client's program, built here."""
    if shutil.which("go") is None:
        pytest.skip("there is no go on this machine")
    program = tmp_path_factory.mktemp("gorilla") / "gorilla"
    environment = {"HOME": str(program.parent), **os.environ}
    built = subprocess.run(
        ["go", "build", "-o", program, "."], cwd=GORILLA, env=environment, capture_output=True, text=True, timeout=120
    )
    if "dial tcp" in built.stderr or "proxyconnect" in built.stderr or "lookup " in built.stderr:
        pytest.skip("the module proxy cannot be reached")
    assert built.returncode == 0, built.stderr
    return program


@pytest.mark.timeout(180)
def test_a_client_that_fragments_above_4_kb_is_never_cut(gorilla: Path) -> None:
    """600 messages of 16.5 KB in one ping interval are 3,000 frames."""
    with Chatmaster(ECHO, workers=1, settings={"limits.rate": 0}) as server:
        done = subprocess.run([gorilla, server.url, "600", "16500"], capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.returncode) == ("600", 0)
