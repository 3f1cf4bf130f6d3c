"""The scorer on videos whose score is known, through H.264: ground truth, a still frame, a random direction."""

from functools import lru_cache

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evaluation.sprites.controls import GROUND_TRUTH, RANDOM, STATIC, control, turned
from evaluation.sprites.pairs import Pairs
from evaluation.sprites.score import VideoScore, score
from evaluation.sprites.summary import Scored, summarise
from evaluation.sprites.videos import decode
from evaluation.statistics.proportion import wilson
from pipeline.sprites.files import Clip, draw_clips
from pipeline.sprites.world import ALL_KINDS, World

WORLD = World(128, 128, fewest=2, most=4, kinds=ALL_KINDS, distractors=1, clear=True)
FRAMES, FPS = 8, 4.0


def score_of(name: str, clip: Clip, seed: int = 0, world: World = WORLD) -> VideoScore:
    video = decode(control(name, world, clip, FRAMES, FPS, seed).encoded())
    assert video.frames.shape == (FRAMES, world.height, world.width, 3)
    assert video.fps == FPS
    return score(video.frames, video.fps, clip)


@lru_cache(maxsize=64)
def clip_of(seed: int) -> Clip:
    return next(iter(draw_clips(WORLD, 1, seed, 1)))


def check_ground_truth(clip: Clip) -> None:
    found = score_of(GROUND_TRUTH, clip)
    assert found.object_right, clip
    assert found.direction_right, clip
    assert found.right
    assert found.error < 0.02, clip
    assert not found.leak, clip
    assert found.kept > 0.8, clip
    assert not found.static


def check_static(clip: Clip) -> None:
    found = score_of(STATIC, clip)
    assert not found.right
    assert not found.direction_right
    assert found.static, clip
    assert found.moved == ""
    assert not found.leak


@settings(max_examples=6, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6))
def test_ground_truth_is_right_and_a_still_frame_is_not(seed: int) -> None:
    check_ground_truth(clip_of(seed))
    check_static(clip_of(seed))


@pytest.mark.slow
@settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 10**6))
def test_ground_truth_is_right_and_a_still_frame_is_not_often(seed: int) -> None:
    check_ground_truth(clip_of(seed))
    check_static(clip_of(seed))


@pytest.mark.slow
@pytest.mark.parametrize("world", [WORLD, World(192, 256, frames=17, kinds=("moves", "moves", "swaps", "enters"))])
def test_a_random_direction_is_right_in_an_eighth_of_all(world: World) -> None:
    """Exactly those that are not turned; their share is an eighth within its interval."""
    clips = list(draw_clips(world, 160, 5, 2))
    found = [score_of(RANDOM, clip, 3, world) for clip in clips]
    right = sum(one.direction_right for one in found)
    assert wilson(right, len(found)).covers(0.125)
    summary = summarise([Scored(one) for one in found])
    assert summary.right.covers(0.125)


@pytest.mark.parametrize("kind", ALL_KINDS)
@pytest.mark.parametrize("turn", [1, 4])
def test_what_is_turned_is_in_the_wrong_direction(kind: str, turn: int) -> None:
    world = World(128, 128, kinds=(kind,), clear=True)  # type: ignore[arg-type]
    clip = next(iter(draw_clips(world, 1, 11, 1)))
    other = Clip(clip.number, clip.scene_number, clip.scene, turned(clip, turn))
    video = decode(control(GROUND_TRUTH, world, other, FRAMES, FPS, 0).encoded())
    assert not score(video.frames, video.fps, clip).direction_right
    assert turned(other, 8 - turn).offsets == pytest.approx(np.array(clip.motion.offsets))


def test_prompts_of_an_image_are_told_apart() -> None:
    """Ground truth is right for its own prompt and for none that excludes it."""
    clips = tuple(draw_clips(WORLD, 3, 2, 3))
    pairs = Pairs(WORLD, clips)
    for clip in clips:
        scored = pairs.score(clip, decode(control(GROUND_TRUTH, WORLD, clip, FRAMES, FPS, 0).encoded()))
        assert scored.score.right
        assert not any(scored.swapped)
