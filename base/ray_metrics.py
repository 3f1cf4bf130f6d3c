"""Metrics of a run for Prometheus: Ray exports them on the metrics port of the node where the run's driver is."""

import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from ray.util.metrics import Counter, Gauge

from base.storage.uri import without_password

# Ray exports a gauge once each time it is set, and forgets it after two of its report intervals, by default 20 s; a
# training step may take longer.
_AGAIN_S = 1.0


@dataclass(frozen=True)
class Metric:
    """A metric. In Prometheus its name begins with ``ray_``, and that of a counter ends with ``_total``.

    ``labels`` are those beside the run's own.
    """

    name: str
    help: str
    labels: tuple[str, ...] = ()


class RayMetrics:
    """Counters and gauges of one run, which all have the label ``label`` with the value ``place``.

    Gauges are kept alive until the context ends. Without Ray, or where it collects no metrics, nothing happens.
    """

    def __init__(self, label: str, place: str) -> None:
        self.label = label
        self.place = without_password(place)
        self._made: dict[str, Any] = {}
        self._shown: dict[tuple[Metric, tuple[str, ...]], float] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._repeat, daemon=True)

    def __enter__(self) -> "RayMetrics":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def add(self, metric: Metric, value: float, *labels: str) -> None:
        """Add to a counter."""
        if value > 0:  # Ray refuses others
            with self._lock:
                self._find(Counter, metric).inc(value, self._tags(metric, labels))

    def set(self, metric: Metric, value: float, *labels: str) -> None:
        """Set a gauge."""
        with self._lock:
            self._shown[metric, labels] = value
            self._find(Gauge, metric).set(value, self._tags(metric, labels))

    def _repeat(self) -> None:
        while not self._stop.wait(_AGAIN_S):
            with self._lock:
                for (metric, labels), value in self._shown.items():
                    self._find(Gauge, metric).set(value, self._tags(metric, labels))

    def _find(self, kind: type[Any], metric: Metric) -> Any:
        if metric.name not in self._made:
            self._made[metric.name] = kind(metric.name, metric.help, (self.label, *metric.labels))
        return self._made[metric.name]

    def _tags(self, metric: Metric, labels: tuple[str, ...]) -> dict[str, str]:
        return {self.label: self.place, **dict(zip(metric.labels, labels, strict=True))}
