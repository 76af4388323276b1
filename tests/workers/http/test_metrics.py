"""The metrics are what Prometheus' own parser reads, for the whole machine."""

from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from chatmaster.stats import GAUGES, RETIRED_ROW, Field, StatsTable
from workers.http.metrics import METRICS, render


@pytest.fixture
def table() -> StatsTable:
    """Two processes of slot 0, as during a reload, and one that has ended."""
    table = StatsTable()
    for number, generation in ((0, 1), (3, 2)):
        row = table.row(number)
        row[Field.PID] = 100 + number
        row[Field.GENERATION] = generation
        row[Field.CONNECTIONS] = 5 + number
        row[Field.CONNECTIONS_TOTAL] = 50 + number
        row[Field.STARTED] = 1_790_000_000_123_456_789
        row[Field.STORE_PROBE_RTT] = 150_000
        row[Field.HEARTBEAT] = 1_000_000_000
    table.row(RETIRED_ROW)[Field.CONNECTIONS_TOTAL] = 1000
    return table


def families(table: StatsTable) -> dict[str, Any]:
    parsed = list(text_string_to_metric_families(render(table, monotonic=lambda: 3_500_000_000)))
    assert len({family.name for family in parsed}) == len(parsed), "a name twice"
    return {family.name: family for family in parsed}


def test_every_metric_is_there_with_its_type_and_words(table) -> None:
    found = families(table)
    for metric in METRICS:
        family = found[metric.name.removesuffix("_total")]
        assert (family.type, family.documentation) == (metric.kind, metric.help)
        assert family.samples
        assert (metric.kind == "gauge") == (metric.field in GAUGES)


def test_gauges_tell_the_processes_apart(table) -> None:
    samples = families(table)["chatmaster_connections"].samples
    assert [(sample.labels, sample.value) for sample in samples] == [
        ({"slot": "0", "generation": "1"}, 5),
        ({"slot": "0", "generation": "2"}, 8),
    ]


def test_counters_are_one_sum_with_what_has_ended(table) -> None:
    samples = families(table)["chatmaster_connections_accepted"].samples
    assert [(sample.labels, sample.value) for sample in samples] == [({}, 50 + 53 + 1000)]


def test_units(table) -> None:
    found = families(table)
    assert found["chatmaster_worker_start_time_seconds"].samples[0].value == pytest.approx(1_790_000_000.123)
    assert found["chatmaster_store_probe_seconds"].samples[0].value == 0.00015
    assert found["chatmaster_heartbeat_age_seconds"].samples[0].value == 2.5
    assert found["chatmaster_store_probe_age_seconds"].samples[0].value == 3.5


def test_a_histogram_is_cumulative_over_all(table) -> None:
    for seconds in (0.0001, 0.003, 100.0):
        table.row(3).observe(Field.DELIVERY_LAG, seconds)
    table.row(RETIRED_ROW).observe(Field.DELIVERY_LAG, 0.003)
    samples = families(table)["chatmaster_delivery_lag_seconds"].samples
    buckets = {sample.labels["le"]: sample.value for sample in samples if sample.name.endswith("_bucket")}
    assert [buckets[bound] for bound in ("0.0005", "0.002", "0.004", "8.192", "+Inf")] == [1, 1, 3, 3, 4]
    values = {sample.name.rpartition("_")[2]: sample.value for sample in samples if "le" not in sample.labels}
    assert values == {"count": 4, "sum": pytest.approx(100.0061)}


def test_every_field_is_shown_or_left_out_on_purpose() -> None:
    shown = {metric.field for metric in METRICS}
    assert set(Field) - shown == {Field.PID, Field.SLOT}


def test_without_processes_there_are_only_sums() -> None:
    for family in families(StatsTable()).values():
        assert family.type != "gauge" or not family.samples
