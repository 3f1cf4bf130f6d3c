import numpy as np
import pytest
import torch

from dataset.heatmap.intensity import agreed_intensity, intensity
from pipeline.motion.flow import Dis
from pipeline.sprites.motions import move
from pipeline.sprites.render import render
from pipeline.sprites.world import World, draw_scene


def clip(seed: int, speed: float, size: int = 256) -> tuple[torch.Tensor, np.ndarray]:
    world = World(size, size, 4)
    rng = np.random.default_rng(seed)
    scene = draw_scene(world, rng)
    frames, flow = render(world, scene, move(scene, 4, rng, speed=speed / size))
    return torch.from_numpy(frames)[None], flow


def test_dis_finds_where_and_how_fast() -> None:
    frames, truth = clip(0, 6.0)
    flow = Dis().load(torch.device("cpu"))(frames)
    assert flow.shape == (1, 3, 2, 256, 256)
    moving = torch.from_numpy(np.hypot(truth[..., 0], truth[..., 1]) > 0)
    found = flow[0].permute(0, 2, 3, 1)[moving]
    torch.testing.assert_close(
        found.median(0).values, torch.from_numpy(truth)[moving].median(0).values, atol=0.5, rtol=0
    )
    assert flow[0].permute(0, 2, 3, 1)[~moving].abs().median() < 0.05


def test_both_ways_fits_the_moving_area_better() -> None:
    overlaps = {"forward": [], "both": []}
    for seed in range(4):
        frames, truth = clip(seed, 8.0)
        flow = Dis().load(torch.device("cpu"))
        forth, back = flow(frames), flow(frames.flip(1)).flip(1)
        moving = np.hypot(truth[..., 0], truth[..., 1]) > 4
        for name, found in (("forward", intensity(forth)), ("both", agreed_intensity(forth, back))):
            guess = found[0].numpy() > 4
            overlaps[name].append((guess & moving).sum() / (guess | moving).sum())
    assert np.mean(overlaps["both"]) > 0.8 > np.mean(overlaps["forward"])


@pytest.mark.parametrize("preset", ["ultrafast", "fast", "medium"])
def test_a_clip_alone_and_among_others_has_the_same_flow(preset: str) -> None:
    frames = torch.cat([clip(seed, 5.0, 128)[0] for seed in range(3)])
    flow = Dis(preset).load(torch.device("cpu"))  # type: ignore[arg-type]
    together = flow(frames)
    for row in range(3):
        assert torch.equal(flow(frames[row : row + 1])[0], together[row])
