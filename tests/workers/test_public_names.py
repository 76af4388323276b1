"""What `import workers` gives a program, and what it leaves alone."""

from __future__ import annotations

import subprocess
import sys

import pytest

import workers

LIST_MODULES = "import sys, workers; print(*sys.modules)"


def test_importing_workers_loads_neither_the_chat_nor_redis_nor_the_server() -> None:
    found = subprocess.run([sys.executable, "-c", LIST_MODULES], capture_output=True, text=True, check=True)
    modules = found.stdout.split()
    unwanted = ("redis", "workers.chat", "workers.gateway", "workers.presence", "workers.registry", "workers.rooms")
    assert "workers.worker" in modules
    assert not [name for name in modules if name.startswith(unwanted)]


def test_every_public_name_can_be_imported_and_any_other_cannot() -> None:
    for name in workers.__all__:
        assert getattr(workers, name).__name__ == name
    assert issubclass(workers.InstanceNotRunning, workers.GatewayError)
    with pytest.raises(AttributeError, match="no attribute 'Gatway'"):
        _ = workers.Gatway
