import numpy as np
import pytest
import torch

from pipeline.motion.masks import MovingRegions

CPU = torch.device("cpu")


def clip(steps: list[int]) -> tuple[torch.Tensor, np.ndarray]:
    """A textured square that moves to the right by ``steps`` pixels, before a still scene; and where it is."""
    rng = np.random.default_rng(0)
    scene = np.kron(rng.integers(0, 256, (16, 20, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
    thing = np.kron(rng.integers(0, 256, (8, 8, 3), np.uint8), np.ones((4, 4, 1), np.uint8))
    lefts = 30 + np.cumsum([0, *steps])
    frames, inside = np.stack([scene] * len(lefts)), np.zeros((len(lefts), *scene.shape[:2]), bool)
    for frame, mask, left in zip(frames, inside, lefts, strict=True):
        frame[48:80, left : left + 32] = thing
        mask[48:80, left : left + 32] = True
    return torch.from_numpy(frames), inside


@pytest.mark.parametrize("steps", [[4, 4, 4, 4], [6, 6, 0, 0]])
def test_a_region_is_followed_and_stops_when_it_does(steps: list[int]) -> None:
    frames, inside = clip(steps)
    still, _ = clip([0] * len(steps))
    follow = MovingRegions().load(CPU)
    (mask,) = follow(frames[None], [np.array([[46, 64]])]).numpy()
    overlap = (mask & inside).sum(axis=(1, 2)) / (mask | inside).sum(axis=(1, 2))
    assert (overlap > 0.8).all()
    together = follow(torch.stack([still, frames]), [np.array([[2, 2]]), np.array([[46, 64], [50, 60]])])
    twice = together[1].numpy()  # a second prompt of the object, and in another batch
    assert (twice >= mask).all()
    assert (twice != mask).mean() < 1e-3
    np.testing.assert_array_equal(follow(frames[None], [np.array([[46, 64], [50, 60]])])[0], twice)


def test_several_objects_are_united() -> None:
    frames, inside = clip([4, 4])
    both = torch.cat([frames, frames.flip(2)], dim=1)  # below, the mirror image, which moves to the left
    width = frames.shape[2]
    (mask,) = MovingRegions().load(CPU)(both[None], [np.array([[46, 64], [width - 47, 128 + 64]])]).numpy()
    wanted = np.concatenate([inside, inside[:, :, ::-1]], axis=1)
    assert (mask & wanted).sum() / (mask | wanted).sum() > 0.8


def test_an_impossible_share() -> None:
    with pytest.raises(ValueError, match="apart 1: must be a share"):
        MovingRegions(apart=1)
