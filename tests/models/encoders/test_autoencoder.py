from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL
from torch import nn

from base.errors import WeightsError
from base.weights import Weights
from models.encoders.autoencoder import Autoencoder, read_config


def test_posterior(tiny_vae: Path) -> None:
    encoder = Autoencoder.load(Weights(str(tiny_vae), subfolder="vae"), torch.device("cpu"))
    images = torch.rand(2, 3, 64, 96) * 2 - 1
    mean, logvar = encoder.posterior(images)
    assert mean.shape == logvar.shape == (2, 4, 8, 12)
    plain = AutoencoderKL.from_pretrained(tiny_vae / "vae").encode(images).latent_dist
    torch.testing.assert_close(mean, plain.mean.detach())
    torch.testing.assert_close(logvar, plain.logvar.detach())


def test_the_decoder_alone_may_have_another_precision(tiny_vae: Path) -> None:
    weights = Weights(str(tiny_vae), subfolder="vae")
    plain, half = (Autoencoder.load(weights, torch.device("cpu"), decoding=d) for d in (None, torch.bfloat16))
    images, latents = torch.rand(2, 3, 32, 48) * 2 - 1, torch.randn(5, 4, 4, 6)
    for one, other in zip(plain.posterior(images), half.posterior(images), strict=True):
        assert torch.equal(one, other)
    expected, found = plain.images(latents), half.images(latents, at_once=5)
    theirs = AutoencoderKL.from_pretrained(tiny_vae / "vae").requires_grad_(False)
    assert torch.equal(expected, torch.cat([theirs.decode(part).sample for part in latents.split(4)]))
    nn.Module.to(theirs, torch.bfloat16)
    assert found.dtype == torch.float32
    assert torch.equal(found, theirs.decode(latents.bfloat16()).sample.float())
    assert 0 < (found - expected).abs().mean() < 0.05 * expected.std()


def test_config(tiny_vae: Path) -> None:
    assert read_config(Weights(str(tiny_vae), subfolder="vae"))["scaling_factor"] == 0.18215


def test_missing_weights_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="autoencoder: .* has no config.json"):
        read_config(Weights(str(tmp_path)))
