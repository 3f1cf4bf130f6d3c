"""A video frame has the same pixels in training and where it is the picture that a video begins with."""

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from base.errors import InputError
from dataset.ledger import UNSUITABLE
from media.picture import fit, read_image
from pipeline.video.decoders import Request, decode_with_pyav
from pipeline.video.errors import VideoError
from pipeline.video.probe import probe
from pipeline.video.sampling import Span
from tests.colours import Look, expected, scene, to_planes, write_planes
from tests.videos import pictures, rotate, set_matrix, write


def training_frame(path: Path, size: tuple[int, int]) -> np.ndarray:
    facts = probe(path)
    request = Request(path, Span(0, 1), 1, facts.fps, False, facts.turns, facts.pixel_aspect, *size)
    out = np.zeros((1, *size, 3), np.uint8)
    decode_with_pyav(request, out)
    return out[0]


def detail(picture: np.ndarray) -> float:
    """Laplacian energy: how much fine detail a picture has."""
    return float((cv2.Laplacian(picture.astype(np.float32), cv2.CV_32F) ** 2).mean())


@pytest.mark.parametrize("size", [(64, 64), (128, 226), (320, 512)])
@pytest.mark.parametrize(("degrees", "aspect"), [(0, None), (90, None), (270, Fraction(4, 3)), (0, Fraction(16, 11))])
def test_a_video_as_image_is_the_training_frame(
    tmp_path: Path, size: tuple[int, int], degrees: int, aspect: Fraction | None
) -> None:
    tags = {"sample_aspect_ratio": aspect} if aspect else {}
    planes = to_planes(scene(240, 320), Look())
    path = rotate(write_planes(tmp_path / "a.mp4", [planes], Look(), **tags), degrees)
    assert (read_image(path, size) == training_frame(path, size)).all()
    at_its_own_size = read_image(path)
    facts = probe(path)
    assert at_its_own_size.shape == (facts.height, facts.width, 3)


@pytest.mark.parametrize("stored", [(1080, 1920), (480, 854), (256, 340), (100, 150)])
def test_a_picture_has_as_much_detail_as_the_same_frame_of_a_video(tmp_path: Path, stored: tuple[int, int]) -> None:
    """Large steps down, and up. Of a grey noise, so that a video holds every pixel of the picture."""
    grey = np.random.default_rng(0).integers(40, 200, (*stored, 1)).astype(np.uint8)
    planes = [grey[..., 0], *(np.full((stored[0], stored[1]), 128, np.uint8) for _ in range(2))]
    look = Look(chroma="444", full=True)
    path = write_planes(tmp_path / "a.mkv", [planes], look)
    size = (160, 256)
    trained, fitted = training_frame(path, size), fit(np.repeat(grey, 3, axis=-1), *size)
    assert np.abs(trained.astype(int) - fitted).max() <= 1
    assert detail(fitted) / detail(trained) == pytest.approx(1, abs=0.01)


def test_a_picture_is_resized_as_by_an_exact_triangle_filter() -> None:
    picture = np.rint(255 * scene(300, 400)).astype(np.uint8)
    for size in ((64, 64), (256, 256), (320, 512)):
        assert np.abs(fit(picture, *size) - expected(picture.astype(float), size)).max() <= 2


def test_a_video_whose_frames_cannot_be_used_is_named(tmp_path: Path) -> None:
    options = {"x264-params": "interlaced=1:tff=1"}
    path = write(tmp_path / "a.mp4", pictures(4, 96, 96), options=options)
    with pytest.raises(InputError, match=r"a\.mp4: this video cannot be used: its frames are interlaced"):
        read_image(path)


MATRICES = {
    "left to right": ((-1, 0, 0, 1), "mirrors the picture"),
    "upside down": ((1, 0, 0, -1), "mirrors the picture"),
    "transposed": ((0, 1, 1, 0), "mirrors the picture"),
    "transposed the other way": ((0, -1, -1, 0), "mirrors the picture"),
    "aslant": ((0.9, 0.44, -0.44, 0.9), "rotates the picture by an angle other than quarter turns"),
    "nothing": ((0, 0, 0, 0), "is singular"),
}


@pytest.mark.parametrize("name", MATRICES)
def test_a_matrix_that_does_more_than_turn_is_refused_and_never_applied_wrongly(tmp_path: Path, name: str) -> None:
    matrix, said = MATRICES[name]
    path = set_matrix(write(tmp_path / "a.mp4", pictures(4, 64, 96)), matrix)
    facts = probe(path)
    assert (facts.error_class, said in str(facts.message)) == ("DisplayMatrix", True)
    assert facts.error_class in UNSUITABLE
    with pytest.raises(InputError, match=rf"a\.mp4: this video cannot be used: its display matrix {said}"):
        read_image(path)
    request = Request(path, Span(0, 1), 2, facts.fps, False, 0, 1.0, 64, 64)
    with pytest.raises(VideoError, match=said) as caught:
        decode_with_pyav(request, np.zeros((2, 64, 64, 3), np.uint8))
    assert caught.value.kind == "DisplayMatrix"


@pytest.mark.parametrize("size", [0.5, 1, 2])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_turns_of_any_size_are_turns(tmp_path: Path, degrees: int, size: float) -> None:
    cosine, sine = {0: (size, 0), 90: (0, size), 180: (-size, 0.01 * size), 270: (0, -size)}[degrees]
    path = set_matrix(write(tmp_path / "a.mp4", pictures(4, 64, 96)), (cosine, sine, -sine, cosine))
    assert (probe(path).error_class, probe(path).turns) == (None, -degrees // 90 % 4)
