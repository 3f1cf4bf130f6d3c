from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from base.config import dump, load
from base.weights import Weights
from pipeline.featurizers.base import ClipBatch
from pipeline.featurizers.mask_heatmaps import MaskHeatmaps
from pipeline.motion.flow import Dis
from pipeline.motion.masks import MovingRegions
from pipeline.motion.prompts import Points, Prompts
from pipeline.motion.sam import Sam
from pipeline.sprites.files import Clip, draw_clips
from pipeline.sprites.render import render
from pipeline.sprites.world import World
from pipeline.video.geometry import ClipShape
from tests.pipeline.tiny_sam import save_sam2

CPU = torch.device("cpu")
SHAPE = ClipShape(frames=4, height=128, width=128)
WORLD = World(128, 128, 5, kinds=("moves",))
REGIONS = MaskHeatmaps(flow=Dis(), masks=MovingRegions())


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    return list(draw_clips(WORLD, 3, seed=1))


@pytest.fixture(scope="module")
def batch(clips: list[Clip]) -> ClipBatch:
    """Three clips with a mover each, and between them a static one."""
    frames = [render(WORLD, clip.scene, clip.motion)[0] for clip in clips]
    frames.insert(1, np.repeat(frames[0][:1], 5, axis=0))
    return ClipBatch(np.stack(frames), np.array([True, True, False, True]))


@pytest.fixture(params=["sam", "regions"])
def feature(request: pytest.FixtureRequest, tmp_path: Path) -> MaskHeatmaps:
    if request.param == "regions":
        return REGIONS
    return replace(REGIONS, masks=Sam(Weights(str(save_sam2(tmp_path))), "float32"))


def test_what_is_promised_is_computed_and_no_clip_depends_on_another(feature: MaskHeatmaps, batch: ClipBatch) -> None:
    feature.check(SHAPE)
    function = feature.load(SHAPE, CPU)
    together = function(batch)
    assert set(together) == {column.name for column in feature.columns(SHAPE)}
    for column in feature.columns(SHAPE):
        values = together[column.name]
        assert values.shape == (4, *column.shape)
        assert column.to_numpy(column.to_arrow(values)).tobytes() == values.tobytes()
    for rows in ([0], [1], [2], [3, 2], [3, 1, 0, 2]):
        some = function(ClipBatch(batch.frames[rows], batch.has_next[rows]))
        for name, values in some.items():
            assert values.tobytes() == together[name][rows].tobytes(), (rows, name)
    assert together["moving_share"].tolist() == pytest.approx(together["heatmap"].mean(axis=(1, 2, 3)) / 255, abs=2e-3)


def test_a_static_clip_is_dark_and_what_moves_is_lit(batch: ClipBatch, clips: list[Clip]) -> None:
    found = REGIONS.load(SHAPE, CPU)(batch)
    assert not found["heatmap"][1].any()
    assert (found["moving_share"][1], found["prompts"][1]) == (0, 0)
    assert (found["points"][1] == -1).all()
    for row, clip in zip((0, 2, 3), clips, strict=True):
        _, flow = render(WORLD, clip.scene, clip.motion)
        moving = np.linalg.norm(flow, axis=-1)[: SHAPE.frames] > 0
        true = moving.reshape(4, 16, 8, 16, 8).mean(axis=(2, 4))
        covered = found["heatmap"][row] / 255
        both = np.minimum(covered, true).sum()
        assert both > 0.85 * true.sum()
        assert both > 0.5 * covered.sum()  # at 128 pixels the flow bleeds by as much as a sprite is large


def test_the_masks_are_averaged_over_cells_and_united(batch: ClipBatch) -> None:
    """With a mask model that covers a bar at each prompt, whose place tells the prompt."""
    seen: list[Points] = []

    class Bars(MovingRegions):
        def load(self, device: torch.device):  # type: ignore[no-untyped-def]
            def bars(frames: torch.Tensor, points: Sequence[Points]) -> torch.Tensor:
                seen.extend(points)
                masks = torch.zeros(frames.shape[:-1], dtype=torch.bool)
                for mask, found in zip(masks, points, strict=True):
                    for x, _ in found:
                        mask[:, :, x] = True
                return masks

            return bars

    found = replace(REGIONS, masks=Bars()).load(SHAPE, CPU)(batch)
    assert len(seen) == 3  # the model is not asked about the static clip
    for row, points in zip((0, 2, 3), seen, strict=True):
        assert found["points"][row][: len(points)].tolist() == points.tolist()
        counts = np.bincount(np.unique(points[:, 0]) // 8, minlength=16)  # columns of 8 that a cell's bars cover
        np.testing.assert_array_equal(found["heatmap"][row][0, 0], (counts / 8 * 255).round())


def test_identity_changes_with_what_changes_values() -> None:
    others = [
        replace(REGIONS, flow=Dis("fast")),
        replace(REGIONS, both_ways=False),
        replace(REGIONS, prompts=Prompts(most=3)),
        replace(REGIONS, masks=MovingRegions(apart=0.3)),
        replace(REGIONS, cell=16),
    ]
    assert all(other.identity() != REGIONS.identity() for other in others)


def test_it_is_stored_as_a_configuration() -> None:
    for feature in (REGIONS, MaskHeatmaps(), replace(REGIONS, masks=Sam(Weights("weights/sam2"), "float32"))):
        assert load(dump(feature)) == feature
        assert '"type": "mask-heatmaps"' in dump(feature)


def test_sizes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="cell 16: must divide height 100"):
        replace(REGIONS, cell=16).check(ClipShape(4, 100, 128))
    with pytest.raises(ValueError, match=r"prompts.rows 200 x prompts.columns 5: must be at most 128 x 128"):
        replace(REGIONS, prompts=Prompts(rows=200)).check(SHAPE)
