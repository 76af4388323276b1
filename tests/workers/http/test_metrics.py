"""The metrics are what Prometheus' own parser reads, for the whole machine."""

from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from chatmaster.contract import VERSION
from chatmaster.stats import GAUGES, REFUSALS, RETIRED_ROW, Field, StatsTable
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
        assert (metric.kind == "counter") == metric.name.endswith("_total")


def test_a_reload_begins_no_new_series(table) -> None:
    """Two processes of a slot: what can be added is, the rest is that of the one that serves."""
    table.row(0)[Field.READY] = 1
    found = families(table)
    assert [(sample.labels, sample.value) for sample in found["chatmaster_connections"].samples] == [
        ({"slot": "0"}, 13)
    ]
    assert [sample.value for sample in found["chatmaster_worker_generation"].samples] == [1]
    table.row(3)[Field.READY] = 1
    assert [sample.value for sample in families(table)["chatmaster_worker_generation"].samples] == [2]
    for family in found.values():
        keys = [(sample.name, tuple(sample.labels.items())) for sample in family.samples]
        assert len(set(keys)) == len(keys), family.name
        assert not any("generation" in sample.labels for sample in family.samples)


def test_what_runs_and_what_it_costs(table) -> None:
    retired = table.row(RETIRED_ROW)
    retired[Field.ALL_RESTARTS], retired[Field.CPU], table.row(0)[Field.CPU] = 4, 2_000_000_000, 500_000_000
    retired[Field.MASTER_CPU], retired[Field.MASTER_MEMORY], retired[Field.MASTER_DESCRIPTORS] = 250_000_000, 7, 30
    retired[Field.STORE_MEMORY], retired[Field.STORE_RESTARTS] = 9, 2
    table.row(0)[Field.DESCRIPTORS] = 40
    found = families(table)
    (build,) = found["chatmaster_build_info"].samples
    assert (build.value, build.labels["version"]) == (1, VERSION)
    assert {s.labels["process"]: s.value for s in found["chatmaster_cpu_seconds"].samples} == {
        "worker": 2.5, "master": 0.25, "store": 0,
    }  # fmt: skip
    assert {s.labels["process"]: s.value for s in found["chatmaster_memory_bytes"].samples} == {"master": 7, "store": 9}
    values = {name: found[f"chatmaster_{name}"].samples[0].value for name in (
        "worker_restarts", "store_restarts", "worker_open_descriptors", "master_open_descriptors"
    )}  # fmt: skip
    assert list(values.values()) == [4, 2, 40, 30]
    retired[Field.STORE_MEMORY] = 0  # a configured store is no process of ours
    assert len(families(table)["chatmaster_memory_bytes"].samples) == 1


def test_refused_handshakes_say_why(table) -> None:
    table.row(0)[Field.REFUSED + list(REFUSALS).index(403)] = 3
    reasons = {s.labels["reason"]: s.value for s in families(table)["chatmaster_handshakes_refused"].samples}
    assert reasons["origin"] == 3 and sum(reasons.values()) == 3 and set(reasons) == set(REFUSALS.values())


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
    elsewhere = {
        Field.CPU, Field.REFUSED, Field.MASTER_MEMORY, Field.MASTER_CPU, Field.MASTER_DESCRIPTORS, Field.STORE_MEMORY,
        Field.STORE_CPU, Field.STORE_RESTARTS, Field.DISK_FREE, Field.STORE_TROUBLE, Field.STORE_WHY,
        Field.STORE_MAX_MEMORY,
    }  # fmt: skip
    summed = {Field.HANDSHAKE_FAILURES, Field.RESTARTS}  # told by reason, and over all slots
    assert set(Field) - shown == {Field.PID, Field.SLOT} | elsewhere | summed


def test_without_processes_there_are_only_sums() -> None:
    for family in families(StatsTable()).values():
        assert family.type != "gauge" or not any("slot" in sample.labels for sample in family.samples)
