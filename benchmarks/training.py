"""What a training step spends beside the network: waiting for data, the motion focal loss; and what features save.

    python -m benchmarks.training DATASET MANIFEST [--steps 30] [--save]

DATASET is one made with the sprites recipe from MANIFEST (``motif demo`` leaves both in demo/). Runs of the toy
recipe on the same clips with the same random numbers, on the CPU:

- features: our loop on the stored dataset. ``data_wait_share`` is the share of its steps that waits for data.
- online: the same loop whose reader decodes each clip's video and computes latents and motion heatmap when the clip is
  needed, ahead of the network in the same thread that reads features otherwise. Text states are stored in both.
- reading: both readers alone, without a network, as clips a second. Where the network is slower than the online reader
  the first two runs are alike: what features save is the cores (or the GPU) that the online reader keeps busy.
- loss: forward and backward of the loss alone on a batch's errors, with and without the motion term, as a share of a
  step.
"""

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
import torch

from base.storage.folder import Folder
from benchmarks.clips import plan_clips
from benchmarks.report import arguments, report
from dataset.reading import Sample
from diffusion.motion_focal import MotionFocal
from diffusion.schedule import Schedule
from pipeline.recipes import sprites as preprocess_sprites
from pipeline.stages.decode import decode_rows
from pipeline.stages.featurize import FeaturizeStage
from pipeline.video.process.worker import VideoWorker
from training.data.artifacts import Artifacts
from training.data.loader import Batches, BatchPlan, Share
from training.data.order import Place
from training.data.source import Source
from training.loop.parallel import World
from training.options import Samples, Saves
from training.recipes import Train, sprites
from training.run.job import TrainJob
from training.run.tracking import read_metrics
from training.run.worker import Worker

RECIPE = preprocess_sprites()


class Online(Source):
    """A source that computes a clip's features from its video when it is read."""

    def __init__(self, uri: str, manifest: str) -> None:
        super().__init__(uri, Artifacts())
        table = pa.concat_tables([rows for _, rows in plan_clips(RECIPE, manifest)])
        self.planned = table
        self.places = {clip: row for row, clip in enumerate(table.column("clip_id").to_pylist())}
        self.worker = VideoWorker(RECIPE.decode)
        self.stage = FeaturizeStage(RECIPE.clip_features, RECIPE.shape, torch.device("cpu"))

    def read(self, place: Place) -> Sample:
        """The clip, its latents and heatmap computed now."""
        stored = super().read(place)
        row = self.places[stored["clip_id"]]
        done = self.stage(decode_rows(self.planned.slice(row, 1), self.worker, RECIPE.shape))
        values = {}
        for column in ("latents/mean", "heatmaps/heatmap"):
            folder, name = column.split("/")
            shape = self.stage.columns[folder][0].shape
            found = done.column(column)[0].as_py()
            dtype = next(c.dtype for c in self.stage.columns[folder] if c.name == name)
            values[column] = np.frombuffer(found, dtype).reshape(shape)
        heatmap = values["heatmaps/heatmap"].astype(np.float32) * np.float32(1 / 255)
        assert np.array_equal(values["latents/mean"], stored["mean"]), "online features are those that were stored"
        assert np.array_equal(heatmap, stored["heatmap"])
        return stored | {"mean": values["latents/mean"], "heatmap": heatmap}


def toy(steps: int) -> Train:
    """The toy recipe, saving and sampling nothing between."""
    recipe = sprites()
    return replace(recipe, steps=steps, saves=Saves(every=steps), samples=Samples(every=0), trackers=())


def run(dataset: str, steps: int, online: Source | None = None) -> tuple[float, float, float]:
    """Seconds of a step (median), share of waiting, clips a second; the first third of the steps warms up."""
    with tempfile.TemporaryDirectory() as folder:
        job = TrainJob(toy(steps), (dataset,), Folder(folder + "/run"))
        worker = Worker(job, World(torch.device("cpu")), lambda line: None)
        if online is not None:
            worker.sources = [online]
        worker.run()
        lines = read_metrics(job.out)[steps // 3 :]
    seconds = sum(line["seconds"] for line in lines)
    waited = sum(line["data_wait"] for line in lines)
    return median(line["seconds"] for line in lines), waited / seconds, job.config.batch * len(lines) / seconds


def reading(source: Source, steps: int = 6) -> float:
    """Clips a second that a source gives when nothing else runs; the first step warms up."""
    batches = Batches([source], BatchPlan(4, 0, Schedule()), Share(0, 1, 4))
    batches.make(0)
    started = time.perf_counter()
    for step in range(1, steps + 1):
        batches.make(step)
    return 4 * steps / (time.perf_counter() - started)


def loss_seconds(weight: float, rounds: int = 200) -> float:
    """Median seconds of forward and backward of the loss on the errors of one batch of the toy."""
    loss = MotionFocal(weight=weight)
    error = torch.randn(4, 16, 16, 16, 16, requires_grad=True)
    heatmap, latents = torch.rand(4, 16, 16, 16), torch.zeros(error.shape)
    found = []
    for _ in range(rounds):
        started = time.perf_counter()
        if weight:
            loss(error, heatmap, latents).total.sum().backward()  # type: ignore[no-untyped-call]
        else:
            (error**2).mean(dim=(1, 2, 3, 4)).sum().backward()  # type: ignore[no-untyped-call]
        found.append(time.perf_counter() - started)
    return median(found)


def main() -> None:
    """Measure and report."""
    parser = arguments(__doc__)
    parser.add_argument("dataset")
    parser.add_argument("manifest")
    parser.add_argument("--steps", type=int, default=30)
    options = parser.parse_args()
    assert Path(options.manifest).exists(), options.manifest
    step, waited, clips = run(options.dataset, options.steps)
    computed = Online(options.dataset, options.manifest)
    readers = {"features": reading(Source(options.dataset, Artifacts())), "online": reading(computed)}
    _, online_waited, online = run(options.dataset, options.steps, computed)
    extra = (loss_seconds(1.0) - loss_seconds(0.0)) / step
    figures = {
        "step_s": round(step, 3),
        "data_wait_share": round(waited, 5),
        "focal_loss_share": round(extra, 5),
        "clips_per_s": {"features": round(clips, 2), "online": round(online, 2)},
        "features_to_online": round(clips / online, 2),
        "reading_clips_per_s": {name: round(value, 1) for name, value in readers.items()},
        "online_wait_share": round(online_waited, 3),
        "steps": options.steps,
    }
    goals = {"data wait <= 2 %": waited <= 0.02, "motion focal loss <= 1 %": extra <= 0.01}
    report("training", figures, goals)


if __name__ == "__main__":
    main()
