"""How many cores one may use: affinity, and the quota of a control group of either version."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chatmaster.runtime import cores
from chatmaster.runtime.cores import Cores


def group(tmp_path: Path, of_process: str, files: dict[str, str]) -> Cores:
    (tmp_path / "self").write_text(of_process)
    for name, text in files.items():
        place = tmp_path / "cgroup" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return cores.available(tmp_path / "cgroup", tmp_path / "self")


@pytest.mark.parametrize(
    ("of_process", "files", "quota"),
    [
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 0.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "150000 100000", "cpu.max": "400000 100000"}, 1.5),
        ("0::/a/b\n", {"cpu.max": "200000 100000"}, 2.0),
        ("0::/../../x\n", {}, None),
        ("4:cpu,cpuacct:/a\n1:name=systemd:/\n", {
            "cpu,cpuacct/a/cpu.cfs_quota_us": "25000", "cpu,cpuacct/a/cpu.cfs_period_us": "100000",
        }, 0.25),
        ("4:cpuacct,cpu:/docker/x\n", {"cpu/cpu.cfs_quota_us": "150000", "cpu/cpu.cfs_period_us": "50000"}, 3.0),
        ("4:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ("0::/\n", {"cpu.max": "nonsense"}, None),
        ("", {}, None),
    ],
)  # fmt: skip
def test_the_narrowest_quota_of_a_group_and_those_above_it_holds(tmp_path, of_process, files, quota):
    found = group(tmp_path, of_process, files)
    assert found == Cores(len(os.sched_getaffinity(0)), quota)


@pytest.mark.parametrize(
    ("pinned", "quota", "count"),
    [(2, 0.5, 1), (2, None, 2), (8, 1.0, 1), (8, 1.5, 2), (8, 3.0, 3), (1, 4.0, 1), (4, 0.001, 1)],
)
def test_of_a_part_of_a_core_one_is_used(pinned, quota, count):
    assert Cores(pinned, quota).count == count


def test_affinity_counts(tmp_path):
    everywhere = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(everywhere)})
        assert cores.available().count == 1
    finally:
        os.sched_setaffinity(0, everywhere)
