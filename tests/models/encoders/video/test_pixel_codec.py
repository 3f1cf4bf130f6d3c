"""The codec of videos is causal, linear, and loses what it says it loses."""

import pytest
import torch

from base.errors import InputError
from models.encoders.pixel_codec import PixelCodec
from models.encoders.video.pixel_codec import VideoPixelCodec

CODEC = VideoPixelCodec(cell=8, luma=64, chroma=64)  # keeps every pixel
VIDEO = torch.rand(2, 3, 9, 16, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_the_first_frame_alone_makes_the_first_latent() -> None:
    latents = CODEC.encode(VIDEO)
    assert latents.shape == (2, *CODEC.grid.shape(9, 16, 24)) == (2, 384, 3, 2, 3)
    torch.testing.assert_close(CODEC.encode(VIDEO[:, :, :1]), latents[:, :, :1])
    torch.testing.assert_close(CODEC.encode(VIDEO[:, :, :5]), latents[:, :, :2])
    frame = PixelCodec(8, 64, 64).encode(VIDEO[:, :, 0])
    torch.testing.assert_close(latents[:, :192, 0], frame)
    assert latents[:, 192:, 0].abs().max() < 1e-6


def test_with_all_frequencies_nothing_is_lost() -> None:
    codec = VideoPixelCodec(times=4, cell=8, luma=64, chroma=64)
    frames = codec.decode(codec.encode(VIDEO)).unflatten(0, (2, 9)).transpose(1, 2)
    torch.testing.assert_close(frames, VIDEO, rtol=0, atol=1e-5)


def test_with_two_a_group_keeps_its_mean_and_an_even_change() -> None:
    """Of cosines, the first two fit a straight line along four frames but for a little at its ends."""
    frames = CODEC.decode(CODEC.encode(VIDEO)).unflatten(0, (2, 9)).transpose(1, 2)
    torch.testing.assert_close(frames[:, :, 0], VIDEO[:, :, 0], rtol=0, atol=1e-5)
    still = VIDEO[:, :, :1].expand(-1, -1, 9, -1, -1)
    torch.testing.assert_close(
        CODEC.decode(CODEC.encode(still)), still.transpose(1, 2).flatten(0, 1), rtol=0, atol=1e-5
    )
    line = torch.linspace(-0.8, 0.8, 9).view(1, 1, 9, 1, 1).expand(1, 3, 9, 8, 8)
    found = CODEC.decode(CODEC.encode(line)).unflatten(0, (1, 9)).transpose(1, 2)
    assert (found - line).abs().max() < 0.03
    groups = (found - line)[:, :, 1:].unflatten(2, (2, 4))
    assert groups.mean(dim=3).abs().max() < 1e-5


def test_its_identity_makes_it_again() -> None:
    assert VideoPixelCodec.of(CODEC.identity()) == CODEC


def test_what_it_refuses() -> None:
    with pytest.raises(InputError, match="frames 8: must be a multiple of 4 plus 1.*Use 5 or 9"):
        CODEC.encode(VIDEO[:, :, :8])
    with pytest.raises(InputError, match="both sides must be multiples of 8"):
        CODEC.encode(VIDEO[..., :20])
    with pytest.raises(ValueError, match="times must be from 1 to stride"):
        VideoPixelCodec(times=5)
    with pytest.raises(ValueError, match="cell must be at least 2"):
        VideoPixelCodec(cell=1)
