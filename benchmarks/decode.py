"""Decoding a clip at training size: what a decode task does, against the usual loader, both with one thread.

    python -m benchmarks.decode CLIPS_FOLDER [--spans 6] [--rounds 5] [--save]

Ours is ``decode_rows`` on planned clips of the paper's recipe: 17 frames, seeded start and stride, scaled to cover
320 x 512 and cut, in the decode child. The usual loader opens the file with decord at full size, takes the same frames
as one batch, turns them into floats and brings them to the same size with torchvision's antialiased resize and a centre
crop. Both start from the file for every clip.

The unit is processor seconds, not wall time: of this process and of the decode child, see
:func:`benchmarks.processes.cpu_seconds`. The child is there before the first measurement: it serves 500 clips, so its
start is no part of a clip's cost. A video that the usual loader cannot open is named and left out for both.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import decord
import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from benchmarks.clips import plan_clips
from benchmarks.processes import cpu_seconds
from benchmarks.report import arguments, rate, report
from media.placement import place
from pipeline.recipes import motif
from pipeline.stages.decode import decode_rows, read_frames
from pipeline.video.geometry import ClipShape
from pipeline.video.process.worker import VideoWorker
from pipeline.video.sampling import Sampling

RECIPE = replace(motif(), captions="optional")


def frame_numbers(clip: dict[str, Any]) -> list[int]:
    """The frames of a planned clip, the one for the last flow with them."""
    count = RECIPE.sampling.frames + bool(clip["has_next"])
    return [clip["first"] + i * clip["stride"] for i in range(count)]


def all_usual(clips: list[dict[str, Any]], shape: ClipShape) -> list[Tensor]:
    """Several clips, loaded the usual way."""
    return [usual(clip, shape) for clip in clips]


def usual(clip: dict[str, Any], shape: ClipShape) -> Tensor:
    """The clip as float ``[t 3 h w]`` in 0 to 1, the way most training code loads it."""
    reader = decord.VideoReader(clip["uri"], ctx=decord.cpu(0), num_threads=1)
    frames = torch.from_numpy(reader.get_batch(frame_numbers(clip)).asnumpy())
    frames = frames.permute(0, 3, 1, 2).float() / 255
    scaled = place((frames.shape[2], frames.shape[3]), 1.0, 0, (shape.height, shape.width)).scaled
    frames = transforms.resize(frames, list(scaled), antialias=True)
    cropped: Tensor = transforms.center_crop(frames, [shape.height, shape.width])
    return cropped


def refusal(clip: dict[str, Any], shape: ClipShape) -> str | None:
    """Why the usual loader cannot take a clip; None where it can."""
    try:
        usual(clip, shape)
    except (decord.DECORDError, RuntimeError) as error:
        return str(error).strip().splitlines()[-1][:120]
    return None


def ours(clips: pa.Table, worker: VideoWorker, shape: ClipShape) -> pa.Table:
    """The clips with their pixels; every one must have some."""
    table = decode_rows(clips, worker, shape)
    assert table.column("stage").null_count == len(table), table.column("message").to_pylist()
    return table


def difference(clips: pa.Table, worker: VideoWorker, shape: ClipShape) -> float:
    """Mean difference between both loaders' pixels, in 8-bit levels: are they the same frames at the same place?

    The usual loader takes every pixel for a square one, so for this check alone ours does too.
    """
    square = pa.array([1.0] * len(clips))
    clips = clips.set_column(clips.column_names.index("pixel_aspect"), "pixel_aspect", square)
    pixels = read_frames(ours(clips, worker, shape), shape).astype(np.float32)
    differences = []
    for mine, clip in zip(pixels, clips.to_pylist(), strict=True):
        peer = (usual(clip, shape) * 255).permute(0, 2, 3, 1).numpy()
        differences.append(np.abs(mine[: len(peer)] - peer).mean())
    return float(np.mean(differences))


def measure(videos: dict[str, pa.Table], rounds: int, shape: ClipShape, worker: VideoWorker) -> dict[str, Any]:
    """Clips a processor second of both loaders by video and round, in turn."""
    speeds: dict[str, list[tuple[float, float]]] = {name: [] for name in videos}
    for _ in range(rounds):
        for name, clips in videos.items():
            rows = clips.to_pylist()
            mine = rate(len(rows), partial(ours, clips, worker, shape), cpu_seconds)
            peer = rate(len(rows), partial(all_usual, rows, shape), cpu_seconds)
            speeds[name].append((mine, peer))
            print(f"{name:28} {mine:6.1f} {peer:6.1f} clips a CPU second, {mine / peer:.2f}", flush=True)
    return speeds


def summary(speeds: dict[str, list[tuple[float, float]]], counts: dict[str, int]) -> dict[str, Any]:
    """Medians over rounds: our clips a processor second over the peer's, over all and by video; milliseconds a clip."""
    spent = [
        tuple(sum(n / pair[who] for n, pair in zip(counts.values(), rounds, strict=True)) for who in (0, 1))
        for rounds in zip(*speeds.values(), strict=True)
    ]
    a_clip = 1000 / sum(counts.values())
    by_video = {name: median(mine / peer for mine, peer in found) for name, found in speeds.items()}
    return {
        "ours_to_usual": round(median(peer / mine for mine, peer in spent), 2),
        "cpu_ms_a_clip": {
            who: round(a_clip * median(s[i] for s in spent), 1) for i, who in enumerate(("ours", "usual"))
        },
        "by_video": {name: round(ratio, 2) for name, ratio in by_video.items()},
    }


def main() -> None:
    """Measure and report."""
    parser = arguments(__doc__)
    parser.add_argument("clips_folder", type=Path, help="real videos")
    parser.add_argument("--spans", type=int, default=6, help="clips of each video")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    for set_threads in (torch.set_num_threads, cv2.setNumThreads):
        set_threads(1)
    recipe = replace(RECIPE, sampling=Sampling(clips_per_video=options.spans))
    parts = plan_clips(recipe, str(options.clips_folder))
    table = pa.concat_tables(rows for _, rows in parts)
    videos = {
        Path(uri).name: table.filter(pa.compute.equal(table["uri"], uri)) for uri in table["uri"].unique().to_pylist()
    }
    refused = {name: refusal(clips.to_pylist()[0], recipe.shape) for name, clips in videos.items()}
    taken = {name: clips for name, clips in videos.items() if refused[name] is None}
    worker = VideoWorker(recipe.decode)
    differences = {name: round(difference(clips, worker, recipe.shape), 2) for name, clips in taken.items()}
    speeds = measure(taken, options.rounds, recipe.shape, worker)
    worker.close()
    figures = {
        "clips": sum(map(len, taken.values())),
        "rounds": options.rounds,
        **summary(speeds, {name: len(clips) for name, clips in taken.items()}),
        "mean_difference_of_256_levels": differences,
        "left_out": {name: why for name, why in refused.items() if why is not None},
    }
    report("decode", figures, {">= 3.7x clips a processor second of the usual loader": figures["ours_to_usual"] >= 3.7})


if __name__ == "__main__":
    main()
