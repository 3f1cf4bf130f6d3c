"""``GET /metrics``: the state of the queue and counts of jobs, in the Prometheus text format."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from serving.jobs.counters import families
from serving.jobs.store import JobStore

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class _Queue(Collector):
    def __init__(self, store: JobStore, limit: int) -> None:
        self.store, self.limit = store, limit

    def collect(self) -> Iterator[Metric]:
        state = self.store.upkeep.state()
        jobs = GaugeMetricFamily("motif_jobs", "Queued and running jobs", labels=["status"])
        jobs.add_metric(["queued"], state.queued)
        jobs.add_metric(["in_progress"], state.in_progress)
        yield jobs
        yield GaugeMetricFamily("motif_queue_limit", "Largest number of queued jobs", value=self.limit)
        yield GaugeMetricFamily("motif_queue_oldest_seconds", "Age of the oldest waiting job", value=state.oldest_s)
        yield GaugeMetricFamily("motif_workers", "Live workers", value=state.workers)
        with self.store.engine.connect() as connection:
            yield from families(connection)


def render(store: JobStore, limit: int) -> bytes:
    """All metrics of a server, the same whichever process answers."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Queue(store, limit))
    return generate_latest(registry)
