"""Prompts of mask heatmaps: whether they fall on what moves, in real H.264 videos of sprites whose motion is known.

    python -m benchmarks.prompts [--clips 200] [--save]

Clips of one mover among resting shapes, encoded and decoded again, with the toy recipe's settings (DIS flow both ways),
with forward flow alone, and with prompts on the edges of what moves, as in the paper. A clip counts if it has a prompt
and each of its prompts is a pixel of the mover in the first frame. Beside them: clips with at most one prompt off,
prompts on the mover, prompts of a clip, static clips without any prompt, and the first share again by speed.
"""

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import torch

from benchmarks.heatmap import through_h264
from benchmarks.report import arguments, report
from pipeline.featurizers.base import ClipBatch
from pipeline.featurizers.mask_heatmaps import MaskHeatmaps
from pipeline.motion.flow import Dis
from pipeline.motion.masks import MovingRegions
from pipeline.motion.prompts import Prompts
from pipeline.sprites.files import draw_clips
from pipeline.sprites.render import render
from pipeline.sprites.world import World
from pipeline.video.geometry import ClipShape

SIZES = ((256, 256), (320, 512))
TOY = MaskHeatmaps(flow=Dis(), masks=MovingRegions(), cell=16)
WAYS = {
    "both_ways": TOY,
    "forward": replace(TOY, both_ways=False),
    "both_ways, edges too": replace(TOY, prompts=Prompts(around=0)),
    "forward, edges too": replace(TOY, both_ways=False, prompts=Prompts(around=0)),
}
FRAMES = 2  # the prompts depend on the first two frames alone
GOAL = 0.95


def make_clips(size: tuple[int, int], count: int) -> Iterator[tuple[np.ndarray, np.ndarray, str]]:
    """Decoded frames, which pixels of the first one move, and how fast in words."""
    world = World(*size, frames=FRAMES + 1, kinds=("moves",))
    for clip in draw_clips(world, count, seed=0, prompts_per_scene=1):
        frames, flow = render(world, clip.scene, clip.motion)
        yield through_h264(frames), np.linalg.norm(flow[0], axis=-1) > 0, clip.motion.speed or "at medium speed"


def find_prompts(feature: MaskHeatmaps, size: tuple[int, int], clips: np.ndarray) -> list[np.ndarray]:
    """The prompts of each clip, x before y."""
    compute = feature.load(ClipShape(FRAMES, *size), torch.device("cpu"))
    values = compute(ClipBatch(clips, np.full(len(clips), True)))
    return [points[:count] for points, count in zip(values["points"], values["prompts"], strict=True)]


def measure(
    feature: MaskHeatmaps, size: tuple[int, int], drawn: list[tuple[np.ndarray, np.ndarray, str]]
) -> dict[str, float]:
    """Shares of clips and of prompts."""
    clips = np.stack([frames for frames, _, _ in drawn])
    prompts = find_prompts(feature, size, clips)
    on = [moving[found[:, 1], found[:, 0]] for found, (_, moving, _) in zip(prompts, drawn, strict=True)]
    hit = np.array([len(one) > 0 and bool(one.all()) for one in on])
    static = np.stack([through_h264(np.repeat(frames[:1], FRAMES + 1, axis=0)) for frames in clips])
    found = {
        "all_on_the_mover": hit.mean(),
        "at_most_one_off": np.mean([len(one) > 0 and (~one).sum() <= 1 for one in on]),
        "prompts_on_the_mover": np.concatenate(on).mean(),
        "prompts_a_clip": np.mean([len(one) for one in on]),
        "static_without_prompts": np.mean([len(one) == 0 for one in find_prompts(feature, size, static)]),
    }
    for speed in sorted({speed for _, _, speed in drawn}):
        found[speed] = hit[[one == speed for _, _, one in drawn]].mean()
    return {key: round(float(value), 3) for key, value in found.items()}


def main() -> None:
    """Measure and report."""
    parser = arguments(__doc__)
    parser.add_argument("--clips", type=int, default=200, help="clips of each size")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    figures: dict[str, object] = {"clips": options.clips}
    goals: dict[str, bool] = {}
    for size in SIZES:
        name = f"{size[0]}x{size[1]}"
        drawn = list(make_clips(size, options.clips))
        for way, feature in WAYS.items():
            figures[f"{name} {way}"] = found = measure(feature, size, drawn)
            print(name, way, found, flush=True)
            goals[f"no static clip has a prompt, {name}, {way}"] = found["static_without_prompts"] == 1
            if feature == TOY:
                on_mover = found["all_on_the_mover"] >= GOAL
                goals[f">= {GOAL:.0%} of clips have all prompts on the mover, {name}"] = on_mover
    report("prompts", figures, goals)


if __name__ == "__main__":
    main()
