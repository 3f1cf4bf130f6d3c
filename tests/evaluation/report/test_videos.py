"""Embedded videos: H.264 of bounded size that shows what the file shows."""

from pathlib import Path

import numpy as np
import pytest

from base.storage.folder import Folder
from evaluation.report.videos import MOST_BYTES, MOST_FRAMES, WIDEST, embed, read_tags
from media.video_file import encode_gif, encode_video
from tests.evaluation.report.reading import decoded


def moving(frames: int, height: int, width: int) -> np.ndarray:
    """A bright bar that moves down over a gradient."""
    picture = np.broadcast_to(np.linspace(0, 120, width, dtype=np.uint8)[None, :, None], (height, width, 3))
    found = np.stack([picture.copy() for _ in range(frames)])
    for number in range(frames):
        top = number * (height // 2) // frames
        found[number, top : top + height // 4] = 230
    return found


@pytest.mark.parametrize("size", [(32, 48), (66, 96), (1280, 320)])
def test_a_video_is_shown_as_it_is(tmp_path: Path, size: tuple[int, int]) -> None:
    frames = moving(6, *size)
    (tmp_path / "a.mp4").write_bytes(encode_video(frames, 10, metadata={"prompt": "a <b>"}))
    found = embed(Folder(str(tmp_path)), "a.mp4", "step 1")
    assert (found.title, found.fault) == ("step 1", "")
    codec, shown, rate = decoded(found.source)
    assert (codec, rate, len(shown)) == ("h264", 10, 6)
    height, width = shown.shape[1:3]
    assert max(height, width) == min(WIDEST, max(size))
    assert height / width == pytest.approx(size[0] / size[1], rel=0.03)
    rows = np.linspace(0, size[0] - 1, height).round().astype(int)
    columns = np.linspace(0, size[1] - 1, width).round().astype(int)
    difference = np.abs(shown.astype(int) - frames[:, rows][:, :, columns])
    assert difference.mean() < 6
    assert found.poster.startswith("data:image/jpeg;base64,")
    assert read_tags(Folder(str(tmp_path)), "a.mp4")["prompt"] == "a <b>"


def test_a_long_video_is_cut_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(encode_video(moving(MOST_FRAMES + 1, 32, 32), 8))
    (tmp_path / "b.mp4").write_bytes(encode_video(moving(MOST_FRAMES, 32, 32), 8))
    long, whole = (embed(Folder(str(tmp_path)), name, "it") for name in ("a.mp4", "b.mp4"))
    assert long.title == f"it (its first {MOST_FRAMES} frames)"
    assert whole.title == "it"
    assert len(decoded(long.source)[1]) == len(decoded(whole.source)[1]) == MOST_FRAMES


def test_a_video_of_noise_is_small_enough(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (MOST_FRAMES, 384, 384, 3), np.uint8)
    (tmp_path / "a.mp4").write_bytes(encode_video(noise, 8))
    found = embed(Folder(str(tmp_path)), "a.mp4", "noise")
    assert len(found.source) < MOST_BYTES * 4 / 3 + 100
    assert len(decoded(found.source)[1]) == MOST_FRAMES


def test_another_codec_becomes_h264(tmp_path: Path) -> None:
    (tmp_path / "a.gif").write_bytes(encode_gif(moving(4, 32, 48), 8))
    assert decoded(embed(Folder(str(tmp_path)), "a.gif", "").source)[0] == "h264"


@pytest.mark.parametrize("content", [b"", b"no video", b"\0\0\0\x18ftypmp42" + bytes(100)])
def test_a_broken_video_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    place = Folder(str(tmp_path))
    found = embed(place, "a.mp4", "it")
    assert found.fault.startswith(f"{tmp_path}/a.mp4 cannot be shown: ")
    assert (found.title, found.source) == ("it", "")
    assert read_tags(place, "a.mp4") == {}
    assert embed(place, "none.mp4", "it").fault == f"{tmp_path}/none.mp4 is not there"
