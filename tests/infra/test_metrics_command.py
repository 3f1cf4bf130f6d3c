"""`motif metrics`: on moving sprites, from a folder to a table and JSON."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from tests.evaluation.metrics.tiny import write_clip
from tests.infra.conftest import Motif


@pytest.fixture(scope="module")
def videos(sprites_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Four sprites of two scenes, and their prompts; their own first frames are the images."""
    folder = tmp_path_factory.mktemp("sprites_metrics")
    (folder / "videos").mkdir()
    with (sprites_folder / "manifest.csv").open() as file:
        rows = list(csv.DictReader(file))[:4]
    with (folder / "pairs.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("name", "prompt", "image", "scene"))
        for row in rows:
            shutil.copy(sprites_folder / row["video"], folder / "videos")
            writer.writerow((Path(row["video"]).stem, row["caption"], row["video"], row["scene"]))
    return folder / "videos", folder / "pairs.csv"


def test_sprites_are_measured(motif: Motif, videos: tuple[Path, Path], tmp_path: Path) -> None:
    folder, pairs = videos
    out = tmp_path / "results" / "metrics.json"
    clip = write_clip(tmp_path / "clip")
    status, text, error = motif("metrics", folder, "--prompts", pairs, "--clip", clip, "--out", out)
    assert status == 0, error
    found = json.loads(text)
    assert json.loads(out.read_text()) == found
    assert (found["videos"], found["count"], found["scenes"], found["fps"]) == (str(folder), 4, 2, 8)
    metrics = found["metrics"]
    assert metrics["temporal_flickering"]["static"]["value"] == 1
    assert metrics["dynamic_degree_dis"]["static"]["value"] == 0
    assert metrics["static_share"]["static"]["value"] == 1
    assert metrics["static_share"]["videos"]["value"] < 0.5
    assert metrics["image_alignment"]["static"]["value"] == pytest.approx(100, abs=0.01)
    assert metrics["image_alignment"]["difference"]["value"] < 0
    assert len(found["per_video"]) == 4
    assert found["not_computed"]["fvd"] == "--i3d is not given"
    words = " ".join(error.split())
    for part in (
        "4 videos of 2 scenes",
        "the first frame repeated",
        "image_alignment",
        "not computed",
        "motion_smoothness",
    ):
        assert part in words
    assert "4 of 4 videos measured" in error


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "motif metrics: VIDEOS is missing"),
        (["nowhere"], "--prompts is missing: give a CSV file with columns name and prompt"),
        (["nowhere", "--prompts", "pairs.csv"], "VIDEOS nowhere: there is no such folder"),
        (["nowhere", "--prompts", "pairs.csv", "--reference", "real"], "--reference: needs --i3d, which is missing"),
    ],
)
def test_a_mistake_gets_one_line(
    motif: Motif, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, error = motif("metrics", *args)
    assert (status, out) == (2, "")
    assert message in error
    assert len(error.splitlines()) == 1
