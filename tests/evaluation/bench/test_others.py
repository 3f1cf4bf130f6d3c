"""Videos of other models under the published names: which are missing, doubled, unreadable, of another form."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest

from base.errors import InputError
from evaluation.bench.dataset import Bench
from evaluation.bench.form import Form
from evaluation.bench.others import accept
from evaluation.study.create import NewStudy, create_study
from media.video_file import encode_video
from tests.evaluation.bench.small import NAMES, write_dataset

FORM = Form(size=64, frames=4, fps=8)


def write_video(path: Path, seed: int, frames: int = 4, size: int = 64, fps: float = 8) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (frames, size, size, 3), np.uint8)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(encode_video(pixels, fps))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench.read(write_dataset(tmp_path / "data"))


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Each with a seed of its own, as others publish them."""
    for number, name in enumerate(NAMES):
        write_video(tmp_path / "cinemo" / f"{name}_{100 + number}.mp4", number)
    return tmp_path / "cinemo"


def test_all_are_accepted_under_common_names(bench: Bench, videos: Path, tmp_path: Path) -> None:
    (videos / "notes.txt").write_text("not a video")
    (videos / f"{NAMES[1]}_101.mp4").rename(videos / f"{NAMES[1].upper()}_101.MP4")
    found = accept(videos, bench, FORM, 0, tmp_path / "out")
    assert found.complete
    assert found.unknown == []
    names = [path.stem for path in sorted((tmp_path / "out").glob("*.mp4"))]
    assert names == [f"{name}_0" for name in NAMES]
    for number, name in enumerate(NAMES):
        source = next(path for path in videos.iterdir() if path.stem.endswith(f"_{100 + number}"))
        assert (tmp_path / "out" / f"{name}_0.mp4").read_bytes() == source.read_bytes()
    with (tmp_path / "out" / "videos.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["model"], row["seed"], row["revision"]) for row in rows] == [
        ("cinemo", str(100 + number), "") for number in range(5)
    ]
    assert rows[0]["source"] == f"{NAMES[0]}_100.mp4"


def test_two_models_make_a_study(bench: Bench, videos: Path, tmp_path: Path) -> None:
    for number, name in enumerate(NAMES):
        write_video(tmp_path / "seine" / f"{name}_{number}.mp4", 50 + number)
    for model in (videos, tmp_path / "seine"):
        accept(model, bench, FORM, 3, tmp_path / f"of-{model.name}")
    a, b = tmp_path / "of-cinemo", tmp_path / "of-seine"
    assert (a / "prompts.csv").read_text() == (b / "prompts.csv").read_text()
    study = create_study(NewStudy(a, b, a / "prompts.csv", tmp_path / "study", gold=2))
    assert len(study.pairs) == 5
    assert {pair.scene for pair in study.pairs} == {"dog", "sun"}


def test_what_is_wrong_is_said_and_the_rest_is_accepted(bench: Bench, videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (videos / f"{NAMES[0]}_100.mp4").unlink()
    shutil.copy(videos / f"{NAMES[1]}_101.mp4", videos / f"{NAMES[1]}_7.mp4")
    cut = videos / f"{NAMES[2]}_102.mp4"
    cut.write_bytes(cut.read_bytes()[:-500])
    write_video(videos / f"{NAMES[3]}_103.mp4", 3, frames=5)
    write_video(videos / "a_cat_0.mp4", 9)
    found = accept(videos, bench, FORM, 0, out)
    assert not found.complete
    assert found.missing == [NAMES[0]]
    assert found.doubled == [f"{NAMES[1]} has {NAMES[1]}_101.mp4 and {NAMES[1]}_7.mp4"]
    assert len(found.unreadable) == 1
    assert found.unreadable[0].startswith(cut.name)
    shape = "frames of 64 x 64 at 8 per second"
    assert found.other_form == [f"{NAMES[3]}_103.mp4 has 5 {shape}, not 4 {shape}"]
    assert found.unknown == ["a_cat_0.mp4 is the name of no pair"]
    assert [path.name for path in out.glob("*.mp4")] == [f"{NAMES[4]}_0.mp4"]
    assert (out / "prompts.csv").read_text().count("\n") == 2
    # All is put right, and the same call adds what was missing.
    (videos / f"{NAMES[1]}_7.mp4").unlink()
    for number in (0, 2, 3):
        write_video(videos / f"{NAMES[number]}_{100 + number}.mp4", number)
    kept = (out / f"{NAMES[4]}_0.mp4").stat().st_mtime_ns
    assert accept(videos, bench, FORM, 0, out).complete
    assert len(list(out.glob("*.mp4"))) == 5
    assert (out / f"{NAMES[4]}_0.mp4").stat().st_mtime_ns == kept
    fresh = tmp_path / "fresh"
    accept(videos, bench, FORM, 0, fresh)
    assert [path.read_bytes() for path in sorted(out.iterdir())] == [
        path.read_bytes() for path in sorted(fresh.iterdir())
    ]


@pytest.mark.parametrize(
    ("changes", "other"),
    [({"frames": 3}, "3 frames"), ({"size": 32}, "32 x 32"), ({"fps": 12}, "at 12 per second")],
)
def test_videos_of_another_form(
    bench: Bench, videos: Path, tmp_path: Path, changes: dict[str, int], other: str
) -> None:
    write_video(videos / f"{NAMES[2]}_102.mp4", 1, **changes)
    (text,) = accept(videos, bench, FORM, 0, tmp_path / "out").other_form
    assert other in text.partition(", not ")[0]


def test_copies_of_another_folder_are_not_mixed(bench: Bench, videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    accept(videos, bench, FORM, 0, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    write_video(videos / f"{NAMES[2]}_102.mp4", 77)
    with pytest.raises(InputError, match=rf"--out .*: {NAMES[2]}_0\.mp4 is not from .*cinemo"):
        accept(videos, bench, FORM, 0, out)
    with pytest.raises(InputError, match=rf"{NAMES[0]}_0\.mp4 is not from"):
        accept(videos, bench, FORM, 1, out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_nothing_that_can_be_accepted(bench: Bench, videos: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such folder"):
        accept(tmp_path / "none", bench, FORM, 0, tmp_path / "out")
    with pytest.raises(InputError, match="these are the given videos themselves"):
        accept(videos, bench, FORM, 0, videos)
    with pytest.raises(InputError, match=r"no video can be accepted \(.*_100\.mp4 has 4 frames .*\)\. They are named"):
        accept(videos, bench, Form(), 0, tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no video can be accepted\. They are named"):
        accept(tmp_path / "empty", bench, FORM, 0, tmp_path / "out")
    assert not (tmp_path / "out").exists()
