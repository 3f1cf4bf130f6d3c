from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from base.errors import InputError, WeightsError
from base.weights import Weights
from models.encoders.clip_image import ClipImage, squeeze
from models.encoders.clip_text import ClipText
from models.encoders.image import CellTokens, TowerShape, tower_shape
from models.encoders.pixel_codec import PixelCodec

ARCHITECTURE = "ViT-S-32-alt"
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def encoder() -> ClipImage:
    torch.manual_seed(0)
    return ClipImage(ARCHITECTURE).eval()


@pytest.fixture(scope="module")
def frames() -> torch.Tensor:
    return torch.randint(0, 256, (2, 96, 160, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def test_tokens_are_open_clips_before_the_final_norm(encoder: ClipImage, frames: torch.Tensor) -> None:
    """Against open_clip's own forward pass, which gives normed patches and a projected class token."""
    import open_clip

    original = open_clip.create_model(ARCHITECTURE, pretrained=None, load_weights=False).visual.eval()
    original.load_state_dict(encoder.visual.state_dict())
    original.output_tokens = True
    with torch.inference_mode():
        pooled, patches = original(squeeze(frames, 224))
        normed = original.ln_post(encoder(frames))
        projected = normed[:, 0] @ original.proj
    torch.testing.assert_close(normed[:, 1:], patches, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(projected, pooled, rtol=1e-6, atol=1e-6)
    assert (encoder(frames).mean(-1).abs() > 1e-3).any()  # a norm with fresh weights would have made it zero


def test_a_frame_is_squeezed_whole() -> None:
    """Both edges of a wide frame are there; a centre crop would lose them."""
    frame = torch.zeros(1, 64, 256, 3, dtype=torch.uint8)
    frame[:, :, :32, 0] = 255
    frame[:, :, -32:, 2] = 255
    image = squeeze(frame, 32)
    white, black = (squeeze(torch.full_like(frame, value), 32)[0, :, 0, 0] for value in (255, 0))
    torch.testing.assert_close(white, torch.tensor([1.930336, 2.074885, 2.145896]), rtol=1e-4, atol=0)
    torch.testing.assert_close(image[0, :, 16, 0], torch.stack([white[0], black[1], black[2]]), rtol=0, atol=1e-3)
    torch.testing.assert_close(image[0, :, 16, -1], torch.stack([black[0], black[1], white[2]]), rtol=0, atol=1e-3)
    torch.testing.assert_close(image[0, :, 16, 16], black, rtol=0, atol=1e-3)


def test_shrinking_averages_what_lies_between() -> None:
    """Stripes one pixel wide become grey; without antialiasing the picture would depend on where the samples fall."""
    frame = torch.zeros(1, 256, 256, 3, dtype=torch.uint8)
    frame[:, :, ::2] = 255
    grey = squeeze(torch.full_like(frame, 127), 32)
    assert (squeeze(frame, 32) - grey)[..., 4:-4].abs().max() < 0.1


@pytest.mark.parametrize("name", ["open_clip_pytorch_model.bin", "open_clip_model.safetensors"])
def test_load_takes_the_image_tower_of_a_full_checkpoint(
    name: str, encoder: ClipImage, frames: torch.Tensor, tmp_path: Path
) -> None:
    stored = {**encoder.state_dict(), **ClipText(ARCHITECTURE).state_dict()}
    (torch.save if name.endswith(".bin") else save_file)(stored, tmp_path / name)
    loaded = ClipImage.load(Weights(str(tmp_path)), ARCHITECTURE, CPU, torch.float32)
    assert torch.equal(loaded(frames), encoder(frames))
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    text = ClipText.load(Weights(str(tmp_path)), ARCHITECTURE, CPU, torch.float32)
    assert torch.equal(text.ln_final.weight, stored["ln_final.weight"])


def test_a_checkpoint_that_lacks_tensors_is_named(encoder: ClipImage, tmp_path: Path) -> None:
    stored = {name: tensor for name, tensor in encoder.state_dict().items() if name != "visual.class_embedding"}
    torch.save(stored, tmp_path / "open_clip_pytorch_model.bin")
    with pytest.raises(WeightsError, match=rf"image encoder: .* lacks visual.class_embedding: is it a {ARCHITECTURE}"):
        ClipImage.load(Weights(str(tmp_path)), ARCHITECTURE, CPU, torch.float32)


def test_a_checkpoint_of_another_size_is_named(encoder: ClipImage, tmp_path: Path) -> None:
    """A larger model has every name that a smaller one has."""
    stored = encoder.state_dict() | {"visual.conv1.weight": torch.zeros(768, 3, 32, 32)}
    torch.save(stored, tmp_path / "open_clip_pytorch_model.bin")
    said = r"visual.conv1.weight of \(768, 3, 32, 32\) instead of \(384, 3, 32, 32\): is it a"
    with pytest.raises(WeightsError, match=said):
        ClipImage.load(Weights(str(tmp_path)), ARCHITECTURE, CPU, torch.float32)


def test_weights_that_are_missing_are_the_image_encoders(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="image encoder: .* has no open_clip_model.safetensors"):
        ClipImage.load(Weights(str(tmp_path)), ARCHITECTURE, CPU, torch.float32)


def test_the_full_size_tower_has_the_shapes_of_the_base_model() -> None:
    with torch.device("meta"):
        full = ClipImage("ViT-H-14").eval()
        tokens = full(torch.zeros(2, 320, 512, 3, dtype=torch.uint8))
    assert tower_shape("ViT-H-14") == TowerShape(224, 257, 1280)
    assert tokens.shape == (2, 257, 1280)
    state = full.state_dict()
    assert state["visual.conv1.weight"].shape == (1280, 3, 14, 14)
    assert state["visual.positional_embedding"].shape == (257, 1280)
    assert state["visual.transformer.resblocks.31.mlp.c_fc.weight"].shape == (5120, 1280)
    assert "visual.transformer.resblocks.32.mlp.c_fc.weight" not in state
    assert sum(tensor.numel() for tensor in state.values()) == 632_076_800


@pytest.mark.parametrize("architecture", ["ViT-H-41", "RN50", "convnext_base"])
def test_only_vision_transformers_have_such_tokens(architecture: str) -> None:
    with pytest.raises(
        InputError, match=f"architecture '{architecture}' is not one of open_clip's vision transformers"
    ):
        ClipImage(architecture)


def test_cells_say_what_is_there_and_where() -> None:
    tokens = CellTokens(cell=16, place=8)
    plain = torch.full((1, 64, 96, 3), 90, dtype=torch.uint8)
    marked = plain.clone()
    marked[:, 16:32, 64:80] = torch.tensor([255, 0, 0], dtype=torch.uint8)
    before, after = tokens.encode(plain), tokens.encode(marked)
    assert after.shape == (1, 24, tokens.width) == (1, 24, 16 + 8)
    assert (before != after).any(-1).nonzero().tolist() == [[0, 1 * 6 + 4]]
    assert not (before != after)[..., -8:].any()
    latents = PixelCodec(16).encode(marked.permute(0, 3, 1, 2).float() / 127.5 - 1)
    torch.testing.assert_close(after[0, :, :16], latents[0].flatten(1).T)


def test_no_two_places_are_alike() -> None:
    places = CellTokens(cell=8).encode(torch.zeros(1, 320, 512, 3, dtype=torch.uint8))[0, :, -16:]
    assert torch.cdist(places, places).fill_diagonal_(9).min() > 0.1
    assert places.abs().max() <= 1
    row = CellTokens(cell=8, place=4).encode(torch.zeros(1, 8, 16, 3, dtype=torch.uint8))[0, 1, -4:]
    np.testing.assert_allclose(row, [0, 1, np.sin(1), np.cos(1)], rtol=1e-6)


@pytest.mark.parametrize("sizes", [{"cell": 2}, {"place": 6}, {"place": 0}])
def test_sizes_that_have_no_meaning(sizes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="cell must be at least 4, place a multiple of 4"):
        CellTokens(**sizes)
