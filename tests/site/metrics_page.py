"""The page of the metrics, from the table that a worker renders."""

from __future__ import annotations

import re

from chatmaster.stats import StatsTable
from tests.site.markdown import code, table
from workers.http import metrics

_HELP = re.compile(r"^# HELP (\S+) (.*)$", re.MULTILINE)
_TYPE = re.compile(r"^# TYPE (\S+) (\S+)$", re.MULTILINE)
_INTRO = """# Metrics

`/metrics` has them as Prometheus text: from any worker, for the whole machine. `http.metrics` says who may read them.
Counters and histograms are sums over all workers, ended ones included; gauges are labelled by slot.
"""


def render() -> str:
    """The page."""
    rows = [(code(name), kind, text) for name, kind, text in known()]
    return "\n".join([_INTRO, table(("metric", "kind", "meaning"), rows)])


def known() -> list[tuple[str, str, str]]:
    """Name, kind and meaning of every metric."""
    text = metrics.render(StatsTable())
    kinds = dict(_TYPE.findall(text))
    return [(name, kinds[name], about) for name, about in _HELP.findall(text)]
