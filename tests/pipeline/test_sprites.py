import csv
import hashlib
import itertools
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from base.errors import InputError
from pipeline.sprites.files import Clip, draw_clips, read_truth, write_sprites
from pipeline.sprites.motions import draw_motion, move
from pipeline.sprites.render import first_frame, render
from pipeline.sprites.world import ALL_KINDS, DIRECTIONS, PAN, MotionKind, Scene, Sprite, World, draw_scene


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


def clips_of(num: int, **settings: Any) -> list[Clip]:
    return list(draw_clips(World(**settings), num, seed=4, prompts_per_scene=2))


def test_clips_of_earlier_versions_are_drawn_again() -> None:
    """What was drawn before there were distractors, clear paths and a camera; the numbers come from that version."""
    facts = [
        (clip.motion.caption, clip.motion.offsets, clip.motion.movers, clip.scene)
        for clip in draw_clips(World(), 40, 3)
    ]
    assert (
        hashlib.sha256(repr(facts).encode()).hexdigest()
        == "3bc23b29a63702ed270c9c71a73ed89b824e1ecc872bf6b0329deb3fc37e4ded"
    )


def test_settings_of_earlier_versions_are_written_as_they_were() -> None:
    assert list(World().settings()) == ["height", "width", "frames", "fewest", "most", "kinds"]
    assert World(distractors=1).settings()["distractors"] == 1


@pytest.mark.parametrize("kind", ["pans", "moves_and_pans"])
def test_a_camera_moves_all_of_the_picture(kind: MotionKind) -> None:
    world = World(128, 128, frames=5, kinds=(kind,))
    clip = next(draw_clips(world, 1, 8))
    frames, flow = render(world, clip.scene, clip.motion)
    dy, dx = (PAN * 128 * step for step in DIRECTIONS[clip.motion.caption.rpartition("pans ")[2]])
    assert np.array_equal(frames[0], first_frame(world, clip.scene))
    background = np.median(flow.reshape(4, -1, 2), axis=1)
    assert background == pytest.approx(np.tile((-dx, -dy), (4, 1)), abs=1e-4)
    # Following the flow of the whole picture finds the same colours.
    y, x = np.mgrid[40:88, 40:88]
    ahead = frames[1][
        np.round(y + flow[0, 40:88, 40:88, 1]).astype(int), np.round(x + flow[0, 40:88, 40:88, 0]).astype(int)
    ]
    moved = np.abs(ahead.astype(int) - frames[0][40:88, 40:88]).mean()
    still = np.abs(frames[1][40:88, 40:88].astype(int) - frames[0][40:88, 40:88]).mean()
    assert moved < 0.6 * still


def test_clips_of_a_scene_share_the_first_frame_in_all_kinds() -> None:
    world = World(96, 96, frames=9, kinds=ALL_KINDS)
    for number in range(3):
        group = [clip for clip in draw_clips(world, 12, 1, 4) if clip.scene_number == number]
        firsts = [render(world, clip.scene, clip.motion)[0][0] for clip in group]
        assert all(np.array_equal(first, firsts[0]) for first in firsts)


def test_distractors_share_the_colour_or_the_shape() -> None:
    for clip in clips_of(30, fewest=3, most=4, distractors=2, kinds=("moves",)):
        first, *others = clip.scene.sprites
        for other in others[:2]:
            assert (other.shape == first.shape) != (other.colour == first.colour)
        assert len({sprite.name for sprite in clip.scene.sprites}) == len(clip.scene.sprites)


def test_what_moves_on_a_clear_path_touches_nothing() -> None:
    crossed = 0
    for clear in (True, False):
        for clip in clips_of(60, clear=clear, kinds=("moves", "enters", "swaps")):
            movers, sprites = clip.motion.movers, clip.scene.sprites
            for mover, other in itertools.product(movers, set(range(len(sprites))) - set(movers)):
                ways = np.array(sprites[mover].centre) + clip.motion.offsets[mover] - np.array(sprites[other].centre)
                near = np.linalg.norm(ways, axis=-1).min() < sprites[mover].reach + sprites[other].reach
                assert not (clear and near)
                crossed += near
    assert crossed > 0


def test_a_scene_too_crowded_for_a_clear_path_is_an_error() -> None:
    centres = [(0.25, 0.25), (0.25, 0.75), (0.75, 0.25), (0.75, 0.75)]
    full = Scene((1.0, 1.0), tuple(Sprite("square", "red", centre, 0.245, 1) for centre in centres), 9)
    with pytest.raises(InputError, match="clear: a scene of 4 shapes has no way free"):
        draw_motion(World(kinds=("swaps",), clear=True), full, np.random.default_rng(0))


def test_shapes_cover_the_share_that_is_asked_for() -> None:
    for share in (0.01, 0.04):
        scene = Scene((1.0, 1.0), (), 0)
        areas = []
        for seed in range(10):
            rng = np.random.default_rng(seed)
            world = World(128, 128, frames=2, fewest=1, most=1, share=share)
            scene = draw_scene(world, rng)
            _, flow = render(world, scene, move(scene, 2, rng))
            areas.append((np.abs(flow[0]).sum(-1) > 0).mean())
        assert np.mean(areas) == pytest.approx(share, rel=0.15)


def test_the_truth_beside_the_videos(tmp_path: Path) -> None:
    world = World(96, 96, 5, kinds=ALL_KINDS, distractors=1, clear=True)
    write_sprites(tmp_path, world, 6, seed=3, prompts_per_scene=3)
    assert read_truth(tmp_path) == (world, list(draw_clips(world, 6, 3, 3)))
    (tmp_path / "truth.jsonl").unlink()
    with pytest.raises(InputError, match=r"its world.json and truth.jsonl cannot be read"):
        read_truth(tmp_path)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"distractors": 2}, "distractors 2"),
        ({"share": 0.5}, "share 0.5: must be"),
        ({"share": 0.05}, "share 0.05 of 4 shapes: no room for them; use at most 0.045"),
    ],
)
def test_settings_out_of_range(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        World(**settings)
