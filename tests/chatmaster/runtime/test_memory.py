"""The memory that a process may use: the smallest limit of its control group and its ancestors."""

from __future__ import annotations

import os
from pathlib import Path

from chatmaster.runtime import memory


def group(tmp_path: Path, line: str, **limits: str) -> tuple[Path, Path]:
    of_process = tmp_path / "cgroup"
    of_process.write_text(line)
    for place, limit in limits.items():
        file = tmp_path / place.replace("__", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        (file.parent / file.name).mkdir(exist_ok=True)
        name = "memory.limit_in_bytes" if place.startswith("memory") else "memory.max"
        (file / name).write_text(limit)
    return tmp_path, of_process


def test_the_smallest_limit_of_the_group_and_its_ancestors_holds(tmp_path: Path) -> None:
    found = group(tmp_path, "0::/a/b\n", a="50000000\n", a__b="max\n")
    assert memory.available(*found) == 50_000_000


def test_version_1_has_its_own_file_and_a_huge_number_for_no_limit(tmp_path: Path) -> None:
    found = group(tmp_path, "4:memory:/a\n", memory__a="60000000\n", memory="9223372036854771712\n")
    assert memory.available(*found) == 60_000_000


def test_without_a_limit_it_is_the_machines_memory(tmp_path: Path) -> None:
    assert memory.available(tmp_path, tmp_path / "none") == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
