"""What each measure means, on videos that are painted by hand."""

from dataclasses import replace

import numpy as np
import pytest

from base.errors import InputError
from evaluation.sprites.score import direction, sampled, score
from evaluation.sprites.tracking import track
from pipeline.sprites.files import Clip
from pipeline.sprites.motions import straight
from pipeline.sprites.render import render
from pipeline.sprites.world import DIRECTIONS, Motion, Scene, Sprite, World

WORLD = World(128, 128, frames=17)
RED = Sprite("circle", "red", (0.3, 0.3), 0.1, 1)
BLUE = Sprite("square", "blue", (0.7, 0.6), 0.12, 2)
SCENE = Scene((1.0, 1.0), (RED, BLUE), 5)
STILL = ((0.0, 0.0),) * 17


def moves(way: str = "right", pace: float = 5 / 256) -> Motion:
    return Motion("moves", f"the red circle moves {way}", (0,), way, "", (straight(way, pace, 17), STILL))


def clip_of(motion: Motion, scene: Scene = SCENE) -> Clip:
    return Clip(0, 0, scene, motion)


def video_of(motion: Motion, scene: Scene = SCENE) -> np.ndarray:
    return render(WORLD, scene, motion)[0][::2]


ASKED = clip_of(moves())


def test_all_that_is_asked_for() -> None:
    found = score(video_of(moves()), 4, ASKED)
    assert (found.object_right, found.direction_right, found.leak, found.static) == (True, True, False, False)
    assert found.moved == "red circle"
    assert found.error < 0.01
    assert found.kept > 0.9


def test_displacement_is_measured_in_short_sides() -> None:
    tracks = track(video_of(moves("down")), SCENE)
    assert tracks.moves[0, -1] == pytest.approx((5 / 256 * 16, 0), abs=0.01)
    assert tracks.moves[1] == pytest.approx(np.zeros((9, 2)), abs=0.01)
    assert tracks.camera == pytest.approx(np.zeros((9, 2)), abs=0.01)


@pytest.mark.parametrize("way", DIRECTIONS)
def test_the_nearest_of_eight_directions(way: str) -> None:
    scene = replace(SCENE, sprites=(replace(RED, centre=(0.5, 0.5)),))
    motion = replace(moves(way, 3 / 256), offsets=(straight(way, 3 / 256, 17),))
    assert direction(track(video_of(motion, scene), scene), 0) == way


def test_half_as_far_is_right_but_has_an_error() -> None:
    found = score(video_of(moves(pace=2.5 / 256)), 4, ASKED)
    assert found.right
    # Over the last third, frames 12, 14 and 16 of the world, it is on average 14 times 2.5/256 short.
    assert found.error == pytest.approx(14 * 2.5 / 256, abs=0.01)


def test_the_wrong_object() -> None:
    wrong = replace(moves(), movers=(1,), offsets=(STILL, straight("left", 5 / 256, 17)))
    found = score(video_of(wrong), 4, ASKED)
    assert (found.object_right, found.direction_right, found.leak) == (False, False, True)
    assert found.moved == "blue square"
    assert found.error == pytest.approx(14 * 5 / 256, abs=0.01)


def test_another_object_moves_too() -> None:
    """Less far: the right one moved most, but something leaks. Farther: it is not the right one."""
    for pace, right in ((3 / 256, True), (7 / 256, False)):
        both = replace(moves(), offsets=(straight("right", 5 / 256, 17), straight("left", pace, 17)))
        found = score(video_of(both), 4, ASKED)
        assert (found.object_right, found.direction_right, found.leak) == (right, True, True)


def test_what_vanishes_has_not_moved_and_is_not_kept() -> None:
    gone = render(WORLD, SCENE, replace(moves(), offsets=(STILL, STILL)))[0][::2].copy()
    empty = render(WORLD, replace(SCENE, sprites=(BLUE,)), replace(moves(), offsets=(STILL,)))[0][::2]
    gone[2:] = empty[2:]
    found = score(gone, 4, ASKED)
    assert not found.right
    assert found.kept < 0.4
    assert found.error == pytest.approx(14 * 5 / 256, abs=0.01)
    other = clip_of(replace(moves(), movers=(1,), offsets=(STILL, straight("left", 5 / 256, 17))))
    assert score(gone, 4, other).leak


def test_a_changed_background_is_a_leak() -> None:
    frames = video_of(moves()).copy()
    frames[1:, 90:120, 10:50] = 255
    found = score(frames, 4, ASKED)
    assert found.right
    assert found.leak
    assert 0.05 < found.background < 0.12


def test_a_background_of_noise_is_no_motion_of_the_camera() -> None:
    """As in videos of models that are trained little: every cell of the background flickers, shapes stand still."""
    frames = video_of(replace(moves(), offsets=(STILL, STILL))).astype(int)
    cells = np.random.default_rng(0).normal(0, 40, (len(frames), 8, 8, 3)).repeat(16, 1).repeat(16, 2)
    noisy = np.clip(frames + cells, 0, 255).astype(np.uint8)
    found = track(noisy, SCENE)
    assert found.camera == pytest.approx(np.zeros((9, 2)), abs=0.03)
    assert score(noisy, 4, ASKED).leak


def test_a_pan_is_not_a_motion_of_objects_nor_a_changed_background() -> None:
    pan = Motion("pans", "the camera pans left", (), "left", "", (STILL, STILL), straight("left", 4 / 256, 17))
    found = score(video_of(pan), 4, clip_of(pan))
    assert (found.right, found.leak, found.moved) == (True, False, "camera")
    found = score(video_of(pan), 4, ASKED)
    assert (found.object_right, found.leak, found.static) == (False, True, False)


def test_a_path_is_taken_at_the_times_of_the_frames_and_held() -> None:
    path = straight("right", 0.01, 9)
    assert sampled(path, 4, 3)[:, 1] == pytest.approx([0, 0.02, 0.04])
    assert sampled(path, 16, 3)[:, 1] == pytest.approx([0, 0.005, 0.01])
    assert sampled(path, 1, 3)[:, 1] == pytest.approx([0, 0.08, 0.08])


def test_a_video_of_another_size_is_scored_alike() -> None:
    larger = render(World(256, 256), SCENE, moves())[0][::2]
    assert score(larger, 4, ASKED, size=(128, 128)).right


def test_another_aspect_is_refused() -> None:
    with pytest.raises(InputError, match="video of 96 x 128: its scene is 1 high and 1 wide"):
        score(np.zeros((3, 96, 128, 3), np.uint8), 4, ASKED)
