"""What a run keeps in memory: the driver's and the object store's peak over ten times the clips.

    python -m benchmarks.memory [--clips 200 2000] [--save]

A whole run (plan, probe, graph, text, settlement) of the sprites recipe over 256 x 256 clips, 3.3 MB of pixels each.
Two hundred of them are more than the graph may have in flight, so a peak that still grows is a leak and not a store
that fills up. Clips are distinct: each row of the manifest names seventeen frames of its own, forty rows a video. DIS
flow runs at its fastest preset, forward only, to be done in minutes.

Each size runs in a process of its own. The driver's peak is the kernel's (VmHWM); since imports and Ray make most of
it, what the run itself adds to it is told too. The object store's use comes from the raylet, twenty times a second.
"""

import csv
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from base.storage.folder import Folder
from benchmarks.processes import fresh, peak_megabytes
from benchmarks.report import arguments, report
from benchmarks.store import watched_store
from media.video_file import encode_video
from pipeline.featurizers.heatmaps import Heatmaps
from pipeline.motion.flow import Dis
from pipeline.recipes import sprites
from pipeline.run.job import Job
from pipeline.run.run import Run
from pipeline.sprites.files import FPS
from pipeline.sprites.motions import move
from pipeline.sprites.render import render
from pipeline.sprites.world import World, draw_scene
from pipeline.stages.decode import clip_bytes

CLIPS_A_VIDEO = 40
CORES = 2
RECIPE = sprites()
FAST = replace(RECIPE, features=RECIPE.features | {"heatmaps": Heatmaps(flow=Dis("ultrafast"), cell=16)})


def write_videos(folder: Path, clips: int) -> Path:
    """Videos of moving sprites and a manifest in which row k of a video is its frames k to k + 16."""
    frames_a_clip = RECIPE.sampling.frames + 1
    world = World(RECIPE.height, RECIPE.width, CLIPS_A_VIDEO + frames_a_clip - 1)
    manifest = folder / "manifest.csv"
    with manifest.open("w", newline="") as text:
        rows = csv.writer(text)
        rows.writerow(("video", "caption", "start", "end"))
        for number in range(clips // CLIPS_A_VIDEO):
            rng = np.random.default_rng(number)
            scene = draw_scene(world, rng)
            motion = move(scene, world.frames, rng)
            path = folder / f"{number:04d}.mp4"
            path.write_bytes(encode_video(render(world, scene, motion)[0], FPS))
            spans = ((first / FPS, (first + frames_a_clip) / FPS) for first in range(CLIPS_A_VIDEO))
            rows.writerows((path.name, motion.caption, start, end) for start, end in spans)
    return manifest


def one_run(manifest: Path, dataset: Path) -> dict[str, Any]:
    """The measured process: a run on a Ray of its own."""
    import ray

    ray.init(num_cpus=CORES, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    before = peak_megabytes()
    with watched_store() as store:
        account = Run(Job(FAST, str(manifest), Folder(str(dataset))), lambda line: None).execute()
    ray.shutdown()
    assert account.complete
    return {
        "written": account.written,
        "seconds": round(account.seconds),
        "driver_megabytes": round(peak_megabytes()),
        "driver_grown_megabytes": round(peak_megabytes() - before),
        "store_megabytes": round(store.used / 1e6),
        "spilled_megabytes": round(store.spilled / 1e6),
        "samples": store.samples,
    }


def measure(clips: int) -> dict[str, Any]:
    """One size, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        manifest = write_videos(Path(folder), clips)
        found = fresh("benchmarks.memory", "--only-run", manifest, Path(folder) / "dataset")
    print(f"{clips} clips: {found}", flush=True)
    assert found["written"] == clips, found
    return found


def main() -> None:
    """Measure and report."""
    parser = arguments(__doc__)
    parser.add_argument("--clips", type=int, nargs=2, default=(200, 2000), help=f"multiples of {CLIPS_A_VIDEO}")
    parser.add_argument("--only-run", type=Path, nargs=2, help="run this manifest into this dataset and stop")
    options = parser.parse_args()
    if options.only_run:
        print(json.dumps(one_run(*options.only_run)))
        return
    few, many = (measure(clips) for clips in options.clips)
    ratios = {name: many[f"{name}_megabytes"] / few[f"{name}_megabytes"] for name in ("driver", "store")}
    figures = {
        "pixels_megabytes_a_clip": round(clip_bytes(FAST.shape) / 1e6, 2),
        **{f"{clips}_clips": found for clips, found in zip(options.clips, (few, many), strict=True)},
        "ratios": {name: round(ratio, 2) for name, ratio in ratios.items()},
    }
    goals = {f"{name} <= 1.2x": ratio <= 1.2 for name, ratio in ratios.items()}
    goals["nothing spilled"] = few["spilled_megabytes"] == many["spilled_megabytes"] == 0
    report("memory", figures, goals)


if __name__ == "__main__":
    main()
