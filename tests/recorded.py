"""Metrics that are kept instead of exported."""

from collections import defaultdict

from base.ray_metrics import Metric, RayMetrics


class Recorded(RayMetrics):
    """``values`` has each series by its name in Prometheus and the values of its own labels."""

    def __init__(self) -> None:
        super().__init__("place", "here")
        self.metrics: dict[str, Metric] = {}
        self.values: dict[tuple[str, ...], float] = defaultdict(float)

    def add(self, metric: Metric, value: float, *labels: str) -> None:
        assert value >= 0
        self.values[self._series(f"ray_{metric.name}_total", metric, labels)] += value

    def set(self, metric: Metric, value: float, *labels: str) -> None:
        self.values[self._series(f"ray_{metric.name}", metric, labels)] = value

    def _series(self, name: str, metric: Metric, labels: tuple[str, ...]) -> tuple[str, ...]:
        assert len(labels) == len(metric.labels)
        self.metrics[name] = metric
        return (name, *labels)
