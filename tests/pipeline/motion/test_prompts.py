import cv2
import numpy as np
import pytest

from pipeline.motion.prompts import Prompts

PLAIN = Prompts(around=0)  # as in the paper, but for the minimum
EDGES = [0, 102, 205, 307, 410, 512]  # fifths of 512, rounded


def test_the_liveliest_cells_and_the_strongest_pixel_of_each() -> None:
    """Against a search through all cells of a picture of noise."""
    intensity = np.random.default_rng(0).gamma(2.0, 4.0, (320, 512)).astype(np.float32)
    intensity[64:128, 205:307] += 3  # row 1, column 2
    intensity[256:320, 0:102] += 9  # row 4, column 0
    cells = {
        (row, column): intensity[64 * row : 64 * row + 64, EDGES[column] : EDGES[column + 1]]
        for row in range(5)
        for column in range(5)
    }
    liveliest = sorted(cells, key=lambda place: -float(cells[place].astype(float).mean()))[:5]
    assert liveliest[:2] == [(4, 0), (1, 2)]
    found = PLAIN.find(intensity)
    assert [(y // 64, int(np.searchsorted(EDGES, x, "right")) - 1) for x, y in found] == liveliest
    assert [intensity[y, x] for x, y in found] == [cells[place].max() for place in liveliest]


def test_what_is_still_has_no_prompts() -> None:
    assert Prompts().find(np.zeros((64, 96), np.float32)).shape == (0, 2)
    tremor = np.full((320, 512), 0.002 * np.hypot(320, 512) * 0.99, np.float32)
    assert len(Prompts().find(tremor)) == 0
    assert len(Prompts().find(tremor * 1.02)) == 5


def test_only_cells_that_move_count() -> None:
    intensity = np.zeros((100, 100), np.float32)
    intensity[30, 70] = 5
    assert PLAIN.find(intensity).tolist() == [[70, 30]]
    intensity[95, 5] = 6
    assert PLAIN.find(intensity).tolist() == [[5, 95], [70, 30]]
    assert Prompts(around=0, most=1).find(intensity).tolist() == [[5, 95]]
    assert Prompts(around=0, rows=1, columns=1).find(intensity).tolist() == [[5, 95]]


def test_equal_cells_are_taken_from_the_top() -> None:
    grid = Prompts(rows=2, columns=2, most=3, around=0)
    assert grid.find(np.ones((8, 8), np.float32)).tolist() == [[0, 0], [4, 0], [0, 4]]


def test_the_edge_of_what_moves_has_no_prompts_but_what_moves_slowly_elsewhere_has() -> None:
    """A disc in one cell, whose flow bleeds into three others, and a slow one far away."""
    fast, slow = np.zeros((256, 256), np.float32), np.zeros((256, 256), np.float32)
    cv2.circle(fast, (180, 76), 22, 9.0, -1)
    cv2.circle(slow, (76, 180), 22, 2.0, -1)
    flow = cv2.GaussianBlur(fast, (0, 0), 5) + slow
    plain, found = PLAIN.find(flow), Prompts().find(flow)
    assert not all(fast[y, x] or slow[y, x] for x, y in plain)
    assert {bool(fast[y, x]) for x, y in found} == {True, False}
    assert all(fast[y, x] or slow[y, x] for x, y in found)


@pytest.mark.parametrize("wrong", [{"rows": 0}, {"most": 0}, {"least": 0.0}, {"around": -1}, {"share": 2}])
def test_impossible_settings(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} {next(iter(wrong.values()))}: must be"):
        Prompts(**wrong)  # type: ignore[arg-type]
