"""A stand-in for the dataset: the same counts and layout, with generated pictures of sprites."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import cv2
import numpy as np

from base.errors import InputError
from base.storage.folder import Folder
from evaluation.bench.names import Counts
from evaluation.study.prompts import read_table
from models.folder import new_folder
from pipeline.sprites.render import first_frame
from pipeline.sprites.world import COLOURS, DIRECTIONS, SHAPES, Scene, World, draw_scene

WORLD = World(192, 192, fewest=2, most=3, kinds=("moves",))
_NAME = re.compile(r"[\w-]+")
# How many images have how many prompts, as in TI2V-Bench.
_PROMPTS_OF_IMAGES = (6,) * 3 + (5,) * 8 + (4,) * 41 + (3,) * 26 + (2,) * 10


@dataclass(frozen=True)
class _Image:
    """An image to draw, and its prompts; ``shown`` is the sprite that they are about, "" for any."""

    image_id: str
    shown: str
    prompts: tuple[str, ...]


def write_stand_in(folder: Path, pairs: Path | None = None) -> int:
    """Write a new dataset folder; the same bytes each time. Returns the number of pairs.

    ``pairs`` is a CSV file with columns image_id and prompt_slug, such as the published ones; by default 320 pairs of
    the published counts are made up, whose prompts say what sprites do. InputError if the folder is in use.
    """
    images = list(_made_up() if pairs is None else _published(pairs))
    rows = [("image_path", "prompt")]
    with new_folder(folder) as temporary:
        pictures = Folder(str(temporary / "images"))
        for number, image in enumerate(images):
            scene = _scene(image.shown, np.random.default_rng(number))
            pictures.write(f"{image.image_id}.png", _png(first_frame(WORLD, scene)))
            rows += [(f"images/{image.image_id}.png", prompt) for prompt in image.prompts]
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(rows)
        Folder(str(temporary)).write("prompt.csv", text.getvalue().encode())
    return len(rows) - 1


def _published(path: Path) -> Iterator[_Image]:
    rows = read_table(path, "--pairs", ("image_id", "prompt_slug"), ("pair_id", "scene"))
    prompts: dict[str, list[str]] = {}
    for number, row in rows:
        image_id, slug = row["image_id"].strip(), row["prompt_slug"].strip()
        if not (_NAME.fullmatch(image_id) and _NAME.fullmatch(slug)):
            raise InputError(f"--pairs {path}: line {number}: image_id and prompt_slug are letters, digits, - and _.")
        prompts.setdefault(image_id, []).append(slug.replace("_", " "))
    if not rows:
        raise InputError(f"--pairs {path} has no pair. Give at least one.")
    yield from (_Image(image_id, "", tuple(found)) for image_id, found in prompts.items())


def _made_up() -> Iterator[_Image]:
    """Scenes are sprites, each in four images; a scene's prompts are directions, which its images take in turn."""
    wanted = Counts()
    looks = [f"{colour} {shape}" for shape in SHAPES for colour in COLOURS][: wanted.scenes]
    for number, look in enumerate(looks):
        pool = wanted.prompts // wanted.scenes + (number < wanted.prompts % wanted.scenes)
        prompts = cycle([f"the {look} moves {direction}" for direction in DIRECTIONS][:pool])
        for image, count in enumerate(_PROMPTS_OF_IMAGES[number :: wanted.scenes], 1):
            yield _Image(f"{look.replace(' ', '_')}{image}", look, tuple(islice(prompts, count)))


def _scene(shown: str, rng: np.random.Generator) -> Scene:
    """A scene with this sprite, of which no two have one colour."""
    while True:
        scene = draw_scene(WORLD, rng)
        colours = Counter(sprite.colour for sprite in scene.sprites)
        if max(colours.values()) == 1 and (not shown or shown in [sprite.name for sprite in scene.sprites]):
            return scene


def _png(frame: np.ndarray) -> bytes:
    _, data = cv2.imencode(".png", frame[..., ::-1])
    return data.tobytes()
