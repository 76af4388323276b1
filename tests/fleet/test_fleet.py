"""The balancer's configuration (the document's), the order of faults, and a short run where there is root."""

from __future__ import annotations

import random
import shutil
import subprocess
from itertools import islice
from pathlib import Path

import pytest

from tests.chaos.namespaces import Unavailable
from tests.fleet.balancer import configuration
from tests.fleet.faults import FAULTS, shards_moved, store_killed
from tests.fleet.run import FleetRun, name_of, order


def test_the_documents_configuration_is_used_with_the_fleets_addresses() -> None:
    text = configuration("10.1.1.1", {"h1": "10.2.0.2", "h2": "10.2.1.2"})
    assert "bind 10.1.1.1:8000" in text
    assert [line.split() for line in text.splitlines() if line.strip().startswith("server ")] == [
        ["server", "h1", "10.2.0.2:8000"],
        ["server", "h2", "10.2.1.2:8000"],
    ]
    assert "http-check disable-on-404" in text


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="takes haproxy")
def test_haproxy_takes_the_configuration(tmp_path: Path) -> None:
    file = tmp_path / "haproxy.cfg"
    file.write_text(configuration("127.0.0.1", {"one": "127.0.0.2"}))
    done = subprocess.run(["haproxy", "-c", "-f", str(file)], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr


def test_every_fault_comes_once_in_each_round() -> None:
    chance = random.Random(7)
    names = [name_of(one) for one in islice(order(chance, FAULTS), 2 * len(FAULTS))]
    half = len(FAULTS)
    assert sorted(names[:half]) == sorted(names[half:]) == sorted(map(name_of, FAULTS))


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="takes haproxy")
@pytest.mark.timeout(240)
async def test_a_short_run_over_a_cluster_keeps_every_promise() -> None:
    said: list[str] = []
    run = FleetRun(5, 10.0, cluster=True, faults=(shards_moved, store_killed), say=said.append)
    try:
        verdict = await run.run()
    except Unavailable as why:
        pytest.skip(f"takes root and network namespaces: {why}")
    assert not verdict.faults, f"{verdict}\n{run.logs}"
    assert not run.failures, "\n".join([*run.failures, run.logs])
    assert len(said) >= 2 and verdict.acked > 100
