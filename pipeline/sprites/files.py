"""Write moving-sprites clips to a folder: mp4, captions, true flow, a manifest, and what happens in each clip."""

import csv
import io
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError

from base.errors import InputError
from base.storage.folder import Folder
from media.video_file import encode_video
from pipeline.sprites.motions import draw_motion
from pipeline.sprites.render import render
from pipeline.sprites.world import Motion, Scene, World, draw_scene

FPS = 8
_MOST_DRAWS = 1000  # attempts per scene to find another caption
COLUMNS = ("video", "caption", "scene", "kind", "movers", "direction", "speed", "flow")
TRUTH, WORLD = "truth.jsonl", "world.json"


@dataclass(frozen=True)
class Clip:
    """One clip of the world: its scene and motion."""

    number: int
    scene_number: int
    scene: Scene
    motion: Motion


def draw_clips(world: World, num: int, seed: int, prompts_per_scene: int = 2) -> Iterator[Clip]:
    """Draw clips of the world; scenes and motions only depend on (seed, scene number).

    Clips of a scene share their first frame and differ in their caption. A new shape that enters starts outside the
    frame. InputError if a scene has too few different captions.
    """
    for scene_number in range(math.ceil(num / prompts_per_scene)):
        rng = np.random.default_rng([seed, scene_number])
        stage = draw_scene(world, rng)
        seen: set[str] = set()
        wanted = min(prompts_per_scene, num - scene_number * prompts_per_scene)
        for _ in range(_MOST_DRAWS):
            if len(seen) == wanted:
                break
            scene, motion = draw_motion(world, stage, rng)
            if motion.caption not in seen:
                number = scene_number * prompts_per_scene + len(seen)
                seen.add(motion.caption)
                yield Clip(number, scene_number, scene, motion)
        if len(seen) < wanted:
            kinds = ", ".join(dict.fromkeys(world.kinds))
            raise InputError(
                f"prompts_per_scene {prompts_per_scene}: with the kinds {kinds} a scene has only {len(seen)} different "
                "captions; use fewer prompts, or more kinds."
            )


def write_sprites(out: Path, world: World, num: int, seed: int, prompts_per_scene: int = 2) -> Path:
    """Write ``num`` clips and return the path of the manifest, which is written last.

    The folder gets ``videos/000000.mp4`` (H.264, 8 frames per second) with ``000000.txt``, ``flow/000000.npz``
    (``flow`` [t - 1, h, w, 2], float16, pixels per frame, x before y), ``manifest.csv``, ``world.json`` and
    ``truth.jsonl``, a line per clip with its scene and motion, as :func:`read_truth` reads them.
    """
    videos, flows, root = (Folder(str(out / "videos")), Folder(str(out / "flow")), Folder(str(out)))
    rows, truth = [], []
    for clip in draw_clips(world, num, seed, prompts_per_scene):
        frames, flow = render(world, clip.scene, clip.motion)
        name = f"{clip.number:06d}"
        videos.write(f"{name}.mp4", encode_video(frames, FPS, crf=16))
        videos.write(f"{name}.txt", f"{clip.motion.caption}\n".encode())
        flows.write(f"{name}.npz", _npz(flow))
        movers = "; ".join(clip.scene.sprites[i].name for i in clip.motion.movers)
        motion = clip.motion
        said = (motion.caption, clip.scene_number, motion.kind, movers, motion.direction, motion.speed)
        rows.append((f"videos/{name}.mp4", *said, f"flow/{name}.npz"))
        truth.append(json.dumps(asdict(clip)))
    root.write(WORLD, json.dumps({"seed": seed, "num": num, "world": world.settings()}, indent=2).encode())
    root.write(TRUTH, "".join(f"{line}\n" for line in truth).encode())
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    root.write("manifest.csv", text.getvalue().encode())
    return out / "manifest.csv"


def read_truth(folder: Path) -> tuple[World, list[Clip]]:
    """The world and the clips of a folder of sprites. InputError if it was not written by :func:`write_sprites`."""
    try:
        world = TypeAdapter(World).validate_python(json.loads((folder / WORLD).read_text())["world"])
        adapter = TypeAdapter(Clip)
        clips = [adapter.validate_python(json.loads(line)) for line in (folder / TRUTH).read_text().splitlines()]
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        raise InputError(
            f"{folder}: its {WORLD} and {TRUTH} cannot be read ({type(error).__name__}), which say what happens in "
            "each clip. Give a folder written by `motif sprites`; one of an earlier version must be written anew."
        ) from error
    return world, clips


def _npz(flow: np.ndarray) -> bytes:
    sink = io.BytesIO()
    np.savez_compressed(sink, flow=flow.astype(np.float16))
    return sink.getvalue()
