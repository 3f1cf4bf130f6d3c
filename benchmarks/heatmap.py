"""The moving area, found: DIS flow both ways on real H.264 videos of moving sprites, against their true flow.

    python -m benchmarks.heatmap [--clips 8] [--save]

A sprite moves at an exact speed, its clip is encoded and decoded again, and a pixel counts as moving where the
estimated flow is longer than half the speed. What is compared is that area with the true one, as intersection over
union: the mean over clips, each over all of its steps. In the same run the same flow forward only, which is what the
paper does, and plain differences of RGB values, which get the best of several thresholds at each speed.

Also: a clip's heatmaps are the same bytes alone and in a batch.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch

from benchmarks.report import arguments, report
from dataset.heatmap.intensity import agreed_intensity, intensity
from media.video_file import encode_video
from pipeline.featurizers.base import ClipBatch
from pipeline.featurizers.heatmaps import Heatmaps
from pipeline.motion.flow import Dis
from pipeline.sprites.files import FPS
from pipeline.sprites.motions import move
from pipeline.sprites.render import render
from pipeline.sprites.world import World, draw_scene
from pipeline.video.decoders import Request, decode_with_pyav
from pipeline.video.geometry import ClipShape
from pipeline.video.sampling import Span

SIZES = ((256, 256), (320, 512))
SPEEDS = (2, 4, 8, 12, 16)
WITHIN = (4, 8, 12)  # the speeds that the goal is about
STEPS = 8  # few enough for a sprite at 16 pixels a frame to stay inside
LEVELS = (5, 10, 20, 40)  # thresholds of the RGB difference, of 256
Estimate = Callable[[np.ndarray, float], np.ndarray]
"""From decoded frames ``[t h w 3]`` and the speed to the moving pixels ``[t-1 h w]``."""


def through_h264(frames: np.ndarray) -> np.ndarray:
    """The frames as they come back from a video file."""
    out = np.empty_like(frames)
    count, height, width, _ = frames.shape
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        path.write_bytes(encode_video(frames, FPS, crf=16))  # as `motif sprites` writes them
        request = Request(path, Span(0, 1), count, FPS, False, 0, 1.0, height, width)
        decode_with_pyav(request, out)
    return out


def make_clips(size: tuple[int, int], speed: float, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Clips of one sprite that moves ``speed`` pixels a frame: decoded frames and the true moving pixels."""
    world = World(*size, frames=STEPS + 1)
    clips = []
    for number in range(count):
        rng = np.random.default_rng([number, *size, int(speed)])
        scene = draw_scene(world, rng)
        frames, flow = render(world, scene, move(scene, world.frames, rng, speed=speed / min(size)))
        clips.append((through_h264(frames), np.linalg.norm(flow, axis=-1) > speed / 2))
    return clips


def both_ways(frames: np.ndarray, speed: float) -> np.ndarray:
    """What forward and backward flow agree on."""
    flow = Dis().load(torch.device("cpu"))
    clip = torch.from_numpy(frames)[None]
    agreed = agreed_intensity(flow(clip), flow(clip.flip(1)).flip(1))
    return (agreed[0] > speed / 2).numpy()


def forward(frames: np.ndarray, speed: float) -> np.ndarray:
    """Forward flow alone."""
    flow = Dis().load(torch.device("cpu"))
    return (intensity(flow(torch.from_numpy(frames)[None]))[0] > speed / 2).numpy()


def rgb_difference(level: int) -> Estimate:
    """Pixels whose colour changes by more than ``level`` in the mean of the three channels."""

    def estimate(frames: np.ndarray, speed: float) -> np.ndarray:
        change = np.abs(np.diff(frames.astype(np.int16), axis=0)).mean(axis=-1)
        return np.asarray(change > level)

    return estimate


def overlap(estimate: Estimate, clips: list[tuple[np.ndarray, np.ndarray]], speed: float) -> float:
    """Mean intersection over union of the estimated and the true moving area."""
    found = []
    for frames, true in clips:
        moving = estimate(frames, speed)
        found.append((moving & true).sum() / (moving | true).sum())
    return float(np.mean(found))


def same_in_a_batch(size: tuple[int, int], count: int) -> bool:
    """Whether every column of every clip is the same bytes computed alone and in a batch of all."""
    clips = [frames for speed in SPEEDS for frames, _ in make_clips(size, speed, 1)][:count]
    batch = ClipBatch(np.stack(clips), np.arange(len(clips)) % 2 == 0)
    feature = Heatmaps(flow=Dis(), both_ways=True)
    compute = feature.load(ClipShape(STEPS, *size), torch.device("cpu"))
    together = compute(batch)
    for i in range(len(clips)):
        alone = compute(ClipBatch(batch.frames[i : i + 1], batch.has_next[i : i + 1]))
        if any(values[0].tobytes() != together[name][i].tobytes() for name, values in alone.items()):
            return False
    return True


def main() -> None:
    """Measure and report."""
    parser = arguments(__doc__)
    parser.add_argument("--clips", type=int, default=8, help="clips of each size and speed")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    figures: dict[str, object] = {"clips": options.clips, "steps": STEPS}
    goals: dict[str, bool] = {}
    for size in SIZES:
        name = f"{size[0]}x{size[1]}"
        table: dict[str, dict[str, float]] = {}
        for speed in SPEEDS:
            clips = make_clips(size, speed, options.clips)
            row = {"both_ways": overlap(both_ways, clips, speed), "forward": overlap(forward, clips, speed)}
            row["rgb_difference"] = max(overlap(rgb_difference(level), clips, speed) for level in LEVELS)
            table[str(speed)] = {key: round(value, 3) for key, value in row.items()}
            print(name, speed, table[str(speed)], flush=True)
        figures[name] = table
        goals[f">= 0.8 at 4 to 12 pixels a frame, {name}"] = all(table[str(s)]["both_ways"] >= 0.8 for s in WITHIN)
    goals["the same bytes alone and in a batch"] = all(same_in_a_batch(size, 5) for size in SIZES)
    report("heatmap", figures, goals)


if __name__ == "__main__":
    main()
