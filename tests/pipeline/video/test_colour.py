"""The pixels of training frames against an exact conversion in floating point, made independently."""

from fractions import Fraction
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from pipeline.video.decoders import Request, decode_with_pyav
from pipeline.video.errors import VideoError
from pipeline.video.probe import probe
from pipeline.video.sampling import Span
from tests.colours import Look, bias, expected, psnr, scene, to_planes, to_rgb, write_planes
from tests.videos import pictures, rotate, write

LOOKS = [Look(*choice) for choice in product(("bt601", "bt709"), (False, True), ("420", "422", "444"), (8, 10))]


def decoded(path: Path, size: tuple[int, int]) -> np.ndarray:
    facts = probe(path)
    request = Request(path, Span(0, 1), 1, facts.fps, False, facts.turns, facts.pixel_aspect, *size)
    out = np.zeros((1, *size, 3), np.uint8)
    decode_with_pyav(request, out)
    return out[0]


def assert_exact(ours: np.ndarray, exact: np.ndarray) -> None:
    assert bias(ours, exact) <= 0.5
    assert psnr(ours, exact) >= 44


@pytest.mark.parametrize(
    "look", LOOKS, ids=lambda look: f"{look.matrix}-{'full' if look.full else 'limited'}-{look.pixel_format}"
)
def test_colours_are_those_of_the_standard(tmp_path: Path, look: Look) -> None:
    """Scaled widths even and odd; down to a third, to the same size, and up."""
    planes = to_planes(scene(192, 340), look)
    path = write_planes(tmp_path / "a.mkv", [planes], look)
    rgb = to_rgb(planes, look)
    for size in ((64, 112), (128, 227), (192, 340), (256, 256)):
        assert_exact(decoded(path, size), expected(rgb, size))


@pytest.mark.parametrize("stored", [(256, 340), (240, 426), (720, 1280)])
def test_colours_of_usual_sizes(tmp_path: Path, stored: tuple[int, int]) -> None:
    look = Look()
    planes = to_planes(scene(*stored), look)
    path = write_planes(tmp_path / "a.mp4", [planes], look)
    assert_exact(decoded(path, (320, 512)), expected(to_rgb(planes, look), (320, 512)))


@pytest.mark.parametrize(("degrees", "aspect"), [(90, 1.0), (180, 1.0), (270, 4 / 3), (0, 4 / 3), (0, 3 / 4)])
def test_colours_of_rotated_videos_and_of_pixels_that_are_not_square(
    tmp_path: Path, degrees: int, aspect: float
) -> None:
    look = Look("bt601")
    planes = to_planes(scene(240, 320), look)
    tags = {} if aspect == 1 else {"sample_aspect_ratio": Fraction(aspect).limit_denominator(9)}
    path = rotate(write_planes(tmp_path / "a.mp4", [planes], look, **tags), degrees)
    for size in ((160, 256), (256, 160)):
        assert_exact(decoded(path, size), expected(to_rgb(planes, look), size, -degrees // 90 % 4, aspect))


@pytest.mark.parametrize(("stored", "matrix"), [((718, 96), "bt601"), ((720, 96), "bt709"), ((576, 720), "bt601")])
def test_untagged_videos_of_720_lines_and_more_are_bt709(tmp_path: Path, stored: tuple[int, int], matrix: str) -> None:
    look = Look(matrix)
    planes = to_planes(scene(*stored), look)
    path = write_planes(tmp_path / "a.mp4", [planes], look, tagged=False)
    assert_exact(decoded(path, (96, 96)), expected(to_rgb(planes, look), (96, 96)))
    assert probe(path).matrix == {"bt601": "smpte170m", "bt709": "bt709"}[matrix]


def test_lossless_rgb_keeps_the_colour_of_every_pixel(tmp_path: Path) -> None:
    """swscale leaves every second colour sample of RGB out unless it is asked not to."""
    picture = np.random.default_rng(0).integers(0, 255, (192, 256, 3)).astype(np.uint8)
    path = write(tmp_path / "a.mkv", picture[None], codec="libx264rgb", pixel_format="rgb24", options={"qp": "0"})
    assert_exact(decoded(path, (64, 80)), expected(picture.astype(float), (64, 80)))
    assert probe(path).matrix == "rgb"


def to_bt709(rgb: np.ndarray) -> np.ndarray:
    """BT.2020 primaries to BT.709's in linear light: the matrix of ITU-R BT.2407, section 2."""
    matrix = [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]
    return 255 * np.clip((rgb / 255) ** 2.4 @ np.array(matrix).T, 0, 1) ** (1 / 2.4)


def test_wide_primaries_of_standard_range_become_bt709(tmp_path: Path) -> None:
    look = Look("bt2020", bits=10)
    planes = to_planes(0.3 + 0.4 * scene(128, 128), look)
    path = write_planes(tmp_path / "a.mp4", [planes], look, color_primaries=9, color_trc=14)
    exact = to_bt709(expected(to_rgb(planes, look), (96, 96)))
    assert_exact(decoded(path, (96, 96)), exact)
    assert psnr(exact, expected(to_rgb(planes, look), (96, 96))) < 36, "the test would show nothing"
    assert (probe(path).primaries, probe(path).transfer) == ("bt2020", "bt2020-10")


@pytest.mark.parametrize(("number", "name"), [(16, "smpte2084"), (18, "arib-std-b67")])
def test_high_dynamic_range_is_refused_with_its_transfer_function(tmp_path: Path, number: int, name: str) -> None:
    look = Look("bt2020", bits=10)
    planes = to_planes(scene(64, 64), look)
    path = write_planes(tmp_path / "a.mp4", [planes] * 3, look, codec="libx265", color_primaries=9, color_trc=number)
    facts = probe(path)
    assert facts.transfer == name
    assert facts.error_class == "HighDynamicRange"
    assert name in str(facts.message)
    with pytest.raises(VideoError, match="Tone-map") as caught:
        decoded(path, (64, 64))
    assert caught.value.kind == "HighDynamicRange"


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"colorspace": 8}, "its colour matrix, ycgco"),
        ({"color_trc": 8}, "its transfer function is linear"),
        ({"color_primaries": 9}, "may have high dynamic range"),
    ],
)
def test_colours_that_cannot_be_read_are_refused(tmp_path: Path, tags: dict[str, int], reason: str) -> None:
    planes = to_planes(scene(64, 64), Look())
    path = write_planes(tmp_path / "a.mp4", [planes], Look(), **tags)
    assert probe(path).error_class == "UnknownColour"
    with pytest.raises(VideoError, match=reason) as caught:
        decoded(path, (64, 64))
    assert caught.value.kind == "UnknownColour"


def test_dolby_vision_without_a_layer_for_other_players_is_refused(tmp_path: Path) -> None:
    planes = to_planes(scene(64, 64), Look(bits=10))
    path = write_planes(tmp_path / "a.mp4", [planes], Look(bits=10), codec="libx265", tagged=False)
    for tag in (b"hev1", b"hvc1"):
        path.write_bytes(path.read_bytes().replace(tag, b"dvh1"))
    assert probe(path).error_class == "HighDynamicRange"
    assert "Dolby Vision" in str(probe(path).message)


@pytest.mark.parametrize(
    ("codec", "suffix", "options"),
    [
        ("libx264", ".mp4", {"x264-params": "interlaced=1:tff=1"}),
        ("libx264", ".mkv", {"x264-params": "bff=1"}),
        ("mpeg2video", ".mpg", {"flags": "+ildct+ilme"}),
        ("mpeg4", ".avi", {"flags": "+ildct+ilme"}),
    ],
)
def test_interlaced_videos_are_refused(tmp_path: Path, codec: str, suffix: str, options: dict[str, str]) -> None:
    path = write(tmp_path / f"a{suffix}", pictures(12, 96, 96), codec=codec, options=options)
    facts = probe(path)
    assert facts.interlaced
    assert facts.error_class == "Interlaced"
