"""Frames in which a textured square moves, with true flow, and folders of such videos."""

from pathlib import Path

import numpy as np
from PIL import Image

from media.video_file import encode_video

SIDE = 128


def texture(side: int, seed: int) -> np.ndarray:
    """Soft spots, which flow can follow."""
    coarse = np.random.default_rng(seed).integers(0, 256, (side // 8, side // 8, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC), np.uint8)


def moving_square(steps: int, pixels: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Frames, and the pixels that the square covers in all of them, less its edges."""
    background, square = texture(SIDE, 2 * seed), texture(64, 2 * seed + 1)
    frames = np.repeat(background[None], steps + 1, axis=0)
    for step in range(steps + 1):
        frames[step, 32:96, 8 + step * pixels : 72 + step * pixels] = square
    mask = np.zeros((SIDE, SIDE), bool)
    mask[40:88, 16 + steps * pixels : 64] = True
    return frames, mask


def write_video(path: Path, frames: np.ndarray, fps: float = 8) -> None:
    path.write_bytes(encode_video(frames, fps, crf=8))


def write_videos(folder: Path, count: int = 3, steps: int = 4) -> tuple[Path, Path]:
    """A folder of videos, of which the last one is still, their first frames, and the file of their prompts."""
    (folder / "videos").mkdir(parents=True)
    lines = ["name,prompt,image,scene"]
    for number in range(count):
        frames, _ = moving_square(steps, 0 if number == count - 1 else 8, seed=number)
        write_video(folder / "videos" / f"v{number}.mp4", frames)
        Image.fromarray(frames[0]).save(folder / f"v{number}.png")
        lines.append(f"v{number},the square moves {number},v{number}.png,scene{min(number, 1)}")
    (folder / "prompts.csv").write_text("\n".join(lines) + "\n")
    return folder / "videos", folder / "prompts.csv"
