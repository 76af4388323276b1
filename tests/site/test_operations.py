"""What operators copy names what exists: alerts, dashboard, manifests, and the log lines of the page for 3 a.m."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
from functools import cache
from typing import Any

import pytest

from chatmaster.config.environment import PREFIX
from tests.site import metrics_page, settings_page
from tests.support import sources
from tests.support.sources import ROOT

yaml = pytest.importorskip("yaml")

_METRIC = re.compile(r"\bchatmaster_\w+")


@cache
def metrics() -> set[str]:
    names = {name for name, _, _ in metrics_page.known()}
    return names | {f"{name}_bucket" for name, kind, _ in metrics_page.known() if kind == "histogram"}


@cache
def texts() -> str:
    """Every string of both packages, one a line."""
    nodes = (node for path in sources.modules().values() for node in ast.walk(sources.tree(path)))
    return "\n".join(node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))


def test_the_alerts_and_the_dashboard_name_metrics_that_exist() -> None:
    alerts = [rule["expr"] for rule in metrics_page.rules()]
    board = json.loads((ROOT / "etc/grafana/chatmaster.json").read_text())
    shown = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    assert len(alerts) >= 10 and len(shown) >= 20
    assert set(_METRIC.findall(" ".join([*alerts, *shown]))) - metrics() == set()


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_takes_the_alerts() -> None:
    done = subprocess.run(
        ["promtool", "check", "rules", metrics_page.ALERTS], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_log_lines_of_the_page_for_3_am_are_what_the_server_writes() -> None:
    page = (ROOT / "etc/doc/trouble.md").read_text()
    rows = page.split("## By log line")[1].split("## The store")[0]
    quoted = [row.split("`")[1] for row in rows.splitlines() if row.startswith("| `")]
    assert len(quoted) >= 15
    assert [line for line in quoted if line not in texts()] == []


def test_the_manifests_fit_the_server() -> None:
    documents: list[dict[str, Any]] = list(yaml.safe_load_all((ROOT / "etc/kubernetes/chatmaster.yaml").read_text()))
    kinds = {document["kind"]: document for document in documents}
    assert kinds.keys() == {"Secret", "Deployment", "Service", "PodDisruptionBudget"}
    pod = kinds["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    keys = {key.replace(".", "_").upper() for key in settings_page.known()}
    assert {entry["name"].removeprefix(PREFIX) for entry in container["env"]} <= keys
    assert container["readinessProbe"]["httpGet"] == {"path": "/ready", "port": "websocket"}
    assert "chatctl drain" in container["lifecycle"]["preStop"]["exec"]["command"][2]
    assert pod["terminationGracePeriodSeconds"] > 5 + 30 + 10 + 15  # notice, drain, master.drain_timeout, stop_timeout
    user = pod["securityContext"]["runAsUser"]
    assert f"--uid {user}" in (ROOT / "etc/Containerfile").read_text() and pod["securityContext"]["runAsNonRoot"]
    labels = kinds["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert kinds["Service"]["spec"]["selector"] == labels == kinds["Deployment"]["spec"]["selector"]["matchLabels"]


def test_the_container_has_stages_no_root_and_a_health_check() -> None:
    recipe = (ROOT / "etc/Containerfile").read_text()
    assert recipe.count("\nFROM ") == 3
    assert recipe.rindex("\nUSER chatmaster") < recipe.rindex("\nCMD ") and "\nHEALTHCHECK " in recipe
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", recipe, re.MULTILINE)
    assert [name for names in copied for name in names.split() if not (ROOT / name).exists()] == []
    shared = re.findall(r'^"etc/(\w+)" = ', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert [name for name in shared if f"COPY etc/{name} " not in recipe] == []
