"""Wan's autoencoder, against diffusers' own: encoding, normalisation, decoding. Tiny random weights."""

from pathlib import Path

import pytest
import torch
from diffusers import WanImageToVideoPipeline
from safetensors.torch import load_file, save_file

from base.errors import InputError
from base.weights import Weights
from models.encoders.registry import has_weights, open_latent_space, read_cell
from models.encoders.video.wan_autoencoder import WanAutoencoder, identity, wan22_config
from models.latent_grid import LatentGrid
from models.wan.backbone import WAN22_GRID
from tests.models.wan.tiny import autoencoder

CPU = torch.device("cpu")
VIDEO = torch.rand(2, 3, 9, 32, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
CELLS = pytest.mark.parametrize("cell", [8, 16])


def written(folder: Path, cell: int) -> Weights:
    autoencoder(cell).save_pretrained(folder / "vae")
    return Weights(str(folder), subfolder="vae")


@CELLS
def test_a_clip_is_encoded_and_decoded_as_by_diffusers(cell: int, tmp_path: Path) -> None:
    ours, theirs = WanAutoencoder.load(written(tmp_path, cell), CPU), autoencoder(cell).eval()
    assert ours.grid == LatentGrid(4, 4, cell, 2)
    mean, std = (torch.tensor(v).view(1, -1, 1, 1, 1) for v in (theirs.config.latents_mean, theirs.config.latents_std))
    with torch.no_grad():
        plain = theirs.encode(VIDEO).latent_dist.mode()
        latents = ours.encode(VIDEO)
        torch.testing.assert_close(latents, (plain - mean) / std, rtol=0, atol=1e-5)
        expected = theirs.decode(plain).sample.transpose(1, 2).flatten(0, 1)
        torch.testing.assert_close(ours.decode(latents), expected, rtol=0, atol=5e-5)  # std is undone with rounding
    assert plain.std() > 0.01
    assert expected.std() > 0.01


@CELLS
def test_a_picture_is_encoded_as_by_the_pipeline_and_as_a_clips_first_frame(cell: int, tmp_path: Path) -> None:
    weights = written(tmp_path, cell)
    space = open_latent_space(identity(weights, "float32"), 1.0, weights, CPU)
    assert (space.cell, space.stride, space.frames(3)) == (cell, 4, 9)
    assert read_cell(identity(weights, "float32"), weights) == cell
    pipeline = WanImageToVideoPipeline(None, None, autoencoder(cell).eval(), None, expand_timesteps=True)
    with torch.no_grad():
        condition = pipeline.prepare_latents(VIDEO[:1, :, 0], 1, 4, 32, 64, 9, torch.float32, CPU)[1]
    found = space.encode(VIDEO[:, :, 0])
    torch.testing.assert_close(found[:1], condition[:, :, 0], rtol=0, atol=1e-5)
    torch.testing.assert_close(found, WanAutoencoder.load(weights, CPU).encode(VIDEO)[:, :, 0])


def test_frames_and_sides_that_the_grid_does_not_divide(tmp_path: Path) -> None:
    """Diffusers drops frames silently."""
    encoder = WanAutoencoder.load(written(tmp_path, 16), CPU)
    with pytest.raises(InputError, match=r"frames 8: must be a multiple of 4 plus 1, .* Use 5 or 9"):
        encoder.encode(VIDEO[:, :, :8])
    with pytest.raises(InputError, match=r"frames of 32 x 48 pixels: both sides must be multiples of 32. Use 32 x"):
        encoder.encode(VIDEO[..., :48])


def test_an_identity_is_that_of_the_tensors_and_of_what_else_changes_values(tmp_path: Path) -> None:
    here, there, other = (written(tmp_path / name, 16) for name in ("here", "there", "other"))
    place = tmp_path / "there" / "vae" / "diffusion_pytorch_model.safetensors"
    save_file(dict(reversed(load_file(place).items())), place, metadata={"format": "pt", "by": "another program"})
    assert identity(here, "float32") == identity(there, "float32")
    assert has_weights(identity(here, "float32"))
    config = tmp_path / "other" / "vae" / "config.json"
    config.write_text(config.read_text().replace("0.7", "0.8"))
    assert identity(other, "float32") != identity(here, "float32")
    assert identity(here, "bfloat16") != identity(here, "float32")


def test_the_published_sizes_are_those_of_the_grid() -> None:
    encoder = WanAutoencoder.new(wan22_config(), torch.device("meta"), torch.float32)
    assert encoder.grid == WAN22_GRID
    latents = encoder.encode(torch.empty(1, 3, 5, 64, 96, device="meta"))
    assert latents.shape == (1, 48, 2, 4, 6)
