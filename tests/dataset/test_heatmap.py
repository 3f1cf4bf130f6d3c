import math

import pytest
import torch

from dataset.heatmap import (
    CONVENTIONS,
    Normalisation,
    agreed_intensity,
    hold_last,
    intensity,
    pool,
    pool_max,
    stored_heatmap,
)


def test_the_papers_sigmoid() -> None:
    x = torch.tensor([0.0, 0.04, 0.05, 0.06, 1.0]).view(1, 1, 1, 5)
    m = Normalisation("pixels", 1.0).heatmap(x, 320, 512).flatten()
    expected = [1 / (1 + math.exp(100 * (0.05 - value))) for value in (0.0, 0.04, 0.05, 0.06, 1.0)]
    torch.testing.assert_close(m, torch.tensor(expected))


def test_the_default_has_its_centre_at_4_5_pixels_of_320_x_512() -> None:
    normalisation = Normalisation()
    assert 0.05 * normalisation.scale(320, 512) == pytest.approx(4.53, abs=0.01)
    m = normalisation.heatmap(torch.tensor([1.0, 4.528, 9.0, 500.0]).view(1, 1, 1, 4), 320, 512).flatten()
    assert m[0] < 0.03
    assert m[1] == pytest.approx(0.5, abs=0.01)
    assert m[2] > 0.99
    assert m[3] == 1


@pytest.mark.parametrize("name", list(CONVENTIONS))
def test_conventions_are_free_of_resolution(name: str) -> None:
    """Twice the size and twice the flow give the same map, except in pixels."""
    values = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 30
    values[0, 0, 0, 0] = 0.4  # below the pixel at which that convention is full
    small = CONVENTIONS[name].heatmap(values, 160, 256)
    large = CONVENTIONS[name].heatmap(values * 2, 320, 512)
    assert torch.allclose(small, large, atol=1e-5) == (name != "pixels")


def test_units() -> None:
    assert CONVENTIONS["width"].scale(320, 512) == 512
    assert CONVENTIONS["short_side"].scale(320, 512) == 320
    assert CONVENTIONS["diagonal"].scale(320, 512) == pytest.approx(603.8, abs=0.1)


def test_clip_max_has_a_floor() -> None:
    normalisation = CONVENTIONS["clip_max"]
    still = torch.full((1, 2, 4, 4), 0.01)
    assert normalisation.heatmap(still, 64, 64).max() < 0.1
    moving = torch.cat([still, torch.full((1, 2, 4, 4), 10.0)], dim=2)
    assert normalisation.heatmap(moving, 64, 64)[:, :, 4:].min() > 0.99


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
    exact = pool(normalisation.heatmap(pixels, 320, 512), 64)
    found = normalisation.from_cells(pool(pixels, 64), pool_max(pixels, 64), 320, 512)
    torch.testing.assert_close(found, exact, atol=2e-3, rtol=0)


@pytest.mark.parametrize("name", list(CONVENTIONS))
def test_stored_cells_against_the_flow_of_every_pixel(name: str) -> None:
    """Objects with soft edges over a background that moves a little; for the default better than a mean alone."""
    rows, columns = torch.meshgrid(torch.arange(160.0), torch.arange(256.0), indexing="ij")
    disc = torch.sigmoid((40 - torch.hypot(rows - 80, columns - 120)) / 2)
    pixels = torch.stack([speed * disc + 0.01 * columns for speed in (3.0, 8.0, 20.0)])[None]
    normalisation = CONVENTIONS[name]
    exact = pool(normalisation.heatmap(pixels, 160, 256), 8)
    mean, greatest = (values.half().numpy() for values in (pool(pixels, 8), pool_max(pixels, 8)))
    error = (stored_heatmap(normalisation, mean, greatest, 160, 256) - exact).abs()
    before = (stored_heatmap(normalisation, mean, None, 160, 256) - exact).abs()
    assert error.mean() < 0.01
    if name == "0.15 diagonal":
        assert error.mean() < 0.75 * before.mean()
