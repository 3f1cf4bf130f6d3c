from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL

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


def test_config(tiny_vae: Path) -> None:
    assert read_config(Weights(str(tiny_vae), subfolder="vae"))["scaling_factor"] == 0.18215


def test_missing_weights_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="autoencoder: .* has no config.json"):
        read_config(Weights(str(tmp_path)))
