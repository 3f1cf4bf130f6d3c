"""Small folders of videos of two models."""

from pathlib import Path

import numpy as np

from media.video_file import encode_video

NAMES = ("dog_runs", "dog_sits", "car_turns", "sea_storm")
PROMPTS = """name,prompt,image,scene
dog_runs,the dog runs,dog.png,dog
dog_sits,the dog sits,dog.png,dog
car_turns,the car turns,,street
sea_storm,"a storm, at sea",,sea
"""


def write_video(path: Path, seed: int, frames: int = 3, size: tuple[int, int] = (32, 48), fps: float = 8) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (frames, *size, 3), np.uint8)
    path.write_bytes(encode_video(pixels, fps, metadata={"model": f"secret-{path.parent.name}"}))


def write_models(folder: Path) -> tuple[Path, Path, Path]:
    """Two folders with a video of each name, and the file of their prompts."""
    for start, model in enumerate(("ours", "baseline")):
        (folder / model).mkdir()
        for number, name in enumerate(NAMES):
            write_video(folder / model / f"{name}.mp4", 10 * start + number)
    (folder / "dog.png").write_bytes(b"a picture")
    (folder / "prompts.csv").write_text(PROMPTS)
    return folder / "ours", folder / "baseline", folder / "prompts.csv"
