"""What a model is conditioned on is computed for a request as it was for its training."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from base.errors import WeightsError
from base.weights import Weights
from models.encoders.clip_image import ClipImage
from models.encoders.registry import open_image_encoder
from pipeline.featurizers.base import ClipBatch
from pipeline.featurizers.image import CellImageTokens, ClipImageTokens
from pipeline.video.geometry import ClipShape

CPU = torch.device("cpu")
SHAPE = ClipShape(2, 64, 96)
FRAMES = np.random.default_rng(0).integers(0, 256, (3, 3, 64, 96, 3), np.uint8)


@pytest.fixture(scope="module")
def tower(tmp_path_factory: pytest.TempPathFactory) -> ClipImageTokens:
    """A small visual tower of random weights."""
    folder, name = tmp_path_factory.mktemp("tower"), "ViT-S-32-alt"
    torch.manual_seed(0)
    save_file(ClipImage(name).state_dict(), folder / "open_clip_model.safetensors")
    return ClipImageTokens(Weights(str(folder)), name, "float32")


@pytest.mark.parametrize("kind", ["cells", "tower"])
def test_tokens_are_those_of_a_dataset(kind: str, tower: ClipImageTokens) -> None:
    feature = tower if kind == "tower" else CellImageTokens()
    stored = feature.load(SHAPE, CPU)(ClipBatch(FRAMES, np.ones(3, bool)))["tokens"]
    weights = Weights.of(feature.facts())
    encode = open_image_encoder(feature.identity(), weights, CPU)
    tokens = torch.cat([encode(torch.from_numpy(frames[:1])) for frames in FRAMES])
    assert tokens.dtype == torch.float32
    np.testing.assert_array_equal(tokens.numpy(), stored.astype(np.float32))


def test_a_tower_without_weights_is_named(tower: ClipImageTokens) -> None:
    with pytest.raises(WeightsError, match="image tokens of 'ViT-S-32-alt' .* no image encoder is given"):
        open_image_encoder(tower.identity(), None, CPU)
