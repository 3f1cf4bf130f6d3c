import math

import numpy as np
import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from base.errors import InputError
from dataset.heatmap.heatmap import cell_heatmap, latent_heatmap, sigmoid_heatmap, stored_heatmap
from dataset.heatmap.intensity import agreed_intensity, hold_last, intensity, pool, pool_max
from dataset.heatmap.normalisation import CONVENTIONS, Normalisation


def test_the_papers_sigmoid() -> None:
    x = torch.tensor([0.0, 0.04, 0.05, 0.06, 1.0]).view(1, 1, 1, 5)
    m = sigmoid_heatmap(Normalisation("pixels", 1.0), x, 320, 512).flatten()
    expected = [1 / (1 + math.exp(100 * (0.05 - value))) for value in (0.0, 0.04, 0.05, 0.06, 1.0)]
    torch.testing.assert_close(m, torch.tensor(expected))


def test_the_default_has_its_centre_at_4_5_pixels_of_320_x_512() -> None:
    normalisation = Normalisation()
    assert 0.05 * normalisation.scale(320, 512) == pytest.approx(4.53, abs=0.01)
    m = sigmoid_heatmap(normalisation, torch.tensor([1.0, 4.528, 9.0, 500.0]).view(1, 1, 1, 4), 320, 512).flatten()
    assert m[0] < 0.03
    assert m[1] == pytest.approx(0.5, abs=0.01)
    assert m[2] > 0.99
    assert m[3] == 1


@pytest.mark.parametrize("name", list(CONVENTIONS))
def test_conventions_are_free_of_resolution(name: str) -> None:
    """Twice the size and twice the flow give the same map, except in pixels."""
    values = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 30
    values[0, 0, 0, 0] = 0.4  # below the pixel at which that convention is full
    small = sigmoid_heatmap(CONVENTIONS[name], values, 160, 256)
    large = sigmoid_heatmap(CONVENTIONS[name], values * 2, 320, 512)
    assert torch.allclose(small, large, atol=1e-5) == (name != "pixels")


def test_units() -> None:
    assert CONVENTIONS["width"].scale(320, 512) == 512
    assert CONVENTIONS["short_side"].scale(320, 512) == 320
    assert CONVENTIONS["diagonal"].scale(320, 512) == pytest.approx(603.8, abs=0.1)


def test_clip_max_has_a_floor() -> None:
    normalisation = CONVENTIONS["clip_max"]
    still = torch.full((1, 2, 4, 4), 0.01)
    assert sigmoid_heatmap(normalisation, still, 64, 64).max() < 0.1
    moving = torch.cat([still, torch.full((1, 2, 4, 4), 10.0)], dim=2)
    assert sigmoid_heatmap(normalisation, moving, 64, 64)[:, :, 4:].min() > 0.99


def test_intensity_is_the_length_of_the_flow() -> None:
    flow = torch.zeros(1, 1, 2, 2, 2)
    flow[0, 0, :, 0, 1] = torch.tensor([3.0, -4.0])
    assert intensity(flow).flatten().tolist() == [0, 5, 0, 0]


def test_both_ways_forgets_motion_that_runs_over_the_background() -> None:
    """An object on columns 2 to 3 moves right by 2; forward flow also claims the background it will hide (4 to 5)."""
    forth, back = torch.zeros(1, 1, 2, 3, 8), torch.zeros(1, 1, 2, 3, 8)
    forth[0, 0, 0, :, 2:6] = 2.0
    back[0, 0, 0, :, 4:6] = -2.0  # looked at from the next frame: the object, now on columns 4 to 5
    assert agreed_intensity(forth, back)[0, 0, 1].tolist() == [0, 0, 2, 2, 0, 0, 0, 0]


def test_pool_is_the_area_mean() -> None:
    values = torch.arange(16.0).view(1, 1, 4, 4)
    assert pool(values, 2).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]


def test_the_last_frame_has_its_own_step_only_where_the_video_goes_on() -> None:
    steps = torch.arange(4.0).view(1, 4, 1, 1).repeat(2, 1, 1, 1)
    maps = hold_last(steps, 4, torch.tensor([True, False]))
    assert maps[0].flatten().tolist() == [0, 1, 2, 3]
    assert maps[1].flatten().tolist() == [0, 1, 2, 2]
    missing = hold_last(steps[:, :3], 4, torch.tensor([True, True]))
    assert missing[0].flatten().tolist() == [0, 1, 2, 2]


@pytest.mark.parametrize(
    ("fields", "said"),
    [({"fraction": 0.0}, "fraction 0.0"), ({"slope": -1.0}, "slope"), ({"centre": 2.0}, "centre 2.0")],
)
def test_wrong_settings(fields: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Normalisation(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", list(CONVENTIONS))
@pytest.mark.parametrize("case", ["even", "ramp", "part"])
def test_cells_of_known_content_are_normalised_exactly_from_their_mean_and_maximum(name: str, case: str) -> None:
    """One value, all values from 0 to the greatest, or from some value to the greatest: as assumed of a cell."""
    low, high = {"even": (6.0, 6.0), "ramp": (0.0, 12.0), "part": (4.0, 7.0)}[case]
    pixels = torch.linspace(low, high, 64 * 64).view(1, 1, 64, 64)
    normalisation = CONVENTIONS[name]
    exact = pool(sigmoid_heatmap(normalisation, pixels, 320, 512), 64)
    found = cell_heatmap(normalisation, pool(pixels, 64), pool_max(pixels, 64), 320, 512)
    torch.testing.assert_close(found, exact, atol=2e-3, rtol=0)


@pytest.mark.parametrize("name", list(CONVENTIONS))
def test_stored_cells_against_the_flow_of_every_pixel(name: str) -> None:
    """Objects with soft edges over a background that moves a little; for the default better than a mean alone."""
    rows, columns = torch.meshgrid(torch.arange(160.0), torch.arange(256.0), indexing="ij")
    disc = torch.sigmoid((40 - torch.hypot(rows - 80, columns - 120)) / 2)
    pixels = torch.stack([speed * disc + 0.01 * columns for speed in (3.0, 8.0, 20.0)])[None]
    normalisation = CONVENTIONS[name]
    exact = pool(sigmoid_heatmap(normalisation, pixels, 160, 256), 8)
    mean, greatest = (values.half().numpy() for values in (pool(pixels, 8), pool_max(pixels, 8)))
    error = (stored_heatmap(normalisation, mean, greatest, 160, 256) - exact).abs()
    before = (stored_heatmap(normalisation, mean, None, 160, 256) - exact).abs()
    assert error.mean() < 0.01
    if name == "0.15 diagonal":
        assert error.mean() < 0.75 * before.mean()


def test_a_latents_heatmap_is_the_sigmoid_of_its_frames_motion_in_an_eighth_of_a_second() -> None:
    """At 24 fps four frames take a sixth of a second: their sum counts three quarters."""
    mean = np.random.default_rng(0).uniform(0, 2, (2, 9, 3, 4)).astype(np.float32)
    found = latent_heatmap(Normalisation(), mean, None, (256, 256), 4, np.array([24.0, 12.0]))
    assert found.shape == (2, 3, 3, 4)
    assert not found[:, 0].any()
    for clip, share in ((0, 3 / 4), (1, 3 / 8)):
        for latent in (1, 2):
            total = sum(mean[clip, 4 * (latent - 1) + n] for n in range(1, 5)) * share
            expected = 1 / (1 + np.exp(100 * (0.05 - total / (0.15 * math.hypot(256, 256)))))
            np.testing.assert_allclose(found[clip, latent].numpy(), expected, rtol=1e-4)


def test_neither_rate_nor_stride_changes_the_heatmap_of_an_even_motion() -> None:
    """It is that of 8 frames a second; a clip of frame 0 alone has none."""
    speed = np.random.default_rng(1).uniform(0, 60, (1, 1, 4, 4)).astype(np.float32)  # pixels a second
    greatest = 1.5 * speed
    expected = stored_heatmap(Normalisation(), speed / 8, greatest / 8, 64, 64)
    for stride, fps in ((1, 8.0), (4, 24.0), (4, 16.0), (8, 30.0)):
        cells = [np.repeat(value / fps, 2 * stride + 1, axis=1) for value in (speed, greatest)]
        found = latent_heatmap(Normalisation(), cells[0], cells[1], (64, 64), stride, np.array([fps]))
        torch.testing.assert_close(found[:, 1:], expected.expand(1, 2, 4, 4), rtol=1e-4, atol=1e-6)
    assert not latent_heatmap(Normalisation(), speed, None, (64, 64), 4, np.array([8.0])).any()


def test_frames_that_latents_do_not_divide() -> None:
    with pytest.raises(InputError, match="heatmaps of 8 frames: latents of 4 frames"):
        latent_heatmap(Normalisation(), np.zeros((1, 8, 2, 2), np.float32), None, (64, 64), 4, np.array([8.0]))


@pytest.mark.parametrize("fps", [16, 24])
@pytest.mark.parametrize("speed", [20, 30, 40, 60, 80, 100])
def test_as_much_is_lit_as_at_8_frames_a_second(fps: int, speed: int) -> None:
    """Of 256 x 256 pixels in cells of 16, on which a square moves. The reference has the sigmoid of each pixel."""

    def moving(rate: int) -> Float[Tensor, "1 t 256 256"]:
        """Intensity in pixels a frame, for two seconds and frame 0."""
        maps = torch.zeros(1, 2 * rate + 1, 256, 256)
        for frame in range(2 * rate + 1):
            left, top = (round(20 + speed * frame / rate * along) for along in (0.8, 0.6))
            maps[0, frame, top : top + 44, left : left + 44] = speed / rate
        return maps

    reference = pool(sigmoid_heatmap(Normalisation(), moving(8), 256, 256), 16)[:, 1:] > 0.5
    cells = [pooled(moving(fps), 16).numpy() for pooled in (pool, pool_max)]
    found = latent_heatmap(Normalisation(), cells[0], cells[1], (256, 256), 4, np.array([float(fps)]))[:, 1:] > 0.5
    share, expected = float(found.float().mean()), float(reference.float().mean())
    assert (speed > 20) == (expected > 0)
    assert expected / 1.5 <= share <= 1.5 * expected
