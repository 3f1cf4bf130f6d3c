"""The names of TI2V-Bench: a published video is called after its image, its prompt and its seed."""

import re
from dataclasses import dataclass

SCENES = (
    *("aerial_car", "balance", "balloon", "bird", "bulbs", "butterfly", "candle", "child", "dog", "ducky", "fish"),
    *("flower", "golf", "horse", "meadow", "person_face", "person_walking", "sun", "tide", "traffic_light", "tree"),
    "volcano",
)
_NOT_SAID = re.compile(r"[^\w\s]")
_VIDEO = re.compile(r"(?P<pair>.+)_(?P<seed>\d+)\.mp4", re.IGNORECASE)


@dataclass(frozen=True)
class Counts:
    """How many there are; by default as many as published."""

    pairs: int = 320
    images: int = 88
    prompts: int = 133
    scenes: int = 22


def slug(prompt: str) -> str:
    """A prompt as part of a file name: lower case, without punctuation, ``_`` for spaces."""
    return "_".join(_NOT_SAID.sub("", prompt.lower()).split())


def scene_of(image_id: str) -> str:
    """The scene of an image: the published one whose name its id begins with, or else its id without the number."""
    known = [scene for scene in SCENES if re.match(rf"{scene}(?![a-z])", image_id.lower())]
    return max(known, key=len, default=image_id.rstrip("0123456789").rstrip("_-") or image_id)


def split_video_name(file: str) -> tuple[str, int] | None:
    """The pair, in lower case, and the seed that a file's name says; None if it is no published name."""
    found = _VIDEO.fullmatch(file)
    return (found["pair"].lower(), int(found["seed"])) if found else None
