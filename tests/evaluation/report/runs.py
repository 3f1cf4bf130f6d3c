"""Real runs and results for reports, small enough for tests: of the toy network, on clips of 12 frames of 64 x 64."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from base.storage.folder import Folder
from diffusion.motion_focal import MotionFocal
from evaluation.study.votes import Vote
from media.video_file import encode_video
from tests.training.datasets import Toy, write_toy
from tests.training.runs import toy_job
from training.options import Samples
from training.run.launch import launch

SHAPE = (4, 12, 8, 8)


def quiet(line: str) -> None:
    del line


def write_data(folder: Path) -> Folder:
    """A dataset of eight clips."""
    return write_toy(Folder(str(folder / "data")), Toy(clips=8, shape=SHAPE))


def write_run(data: Folder, out: Path, **changes: Any) -> Path:
    """A run of four steps that samples at steps 0, 2 and 4, launched by a command."""
    samples = Samples(every=2, num=2, steps=2)
    job = toy_job(data, out, **{"samples": samples, **changes})
    launch(replace(job, command=f"motif train toy --out {out.name}"), quiet)
    return out


def write_plain(data: Folder, out: Path) -> Path:
    """The same without motion loss."""
    return write_run(data, out, loss=MotionFocal(weight=0.0))


def write_samples(folder: Path, prompts: dict[str, str], seed: int = 0) -> Path:
    """Videos named as these, with their prompts, as `motif sample` tags them."""
    folder.mkdir()
    for number, (name, prompt) in enumerate(prompts.items()):
        shade = np.linspace(0, 255, 6).astype(np.uint8)[:, None, None, None]
        frames = np.broadcast_to(shade, (6, 32, 48, 3)) // (number + 1)
        tags = {"prompt": prompt, "seed": str(seed), "model": folder.name}
        (folder / f"{name}.mp4").write_bytes(encode_video(np.ascontiguousarray(frames), 8, metadata=tags))
    return folder


def metrics_of(run: Path) -> list[dict[str, float]]:
    """A run's steps, as its file has them."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def write_votes(path: Path, votes: list[Vote]) -> Path:
    """The file of votes that `motif study score` reads."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("slot", "rater", "choice", "seconds", "reasons"))
        rows.writerows((v.slot, v.rater, v.choice, v.seconds, ";".join(v.reasons)) for v in votes)
    return path
