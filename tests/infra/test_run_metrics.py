"""What preprocessing and training tell Prometheus through Ray, and the Grafana board that asks for it."""

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pyarrow as pa
import pytest

from base.storage.folder import Folder
from pipeline.graph.monitor import StageCount
from pipeline.graph.pass_metrics import PassMetrics
from pipeline.sprites.files import write_sprites
from pipeline.sprites.world import World
from tests.conftest import ROOT
from tests.infra.prometheus import BOARDS, ask, metrics_of, panel_queries, prometheus
from tests.ports import free_port
from tests.recorded import Recorded
from training.run.step_metrics import GAUGES, StepMetrics
from training.run.tracking import read_metrics

BOARD = BOARDS["runs"]
ONLY_ON_A_GPU = ("ray_motif_train_gpu_memory_bytes", "ray_motif_train_mfu")


@pytest.fixture(scope="module")
def exported() -> Recorded:
    """All metrics of the two journeys."""
    recorded = Recorded()
    passed = PassMetrics(recorded, ("decode",), 2)
    passed.update({"decode": StageCount(1, 1, 1, 0.5)})
    passed.add_part(pa.table({"outcome": ["written"]}), to_clips=False)
    values = dict.fromkeys(("loss", "plain", "motion", "seconds", "data_wait", "clips_per_s", *GAUGES), 1.0)
    StepMetrics(recorded, 4, 10).log(0, values)
    return recorded


def test_the_board_asks_for_every_metric_by_labels_that_it_has(exported: Recorded) -> None:
    found = metrics_of(BOARD, "ray_motif_")
    assert found.keys() == exported.metrics.keys()
    for name, labels in found.items():
        own = exported.metrics[name].labels
        assert labels <= {*own, "dataset" if "preprocess" in name else "run"}, name


def test_the_page_names_every_metric_and_its_labels(exported: Recorded) -> None:
    page = (ROOT / "docs/operations.md").read_text()
    for name, metric in exported.metrics.items():
        (line,) = [line for line in page.splitlines() if line.startswith(f"| `{name}`")]
        labels = line.split("|")[2]
        assert all(f"`{label}`" in labels for label in metric.labels), line


@pytest.fixture(scope="module")
def head() -> Iterator[tuple[dict[str, str], str]]:
    """A Ray head without a dashboard; yields the environment of a shell that joins it, and its metrics' address."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "RAY_"))}
    files = tempfile.mkdtemp(prefix="ray-")
    # Ray asks for a token where an earlier Ray left one.
    environment |= {"RAY_TMPDIR": files, "RAY_metrics_report_interval_ms": "2000", "RAY_AUTH_MODE": "disabled"}
    gcs, metrics = free_port(), free_port()
    options = f"--head --block --port {gcs} --num-cpus 2 --object-store-memory {200 << 20} --include-dashboard=false"
    command = [Path(sys.executable).with_name("ray"), "start", *options.split(), f"--metrics-export-port={metrics}"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: answers(f"http://127.0.0.1:{metrics}/metrics"))
        yield environment | {"RAY_ADDRESS": f"127.0.0.1:{gcs}"}, f"127.0.0.1:{metrics}"
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(files, ignore_errors=True)


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline, "Ray did not start"
        time.sleep(0.5)


def answers(url: str) -> bool:
    try:
        return httpx2.get(url).status_code == 200
    except httpx2.TransportError:
        return False


def run(environment: dict[str, str], *args: object) -> dict[str, Any]:
    """A command's result."""
    command = [Path(sys.executable).with_name("motif"), *map(str, args)]
    done = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def totals(client: httpx2.Client, prefix: str) -> dict[tuple[str, ...], float]:
    """The sums of the counters whose names begin so, by name and labels of their own."""
    found = ask(client, f'sum by (__name__, dataset, run, stage, outcome) ({{__name__=~"{prefix}.*_total"}})')
    return {
        (labels.pop("__name__").removeprefix(prefix).removesuffix("_total"), *labels.values()): float(value)
        for labels, (_, value) in ((dict(sorted(series["metric"].items())), series["value"]) for series in found)
    }


def settled(client: httpx2.Client, prefix: str) -> dict[tuple[str, ...], float]:
    """The counters once they stand still for longer than it takes from Ray to Prometheus."""
    deadline, still = time.monotonic() + 60, time.monotonic()
    found = totals(client, prefix)
    while time.monotonic() < still + 5:
        assert time.monotonic() < deadline
        time.sleep(0.5)
        if (now := totals(client, prefix)) != found:
            found, still = now, time.monotonic()
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with eight videos, and one that is none."""
    place = tmp_path_factory.mktemp("runs")
    write_sprites(place / "sprites", World(height=128, width=128, frames=10), 8, seed=2)
    (place / "sprites" / "videos" / "broken.mp4").write_bytes(b"no video")
    (place / "sprites" / "videos" / "broken.txt").write_text("nothing")
    return place


def preprocess(environment: dict[str, str], place: Path, *more: object) -> dict[str, Any]:
    command = ["preprocess", "sprites", "--manifest", place / "sprites/videos", "--out", place / "data"]
    small = "--height 128 --width 128 --sampling.frames 8 --store.clips-a-part 2 --store.clips-a-row-group 2"
    rest = [*small.split(), "--max-failed", "1", "--keep", "moving_share>=0.025"]
    return run(environment, *command, *rest, *more)


def check_preprocessing(client: httpx2.Client, environment: dict[str, str], place: Path) -> None:
    """Three runs: all clips, nothing to do, and another artifact for the clips that there are."""
    other = ("--features.heatmaps.normalisation.fraction", "0.3")
    first, second, third = (preprocess(environment, place, *more) for more in ((), (), other))
    assert (first["planned"], first["failures"]) == (9, {"probe: NotAVideo": 1})
    assert 0 < first["filtered"] == 8 - first["written"] < 8
    assert (second["planned"], third["artifacts_added"]) == (0, first["written"])
    dataset = str(place / "data")
    clips = 8 + third["artifacts_added"]
    wanted = {
        **{("rows", dataset, stage): clips for stage in ("decode", "featurize", "write")},
        ("rows", dataset, "probe"): 9,
        ("rows", dataset, "text"): first["captions"],
        ("failed_rows", dataset, "probe"): first["failed"],
        ("parts", dataset): 4 + len(list((place / "data" / "clips").glob("*.parquet"))),
        ("clips", dataset, "written"): first["written"],
        ("clips", dataset, "filtered"): first["filtered"],
        ("clips", dataset, "artifacts_added"): third["artifacts_added"],
    }
    for stage, seconds in first["stage_seconds"].items():
        wanted["seconds", dataset, stage] = pytest.approx(seconds + third["stage_seconds"].get(stage, 0))
    assert settled(client, "ray_motif_preprocess_") == wanted


def check_training(client: httpx2.Client, environment: dict[str, str], place: Path) -> None:
    """A run that is resumed."""
    began = time.time()
    command = ["train", "sprites", "--data", place / "data", "--out", place / "run", "--workers", 1]
    command += ["--artifacts.heatmaps", "heatmaps"]
    for steps in (8, 12):
        run(environment, *command, "--samples.every", 0, "--steps", steps)
    lines = read_metrics(Folder(str(place / "run")))
    name = str(place / "run")
    assert settled(client, "ray_motif_train_") == {
        ("steps", name): 12,
        ("clips", name): 48,
        ("seconds", name): pytest.approx(sum(line["seconds"] for line in lines), rel=1e-3),
        ("data_wait_seconds", name): pytest.approx(sum(line["data_wait"] for line in lines), rel=1e-3),
    }
    shown = {"step": 12, "last_step": 12, "epoch": lines[-1]["epoch"], "learning_rate": lines[-1]["lr"]}
    shown |= {"grad_norm": lines[-1]["grad_norm"]}
    shown |= {f'loss{{term="{term}"}}': lines[-1][term.replace("total", "loss")] for term in ("total", "plain")}
    for metric, value in shown.items():
        found = ask(client, f"max(ray_motif_train_{metric})", start=began, end=time.time(), step=0.5)
        assert float(found[-1]["values"][-1][1]) == pytest.approx(value), metric


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif("MOTIF_LONG_TESTS" not in os.environ, reason="takes up to ten minutes; set MOTIF_LONG_TESTS=1")
@pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed (Debian's package)")
def test_prometheus_has_what_the_account_and_the_metrics_file_have(
    head: tuple[dict[str, str], str], place: Path
) -> None:
    environment, metrics = head
    began = time.time()
    with prometheus(place, metrics) as client:
        check_preprocessing(client, environment, place)
        check_training(client, environment, place)
        for query in panel_queries(BOARD):
            found = ask(client, query, start=began, end=time.time(), step=1)
            values = [float(value) for series in found for _, value in series["values"]]
            if not any(name in query for name in ONLY_ON_A_GPU):
                assert values, query
                assert "rate(" in query or all(map(math.isfinite, values)), query
