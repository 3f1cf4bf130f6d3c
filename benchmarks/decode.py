"""Decoding a clip at training size: what a decode task does, against two other loaders, each with one thread.

    python -m benchmarks.decode CLIPS_FOLDER [--spans 6] [--rounds 5] [--save]

Ours is ``decode_rows`` on planned clips of the paper's recipe: 17 frames, seeded start and stride, scaled to cover
320 x 512 and cut, in the decode child. The usual loader opens the file with decord at full size, takes the same frames
as one batch, turns them into floats and brings them to the same size with torchvision's antialiased resize and a centre
crop. torchcodec takes them in its exact mode, as bytes, with the same resize and crop; it is left out where the system
has no FFmpeg for it. All start from the file for every clip.

The unit is processor seconds, not wall time: of this process and of the decode child, see
:func:`benchmarks.processes.cpu_seconds`. The child is there before the first measurement: it serves 500 clips, so its
start is no part of a clip's cost. A video that a loader cannot open is named and left out for all.
"""

import contextlib
from collections.abc import Callable
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


def fitted(frames: Tensor, shape: ClipShape) -> Tensor:
    """Frames ``[t 3 h w]`` scaled to cover the shape, and cut."""
    scaled = place((frames.shape[2], frames.shape[3]), 1.0, 0, (shape.height, shape.width)).scaled
    frames = transforms.resize(frames, list(scaled), antialias=True)
    cropped: Tensor = transforms.center_crop(frames, [shape.height, shape.width])
    return cropped


def usual(clip: dict[str, Any], shape: ClipShape) -> Tensor:
    """The clip as float ``[t 3 h w]`` in 0 to 1, the way most training code loads it."""
    reader = decord.VideoReader(clip["uri"], ctx=decord.cpu(0), num_threads=1)
    frames = torch.from_numpy(reader.get_batch(frame_numbers(clip)).asnumpy())
    return fitted(frames.permute(0, 3, 1, 2).float() / 255, shape)


def exact(clip: dict[str, Any], shape: ClipShape) -> Tensor:
    """The clip as uint8 ``[t 3 h w]`` by torchcodec."""
    from torchcodec.decoders import VideoDecoder

    reader = VideoDecoder(clip["uri"], seek_mode="exact", num_ffmpeg_threads=1)
    return fitted(reader.get_frames_at(frame_numbers(clip)).data, shape)


Loader = Callable[[dict[str, Any], ClipShape], Tensor]


def loaders() -> dict[str, Loader]:
    """The loaders that are installed."""
    found: dict[str, Loader] = {"usual": usual}
    with contextlib.suppress(ImportError, RuntimeError):  # RuntimeError: without FFmpeg
        import torchcodec.decoders  # noqa: F401

        found["torchcodec"] = exact
    return found


def refusal(clip: dict[str, Any], shape: ClipShape) -> str | None:
    """Why a loader cannot take a clip; None where all can."""
    for name, load in loaders().items():
        try:
            load(clip, shape)
        except (decord.DECORDError, RuntimeError, ValueError, IndexError) as error:
            return f"{name}: {str(error).strip().splitlines()[-1][:120]}"
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


def measure(
    videos: dict[str, pa.Table], rounds: int, shape: ClipShape, worker: VideoWorker
) -> dict[str, list[dict[str, float]]]:
    """Processor seconds of the clips of each video: by video and round, those of each loader, in turn."""
    seconds: dict[str, list[dict[str, float]]] = {name: [] for name in videos}
    for _ in range(rounds):
        for name, clips in videos.items():
            rows = clips.to_pylist()
            turns = {"ours": partial(ours, clips, worker, shape)}
            turns |= {loader: partial(_all, load, rows, shape) for loader, load in loaders().items()}
            found = {loader: 1 / rate(1, turn, cpu_seconds) for loader, turn in turns.items()}
            seconds[name].append(found)
            print(f"{name:28} " + ", ".join(f"{loader} {spent:.3f}" for loader, spent in found.items()), flush=True)
    return seconds


def _all(load: Loader, clips: list[dict[str, Any]], shape: ClipShape) -> list[Tensor]:
    return [load(clip, shape) for clip in clips]


def summary(seconds: dict[str, list[dict[str, float]]], clips: int) -> dict[str, Any]:
    """Medians over rounds: how often faster ours is, over all videos and by video, and milliseconds a clip."""
    rounds = list(zip(*seconds.values(), strict=True))
    spent = {loader: [sum(video[loader] for video in one) for one in rounds] for loader in rounds[0][0]}
    peers = [loader for loader in spent if loader != "ours"]
    faster = {
        loader: round(median(peer / mine for mine, peer in zip(spent["ours"], spent[loader], strict=True)), 2)
        for loader in peers
    }
    return {
        **{f"ours_to_{loader}": ratio for loader, ratio in faster.items()},
        "cpu_ms_a_clip": {loader: round(1000 * median(found) / clips, 1) for loader, found in spent.items()},
        "by_video": {
            name: {loader: round(median(one[loader] / one["ours"] for one in found), 2) for loader in peers}
            for name, found in seconds.items()
        },
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
    seconds = measure(taken, options.rounds, recipe.shape, worker)
    worker.close()
    clips = sum(map(len, taken.values()))
    found = summary(seconds, clips)
    figures = {
        "clips": clips,
        "rounds": options.rounds,
        **found,
        "mean_difference_of_256_levels": differences,
        "left_out": {name: why for name, why in refused.items() if why is not None},
    }
    goals = {">= 4.2x the usual loader": found["ours_to_usual"] >= 4.2}
    if "ours_to_torchcodec" in found:
        goals[">= 1.2x torchcodec"] = found["ours_to_torchcodec"] >= 1.2
    report("decode", figures, goals)


if __name__ == "__main__":
    main()
