"""Counters and histograms in the job store's database, so that all processes report the same to Prometheus."""

import json
from collections import defaultdict
from collections.abc import Mapping

import sqlalchemy as sql
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

from serving.jobs.tables import counters, insert

COUNTERS = {
    "motif_videos_created": "Jobs that were accepted",
    "motif_videos_completed": "Jobs that completed",
    "motif_videos_failed": "Jobs that failed, by error code",
    "motif_videos_deleted": "Jobs that were deleted, cancelled ones included",
    "motif_requests_refused": "Jobs that were not accepted, by error code",
}
LABELS = {
    "motif_videos_created": ("model",),
    "motif_videos_completed": ("model",),
    "motif_videos_failed": ("model", "code"),
    "motif_videos_deleted": ("model",),
    "motif_requests_refused": ("code",),
    "motif_inference_seconds": ("model",),
    "motif_wait_seconds": ("model",),
    "motif_batch_size": ("model",),
}
_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000)
HISTOGRAMS: dict[str, tuple[str, tuple[float, ...]]] = {
    "motif_inference_seconds": ("Time from the start of a job's batch to its video", _SECONDS),
    "motif_wait_seconds": ("Time that a job waited in the queue", _SECONDS),
    "motif_batch_size": ("Jobs sampled together", (1, 2, 3, 4, 6, 8, 12, 16, 32)),
}


def count(connection: sql.Connection, name: str, **labels: str) -> None:
    """Add one to a counter within a transaction."""
    _add(connection, name, 1, labels)


def _add(connection: sql.Connection, name: str, by: float, labels: Mapping[str, str]) -> None:
    row = {"name": name, "labels": json.dumps(labels, sort_keys=True), "value": by}
    adding = insert(connection, counters).values(row)
    connection.execute(
        adding.on_conflict_do_update(
            index_elements=["name", "labels"], set_={"value": counters.c.value + adding.excluded.value}
        )
    )


def observe(connection: sql.Connection, name: str, value: float, **labels: str) -> None:
    """Add a value to a histogram within a transaction."""
    bound = next((bound for bound in HISTOGRAMS[name][1] if value <= bound), None)
    _add(connection, f"{name}_bucket", 1, {**labels, "le": "+Inf" if bound is None else str(float(bound))})
    _add(connection, f"{name}_sum", value, labels)


def families(connection: sql.Connection) -> list[Metric]:
    """All counters and histograms, as prometheus_client expects them."""
    read: dict[str, dict[tuple[str, ...], dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for name, labels, value in connection.execute(sql.select(counters)):
        named = json.loads(labels)
        le = named.pop("le", "")
        read[name][_values(name, named)][le] = value
    found: list[Metric] = []
    for name, help_text in COUNTERS.items():
        family = CounterMetricFamily(name, help_text, labels=LABELS[name])
        for values, numbers in read[name].items():
            family.add_metric(values, numbers[""])
        found.append(family)
    for name, (help_text, bounds) in HISTOGRAMS.items():
        histogram = HistogramMetricFamily(name, help_text, labels=LABELS[name])
        for values, numbers in read[f"{name}_bucket"].items():
            histogram.add_metric(values, _cumulative(numbers, bounds), read[f"{name}_sum"][values][""])
        found.append(histogram)
    return found


def _values(name: str, labels: Mapping[str, str]) -> tuple[str, ...]:
    base = name.removesuffix("_bucket").removesuffix("_sum")
    return tuple(labels[label] for label in LABELS[base])


def _cumulative(numbers: Mapping[str, float], bounds: tuple[float, ...]) -> list[tuple[str, float]]:
    total, rows = 0.0, []
    for le in [*(str(float(bound)) for bound in bounds), "+Inf"]:
        total += numbers.get(le, 0)
        rows.append((le, total))
    return rows
