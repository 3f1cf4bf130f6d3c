"""Commands on a large dataset: the time of `stats`, `inspect`, `filter`, `export`, `compact`, and how it grows.

    python -m benchmarks.large_dataset [--clips 5000 20000 100000] [--clips-a-part 50] [--save]

The datasets are written with the project's own probe, planner and part writer, as many small runs would leave them: 50
clips a part, some of them rejected, with heatmaps, latents and text states of small shapes and random values. The
clips are segments of a few small videos that exist. `motif dataset verify` must find nothing to say on the smallest
one, and a plan nothing to compute on each, before and after it was compacted.

Each command is measured as a whole process, with Python's start and all imports. `export` writes 200 clips with their
heatmaps: what a clip costs beyond that is the decoding and encoding of its video, on all cores. After the commands, the
largest dataset is compacted to parts of 256 clips, and they run again. Everything is in the page cache.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import torch

from base.storage.folder import Folder
from benchmarks.report import arguments, report
from dataset.ledger import Ledger, Sources
from dataset.parts.footers import make_label
from dataset.parts.schema import Column
from dataset.parts.tables import FACTS, StoreOptions, part_names, read_parts, write_part
from media.video_file import encode_video
from pipeline.featurizers.base import TextFeature
from pipeline.graph.work import new_captions
from pipeline.manifest import read_manifest
from pipeline.manifest.stamps import stamp_all
from pipeline.planning.artifacts import Targets, choose_targets
from pipeline.planning.plan import Planner
from pipeline.planning.sinks import DryRun
from pipeline.recipes import Preprocess, sprites
from pipeline.run.job import Job
from pipeline.run.run import Run
from pipeline.stages.columns import Failure, failure_arrays
from pipeline.stages.probe import probe_rows
from pipeline.stages.text import TextEncoding, TextTarget
from pipeline.stages.write import PartWriter
from pipeline.video.process.worker import DecodeLimits, VideoWorker
from pipeline.video.sampling import Sampling

SIDE, FRAMES, RATE = 64, 4, 25
VIDEO_FRAMES = 5_000
FAIL_EVERY = 97
EXPORTED = 200
LIMIT_S = 60
COMMANDS = ("stats", "inspect", "filter", "export")


def recipe(clips_a_part: int) -> Preprocess:
    """The toy recipe with clips of four frames of 64 x 64, which make 4 x 4 cells."""
    toy = sprites()
    sampling = Sampling(frames=FRAMES, min_stride=1, max_stride=1)
    store = StoreOptions(clips_a_part, 10 if clips_a_part % 10 == 0 else 1)
    return replace(toy, sampling=sampling, height=SIDE, width=SIDE, store=store)


class Writer(DryRun):
    """A sink that writes each planned part at once, with random features; some clips fail to decode."""

    def __init__(self, recipe: Preprocess, targets: Targets, dataset: Folder) -> None:
        self.rng = np.random.default_rng(0)
        self.columns = {target.folder: target.feature.columns(recipe.shape) for target in targets.clips}
        labels = {target.folder: target.artifact.label for target in targets.clips}
        self.write = PartWriter(
            dataset=dataset,
            clips_label=make_label("clips", recipe.clips_identity()),
            artifacts={folder: (columns, labels[folder]) for folder, columns in self.columns.items()},
            store=recipe.store,
            rules=(),
            run="benchmark",
            attempts={},
        )
        self.planned = 0

    def clips(self, part: str, rows: pa.Table) -> None:
        """One part, as the last stage of a run gets it."""
        count = rows.num_rows
        numbers = range(self.planned, self.planned + count)
        self.planned += count
        failures = [Failure("decode", "Timeout", "no answer") if n % FAIL_EVERY == 0 else None for n in numbers]
        stage, kind, message = failure_arrays(failures)
        table = rows
        for name, values in {
            "part": pa.array([part] * count),
            "row": pa.array(range(count), pa.int32()),
            "decoder": pa.array(["pyav"] * count),
            "stage": stage,
            "error_class": kind,
            "message": message,
            "seconds": pa.array([0.0] * count),
        }.items():
            table = table.append_column(name, values)
        for folder, columns in self.columns.items():
            for column in columns:
                table = table.append_column(f"{folder}/{column.name}", column.to_arrow(self._random(column, count)))
        self.write(table)

    def _random(self, column: Column, count: int) -> np.ndarray:
        values = self.rng.random((count, *column.shape), np.float32)
        return (values * 255).astype(column.dtype) if column.dtype == "uint8" else values.astype(column.dtype)


def write_videos(folder: Path, count: int) -> list[str]:
    """Small videos of noise that drifts."""
    folder.mkdir(parents=True)
    still = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    paths = []
    for number in range(count):
        path = folder / f"{number:04d}.mp4"
        frames = np.stack([np.roll(still, (number + n, n % SIDE), axis=(0, 1)) for n in range(VIDEO_FRAMES)])
        path.write_bytes(encode_video(frames, RATE, crf=40))
        paths.append(str(path))
    return paths


def rows_of(videos: list[str], clips: int) -> Iterator[tuple[str, str, float, float]]:
    """Video, caption, start and end of every clip; half of the captions occur twice."""
    for number in range(clips):
        start, video = divmod(number, len(videos))
        caption = f"a person in a red coat walks past shop number {number * 2 // 3} while a tram turns the corner"
        yield videos[video], caption, start / RATE, (start + FRAMES) / RATE


def make(root: Path, clips: int, clips_a_part: int) -> Job:
    """A manifest and the dataset that holds its clips; returns the job that planned them."""
    made = recipe(clips_a_part)
    dataset = Folder(str(root / "dataset"))
    videos = write_videos(root / "videos", max(1, -(-clips // (VIDEO_FRAMES - FRAMES - 1))))
    names = ("video", "caption", "start", "end")
    pa.csv.write_csv(pa.table(dict(zip(names, zip(*rows_of(videos, clips), strict=True), strict=True))), root / "m.csv")
    worker = VideoWorker(DecodeLimits())
    facts = probe_rows(pa.table({"uri": videos, "stamp": [stamp or "" for stamp in stamp_all(videos)]}), worker)
    worker.close()
    write_part(dataset / "sources", "part-all.parquet", facts, FACTS, {"kind": "sources", "order": "0"})
    targets = choose_targets(made, dataset)
    targets.catalog.write(dataset)
    job = Job(made, str(root / "m.csv"), dataset)
    Planner(made, Ledger(), Sources.of(facts), Writer(made, targets, dataset)).run(
        read_manifest(job.manifest, job.columns)
    )
    (text,) = targets.text
    assert isinstance(text.feature, TextFeature)
    place = TextTarget(dataset, text.folder, text.feature.columns(made.shape), made.store, text.artifact.label)
    encode = TextEncoding(text.feature, place, torch.device("cpu"))
    for captions in new_captions(dataset, text.folder):
        encode(captions)
    return job


def run(*command: object) -> dict[str, float]:
    """Run a `motif` command to its end: wall seconds, and processor seconds with its children's."""
    started = time.perf_counter()
    line = [str(Path(sys.executable).parent / "motif"), *map(str, command)]
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, line
    seconds = time.perf_counter() - started
    return {"seconds": round(seconds, 2), "cpu_seconds": round(used.ru_utime + used.ru_stime, 2)}


def measure(root: Path, out: Path) -> dict[str, Any]:
    """The commands on a dataset, one after the other, and how many parts it has."""
    dataset = root / "dataset"
    out.mkdir()
    clips = Folder(str(dataset / "clips"))
    ids = read_parts(clips, ["clip_id"]).column("clip_id").to_pylist()
    chosen = out / "ids.txt"
    chosen.write_text("\n".join(np.random.default_rng(0).choice(ids, EXPORTED, replace=False)))
    found: dict[str, Any] = {"clips": len(ids), "parts": len(part_names(clips))}
    found["stats"] = run("dataset", "stats", dataset)
    found["inspect"] = run("inspect", dataset, "--out", out / "page.html")
    found["filter"] = run("dataset", "filter", dataset, "--where", "mean_intensity>=0.5", "--out", out / "view.json")
    export = ("dataset", "export", dataset, "--ids", chosen, "--arrays", "heatmaps", "--out", out / "export")
    found["export"] = run(*export)
    return found


def check_plan(job: Job) -> None:
    """A plan over the same manifest must find every clip written or rejected."""
    plan = Run(job, lambda line: None).dry_run()
    assert (plan.to_compute, plan.unprobed, plan.rejected.total()) == (0, 0, 0), plan


def main() -> None:
    """Measure and report."""
    parser = arguments(__doc__)
    parser.add_argument("--clips", type=int, nargs="+", default=[5_000, 20_000, 100_000])
    parser.add_argument("--clips-a-part", type=int, default=50)
    options = parser.parse_args()
    sizes, found = sorted(options.clips), {}
    for clips in sizes:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            job = make(root, clips, options.clips_a_part)
            check_plan(job)
            if clips == sizes[0]:
                run("dataset", "verify", root / "dataset")
            found[f"{clips}"] = measure(root, root / "out")
            print(f"{clips:,} clips: {found[f'{clips}']}", flush=True)
            if clips == sizes[-1]:
                compact = run("dataset", "compact", root / "dataset")
                check_plan(job)
                found["compacted"] = measure(root, root / "again") | {"compact": compact}
                print(f"compacted: {found['compacted']}", flush=True)
    largest, before = found[f"{sizes[-1]}"], found[f"{sizes[-2]}"]
    growth = {
        name: round((largest[name]["seconds"] / before[name]["seconds"]) / (largest["clips"] / before["clips"]), 2)
        for name in COMMANDS
    }
    goals = {
        "each <= 60 s": max(largest[name]["seconds"] for name in COMMANDS) <= LIMIT_S,
        "no more than linear": max(growth.values()) <= 1.2,
    }
    report("large_dataset", {"by_clips": found, "growth_to_linear": growth}, goals)


if __name__ == "__main__":
    main()
