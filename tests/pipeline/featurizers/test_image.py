from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from base.errors import InputError, WeightsError
from base.weights import Weights
from models.encoders.clip_image import ClipImage
from models.encoders.image import CellTokens
from pipeline.featurizers.base import ClipBatch, ClipFeature
from pipeline.featurizers.image import CellImageTokens, ClipImageTokens
from pipeline.video.geometry import ClipShape

CPU = torch.device("cpu")
SHAPE = ClipShape(frames=2, height=64, width=128)
ARCHITECTURE = "ViT-S-32-alt"


@pytest.fixture(scope="module")
def batch() -> ClipBatch:
    """Three clips of three frames of noise."""
    frames = np.random.default_rng(0).integers(0, 256, (3, 3, 64, 128, 3), np.uint8)
    return ClipBatch(frames, np.array([True, True, False]))


@pytest.fixture(scope="module")
def tower(tmp_path_factory: pytest.TempPathFactory) -> ClipImageTokens:
    """A small visual tower with random weights."""
    folder = tmp_path_factory.mktemp("open_clip")
    torch.manual_seed(0)
    torch.save(ClipImage(ARCHITECTURE).state_dict(), folder / "open_clip_pytorch_model.bin")
    return ClipImageTokens(Weights(str(folder)), ARCHITECTURE, "float32")


@pytest.fixture(params=["tower", "cells"])
def feature(request: pytest.FixtureRequest, tower: ClipImageTokens) -> ClipFeature:
    return tower if request.param == "tower" else CellImageTokens(CellTokens(cell=16))


def test_what_is_promised_is_computed_and_no_clip_depends_on_another(feature: ClipFeature, batch: ClipBatch) -> None:
    feature.check(SHAPE)
    function = feature.load(SHAPE, CPU)
    together = function(batch)["tokens"]
    (column,) = feature.columns(SHAPE)
    assert column.name == "tokens"
    assert together.shape == (3, *column.shape)
    assert together.dtype == np.float16
    assert column.to_numpy(column.to_arrow(together)).tobytes() == together.tobytes()
    for rows in ([0], [1], [2], [2, 0]):
        some = function(ClipBatch(batch.frames[rows], batch.has_next[rows]))["tokens"]
        assert some.tobytes() == together[rows].tobytes()


def test_only_the_first_frame_counts(feature: ClipFeature, batch: ClipBatch) -> None:
    function = feature.load(SHAPE, CPU)
    other = batch.frames.copy()
    other[:, 1:] = 0
    tokens = function(batch)["tokens"]
    assert function(ClipBatch(other, batch.has_next))["tokens"].tobytes() == tokens.tobytes()
    other[0, 0] = 0
    changed = function(ClipBatch(other, batch.has_next))["tokens"]
    assert (changed != tokens).any(axis=(1, 2)).tolist() == [True, False, False]


def test_tokens_are_the_towers(tower: ClipImageTokens, batch: ClipBatch) -> None:
    expected = ClipImage.load(tower.weights, ARCHITECTURE, CPU, torch.float32)(torch.from_numpy(batch.frames[1:2, 0]))
    np.testing.assert_array_equal(tower.load(SHAPE, CPU)(batch)["tokens"][1:2], expected.half().numpy())


def test_full_size_columns() -> None:
    assert [(column.shape, column.axes) for column in ClipImageTokens().columns(SHAPE)] == [((257, 1280), "n d")]
    assert CellImageTokens().columns(ClipShape(16, 256, 256))[0].shape == (64, 32)


def test_identity_changes_with_what_changes_values(tower: ClipImageTokens, tmp_path: Path) -> None:
    torch.manual_seed(1)
    torch.save(ClipImage(ARCHITECTURE).state_dict(), tmp_path / "open_clip_pytorch_model.bin")
    assert tower.identity()["weights_tensors"].startswith("blake3:")
    assert replace(tower, weights=Weights(str(tmp_path))).identity() != tower.identity()
    assert replace(tower, precision="bfloat16").identity() != tower.identity()
    cells = [CellImageTokens(CellTokens(**sizes)) for sizes in ({}, {"cell": 16}, {"place": 8})]
    assert len({str(feature.identity()) for feature in cells}) == 3
    elsewhere = Path(tower.weights.source) / ".." / Path(tower.weights.source).name
    assert replace(tower, weights=Weights(str(elsewhere))).identity() == tower.identity()


def test_what_cannot_be_computed_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="100 x 128: these tokens take multiples of their cell, 32"):
        CellImageTokens().check(ClipShape(4, 100, 128))
    with pytest.raises(WeightsError, match="image encoder: "):
        ClipImageTokens(Weights(str(tmp_path))).identity()
    with pytest.raises(InputError, match="architecture 'RN50'"):
        ClipImageTokens(architecture="RN50").columns(SHAPE)
