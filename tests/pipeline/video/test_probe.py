import hashlib
from pathlib import Path

import blake3
import numpy as np
import pytest

from pipeline.video.errors import VideoError
from pipeline.video.probe import content_hash, has_content, probe
from tests.videos import pictures, rotate, write, write_audio


def test_a_plain_video(tmp_path: Path) -> None:
    facts = probe(write(tmp_path / "a.mp4", pictures(20, 96, 128), fps=25))
    assert (facts.frames, facts.fps, facts.variable_rate) == (20, 25.0, False)
    assert (facts.height, facts.width, facts.turns, facts.pixel_aspect) == (96, 128, 0, 1.0)
    assert (facts.codec, facts.pixel_format) == ("h264", "yuv420p")


def test_content_is_the_bytes_not_the_path(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", pictures(5, 64, 64))
    copy = tmp_path / "b.mkv"
    copy.write_bytes(path.read_bytes())
    other = write(tmp_path / "c.mp4", pictures(6, 64, 64))
    assert probe(path).content == probe(copy).content != probe(other).content


@pytest.mark.parametrize("size", [0, 1, 1023, (1 << 20) - 1, 1 << 20, (1 << 21) + 7])
def test_content_names_its_algorithm_and_is_the_digest_of_the_whole_file(tmp_path: Path, size: int) -> None:
    path = tmp_path / "bytes"
    path.write_bytes(np.random.default_rng(size).bytes(size))
    assert content_hash(path) == f"blake3:{blake3.blake3(path.read_bytes()).hexdigest(length=16)}"
    in_version_1 = hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    for recorded in (content_hash(path), in_version_1):
        assert has_content(path, recorded)
    path.write_bytes(path.read_bytes() + b"x")
    for recorded in (content_hash(tmp_path / "bytes")[:-1] + "g", in_version_1):
        assert not has_content(path, recorded)


def test_content_of_an_unknown_algorithm_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    with pytest.raises(ValueError, match="unknown algorithm 'md5'"):
        has_content(tmp_path / "a", "md5:0cc175b9c0f1b6a831c399e269772661")


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_metadata(tmp_path: Path, degrees: int) -> None:
    facts = probe(rotate(write(tmp_path / "a.mp4", pictures(4, 64, 96)), degrees))
    upright = (64, 96) if degrees == 180 else (96, 64)
    assert (facts.height, facts.width) == upright
    assert facts.turns == (4 - degrees // 90) % 4


def test_variable_rate_counts_mean_rate(tmp_path: Path) -> None:
    times = [0, 40, 80, 400, 440, 480, 1000]
    facts = probe(write(tmp_path / "a.mkv", pictures(7, 64, 64), times=times))
    assert facts.variable_rate
    assert facts.fps == pytest.approx(6.0)


def test_a_truncated_file_counts_the_frames_it_has(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (40, 64, 64, 3)).astype(np.uint8)
    path = write(tmp_path / "a.mkv", noise)
    data = path.read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) // 2])
    assert 10 < probe(tmp_path / "cut.mkv").frames < 30


def test_not_square_pixels(tmp_path: Path) -> None:
    from fractions import Fraction

    facts = probe(write(tmp_path / "a.mp4", pictures(3, 96, 96), aspect=Fraction(4, 3)))
    assert (facts.height, facts.width) == (96, 128)
    assert facts.pixel_aspect == pytest.approx(4 / 3)


def test_metadata_in_no_known_encoding(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", pictures(4, 64, 64))
    assert b"Lavf" in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(b"Lavf", b"\xff\xfe\x80\x81"))
    assert probe(path).frames == 4


def test_what_is_no_video(tmp_path: Path) -> None:
    empty = tmp_path / "empty.mp4"
    empty.write_bytes(b"")
    text = tmp_path / "text.mp4"
    text.write_text("this is not a video\n" * 100)
    headless = tmp_path / "headless.mp4"
    data = write(tmp_path / "a.mp4", pictures(10, 64, 64)).read_bytes()
    headless.write_bytes(data[: data.index(b"moov") - 4])
    for path, kind in (
        (empty, "EmptyFile"),
        (text, "NotAVideo"),
        (headless, "NotAVideo"),
        (write_audio(tmp_path / "sound.m4a"), "NoVideoStream"),
    ):
        with pytest.raises(VideoError) as caught:
            probe(path)
        assert caught.value.kind == kind, path


def test_real_videos(real_clips: Path) -> None:
    found = {path.name: probe(path) for path in sorted(real_clips.iterdir())}
    assert found["pancake.mkv"].frames == 310  # its header says 0
    assert found["carphone_pristine.mp4"].width == 193  # 176 pixels that are not square
    assert {name: round(facts.fps, 2) for name, facts in found.items()} == {
        "bigbuckbunny.mp4": 25,
        "bikes.mp4": 25,
        "carphone_pristine.mp4": 29.97,
        "mma_demo.mp4": 28,
        "mma_test.avi": 25,
        "pancake.mkv": 30,
    }
