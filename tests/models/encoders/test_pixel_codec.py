import pytest
import torch

from models.encoders.pixel_codec import PixelCodec


def test_shapes() -> None:
    codec = PixelCodec()
    assert codec.channels == 16
    assert codec.encode(torch.zeros(2, 3, 256, 320)).shape == (2, 16, 16, 20)
    assert codec.decode(torch.zeros(2, 16, 16, 20)).shape == (2, 3, 256, 320)


def test_all_frequencies_give_the_picture_back() -> None:
    codec = PixelCodec(cell=4, luma=16, chroma=16)
    images = torch.rand(2, 3, 8, 12, dtype=torch.float64) * 2 - 1
    torch.testing.assert_close(codec.decode(codec.encode(images)), images, atol=2e-6, rtol=0)


def test_decode_inverts_encode_on_latents() -> None:
    codec = PixelCodec(cell=8, luma=6, chroma=2)
    latents = torch.randn(1, 10, 3, 4, dtype=torch.float64) * 0.1
    torch.testing.assert_close(codec.encode(codec.decode(latents)), latents, atol=1e-6, rtol=0)


def test_a_flat_picture_has_only_block_means() -> None:
    codec = PixelCodec()
    latents = codec.encode(torch.full((1, 3, 32, 32), 0.5))
    luma_mean = 0.5 * 16 / (0.22 * 16)
    torch.testing.assert_close(latents[0, 0], torch.full((2, 2), luma_mean), atol=1e-5, rtol=0)
    assert latents[0, 1:].abs().max() < 1e-5


def test_a_side_that_cells_do_not_divide() -> None:
    with pytest.raises(ValueError, match="divisible by the cell, 16"):
        PixelCodec().encode(torch.zeros(1, 3, 250, 256))
