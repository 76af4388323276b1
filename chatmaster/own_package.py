"""Makes sure that the package `workers` is the one that belongs to chatmaster: the name is a common one."""

from __future__ import annotations

import importlib.util
from pathlib import Path


def complaint() -> str:
    """What hides the package `workers` of chatmaster, and what to do, in one sentence; "" where nothing does."""
    wanted = Path(__file__).resolve().parents[1] / "workers"
    try:
        spec = importlib.util.find_spec("workers")
    except (ImportError, ValueError):  # a module without a specification, put there by hand
        spec = None
    if spec is None:
        return f"chatmaster needs its own package 'workers' ({wanted}), which is not there: install chatmaster again"
    found = [Path(path).resolve() for path in spec.submodule_search_locations or ()]
    if found[:1] == [wanted] and (wanted / "worker.py").is_file():
        return ""
    place = found[0] if found else spec.origin
    return (
        f"chatmaster needs its own package 'workers' ({wanted}), but Python finds another one of that name: {place}. "
        "Rename that folder or file, uninstall the package that it came with, or take its folder out of PYTHONPATH"
    )
