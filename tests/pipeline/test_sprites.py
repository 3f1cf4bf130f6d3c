import csv
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.sprites.files import draw_clips, write_sprites
from pipeline.sprites.render import render
from pipeline.sprites.world import DIRECTIONS, Scene, Sprite, World, draw_scene, move


def decode(path: Path) -> np.ndarray:
    with av.open(path) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_clips_are_a_function_of_the_seed() -> None:
    world = World(64, 64, 5)
    once, again, other = (list(draw_clips(world, 4, seed)) for seed in (3, 3, 4))
    assert once == again
    assert once != other


def test_clips_of_a_scene_share_the_first_frame_and_not_the_sentence() -> None:
    world = World(128, 128, 9)
    clips = list(draw_clips(world, 12, 1, prompts_per_scene=3))
    for scene in range(4):
        group = [clip for clip in clips if clip.scene_number == scene]
        firsts = [render(world, clip.scene, clip.motion)[0][0] for clip in group]
        assert all(np.array_equal(first, firsts[0]) for first in firsts)
        assert len({clip.motion.caption for clip in group}) == 3


def test_true_flow_is_the_displacement_of_what_is_seen() -> None:
    scene = Scene((1.0, 1.0), (Sprite("square", "red", (0.5, 0.5), 0.12, 5),), 9)
    motion = move(scene, 4, np.random.default_rng(0), speed=4 / 128)
    frames, flow = render(World(128, 128, 4), scene, motion)
    dy, dx = (4 * step for step in DIRECTIONS[motion.direction])
    moving = np.hypot(*np.moveaxis(flow[0], -1, 0)) > 0
    np.testing.assert_allclose(flow[0][moving], np.tile((dx, dy), (moving.sum(), 1)), atol=1e-4)
    # Following the flow from the first frame to the second finds the same colours.
    y, x = np.nonzero(moving)
    inside = (np.abs(y - 64) < 8) & (np.abs(x - 64) < 8)
    ahead = frames[1][np.round(y + dy).astype(int), np.round(x + dx).astype(int)]
    difference = np.abs(ahead.astype(int) - frames[0][y, x])[inside].mean()
    still = np.abs(frames[1][y, x].astype(int) - frames[0][y, x])[inside].mean()
    assert difference < 0.6 * still


def test_about_three_percent_of_the_frame_moves() -> None:
    world = World(256, 256, 3)
    shares = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        scene = draw_scene(world, rng)
        _, flow = render(world, scene, move(scene, 3, rng))
        shares.append((np.abs(flow[0]).sum(-1) > 0).mean())
    assert 0.02 < np.mean(shares) < 0.04


def test_files(tmp_path: Path) -> None:
    manifest = write_sprites(tmp_path / "a", World(96, 128, 6), 3, seed=2)
    rows = list(csv.DictReader(manifest.read_text().splitlines()))
    assert [row["video"] for row in rows] == [f"videos/{i:06d}.mp4" for i in range(3)]
    for row in rows:
        assert decode(tmp_path / "a" / row["video"]).shape == (6, 96, 128, 3)
        sidecar = (tmp_path / "a" / row["video"]).with_suffix(".txt")
        assert sidecar.read_text().strip() == row["caption"]
        assert np.load(tmp_path / "a" / row["flow"])["flow"].shape == (5, 96, 128, 2)
    write_sprites(tmp_path / "b", World(96, 128, 6), 3, seed=2)
    for path in (tmp_path / "a").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes(), path


def test_the_video_shows_the_frames(tmp_path: Path) -> None:
    world = World(128, 128, 4)
    clip = next(draw_clips(world, 1, 5))
    frames, _ = render(world, clip.scene, clip.motion)
    write_sprites(tmp_path, world, 1, seed=5)
    shown = decode(tmp_path / "videos" / "000000.mp4")
    assert np.abs(shown.astype(int) - frames).mean() < 6


@pytest.mark.parametrize("size", [(63, 64), (30, 64)])
def test_sizes_that_cannot_be_encoded(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="even and at least 64"):
        World(*size)
