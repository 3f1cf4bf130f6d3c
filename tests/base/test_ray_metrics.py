"""Metrics of a run as Ray exports them."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import httpx2
import pytest
import ray
from prometheus_client.parser import text_string_to_metric_families

from base.ray_metrics import Metric, RayMetrics

SEEN = Metric("motif_test_seen", "Things seen", ("kind",))
LEVEL = Metric("motif_test_level", "How high it is")
Series = dict[tuple[str, ...], float]

ALONE = """
import threading
from base.ray_metrics import Metric, RayMetrics
{start}
with RayMetrics("run", "here") as metrics:
    for _ in range(1000):
        metrics.add(Metric("motif_test_seen", "", ("kind",)), 1, "a")
        metrics.set(Metric("motif_test_level", ""), 1)
assert threading.active_count() == {threads}, threading.enumerate()
"""


def exported(place: str) -> Series:
    """What the node of the test cluster exports of a run now: by name and labels of its own."""
    (node,) = ray.nodes()
    text = httpx2.get(f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics").text
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return {
        (sample.name, sample.labels.get("kind", "")): sample.value
        for sample in samples
        if sample.labels.get("run") == place
    }


def wait_for(there: Callable[[Series], bool], place: str) -> Series:
    deadline = time.monotonic() + 60
    while not there(found := exported(place)):
        assert time.monotonic() < deadline, found
        time.sleep(0.5)
    return found


@pytest.mark.slow
def test_counters_stay_and_gauges_go_when_a_run_ends(ray_cluster: None) -> None:
    """Ray forgets after 20 s a gauge that was set once; a step may take longer."""
    place = "ftp://me:secret@host/runs/a b"
    shown = place.replace("secret", "***")
    with RayMetrics("run", place) as metrics:
        metrics.add(SEEN, 2, "a")
        metrics.add(SEEN, 0.5, "a")
        metrics.add(SEEN, 3, "b")
        metrics.add(SEEN, 0, "c")
        metrics.set(LEVEL, 5)
        metrics.set(LEVEL, 4)
        complete: Series = {
            ("ray_motif_test_seen_total", "a"): 2.5,
            ("ray_motif_test_seen_total", "b"): 3,
            ("ray_motif_test_level", ""): 4,
        }
        wait_for(lambda found: found == complete, shown)
        until = time.monotonic() + 35
        while time.monotonic() < until:
            assert exported(shown) == complete
            time.sleep(0.5)
    del complete["ray_motif_test_level", ""]
    wait_for(lambda found: found == complete, shown)
    assert exported(place) == {}
    with RayMetrics("run", place) as again:
        again.add(SEEN, 1, "a")
        wait_for(lambda found: found["ray_motif_test_seen_total", "a"] == 3.5, shown)


def test_a_run_leaves_no_thread_behind() -> None:
    before = set(threading.enumerate())
    with RayMetrics("run", "here"):
        started = set(threading.enumerate()) - before
    assert started
    assert not started & set(threading.enumerate())


@pytest.mark.slow
@pytest.mark.parametrize(
    "start",
    ["", "import ray; ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level='ERROR')"],
    ids=["no Ray", "Ray without metrics"],
)
def test_nothing_happens_where_nobody_collects(start: str) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    environment |= {"RAY_enable_metrics_collection": "0"}
    code = ALONE.format(start=start, threads="threading.active_count()" if start else 1)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
