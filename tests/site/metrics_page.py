"""The page of the metrics, from the table that a worker renders."""

from __future__ import annotations

import re
from typing import Any

from chatmaster.stats import StatsTable
from tests.site.markdown import code, table
from tests.support.sources import ROOT
from workers.http import metrics

_HELP = re.compile(r"^# HELP (\S+) (.*)$", re.MULTILINE)
_TYPE = re.compile(r"^# TYPE (\S+) (\S+)$", re.MULTILINE)
ALERTS = ROOT / "etc/prometheus/alerts.yaml"
_INTRO = """# Metrics

`/metrics` has them as Prometheus text: from any worker, for the whole machine. `http.metrics` says who may read them.
Counters and histograms are sums over all workers, ended ones included; gauges are labelled by slot.
"""


def render() -> str:
    """The page."""
    rows = [(code(name), kind, text) for name, kind, text in known()]
    alerts = [
        (code(one["alert"]), one["labels"]["severity"], code(one["expr"]), one["annotations"]["description"])
        for one in rules()
    ]
    return "\n".join(
        [
            _INTRO,
            table(("metric", "kind", "meaning"), rows),
            "\n## Alerts\n\n`etc/prometheus/alerts.yaml` has them for Prometheus, `etc/grafana` has a dashboard;",
            "`chatctl examples DIR` copies both. What to do: [at 3 a.m.](../trouble.md)\n",
            table(("alert", "severity", "when", "meaning"), alerts),
        ]
    )


def rules() -> list[dict[str, Any]]:
    """Every rule of the alerts."""
    import yaml

    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def known() -> list[tuple[str, str, str]]:
    """Name, kind and meaning of every metric."""
    text = metrics.render(StatsTable())
    kinds = dict(_TYPE.findall(text))
    return [(name, kinds[name], about) for name, about in _HELP.findall(text)]
