"""The metrics are what Prometheus' own parser reads, for every row of a process."""

from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from chatmaster.stats import Field, StatsTable
from workers.http.metrics import METRICS, render


@pytest.fixture
def table() -> StatsTable:
    table = StatsTable()
    for slot, pid in ((0, 100), (3, 103)):
        row = table.row(slot)
        row[Field.PID] = pid
        row[Field.CONNECTIONS] = 5 + slot
        row[Field.CONNECTIONS_TOTAL] = 50 + slot
        row[Field.STARTED] = 1_790_000_000_123_456_789
        row[Field.STORE_PROBE_RTT] = 150_000
        row[Field.HEARTBEAT] = 1_000_000_000
    return table


def families(table: StatsTable) -> dict[str, Any]:
    text = render((table.row(slot) for slot in range(10)), monotonic=lambda: 3_500_000_000)
    parsed = list(text_string_to_metric_families(text))
    assert len({family.name for family in parsed}) == len(parsed), "a name twice"
    return {family.name: family for family in parsed}


def test_every_metric_has_a_sample_for_each_process(table) -> None:
    found = families(table)
    for metric in METRICS:
        family = found[metric.name.removesuffix("_total")]
        assert family.type == metric.kind
        assert family.documentation == metric.help
        assert {sample.labels["worker"] for sample in family.samples} == {"0", "3"}


def test_values_and_units(table) -> None:
    found = families(table)
    assert [sample.value for sample in found["chatmaster_connections"].samples] == [5, 8]
    assert [sample.value for sample in found["chatmaster_connections_accepted"].samples] == [50, 53]
    assert found["chatmaster_worker_start_time_seconds"].samples[0].value == pytest.approx(1_790_000_000.123)
    assert found["chatmaster_store_probe_seconds"].samples[0].value == 0.00015
    assert found["chatmaster_heartbeat_age_seconds"].samples[0].value == 2.5


def test_a_histogram_is_cumulative(table) -> None:
    row = table.row(3)
    for seconds in (0.0001, 0.003, 0.003, 100.0):
        row.observe(Field.DELIVERY_LAG, seconds)
    samples = [s for s in families(table)["chatmaster_delivery_lag_seconds"].samples if s.labels["worker"] == "3"]
    buckets = {s.labels["le"]: s.value for s in samples if s.name.endswith("_bucket")}
    assert (buckets["0.0005"], buckets["0.002"], buckets["0.004"], buckets["8.192"], buckets["+Inf"]) == (1, 1, 3, 3, 4)
    values = {s.name.rpartition("_")[2]: s.value for s in samples if not s.name.endswith("_bucket")}
    assert values == {"count": 4, "sum": pytest.approx(100.0061)}


def test_every_field_is_shown_or_left_out_on_purpose() -> None:
    shown = {metric.field for metric in METRICS} | {Field.HEARTBEAT, Field.STORE_PROBE}
    assert set(Field) - shown == {Field.PID, Field.SPARE}


def test_without_processes_there_are_no_samples() -> None:
    assert all(not family.samples for family in families(StatsTable()).values())
