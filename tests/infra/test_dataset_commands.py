"""The commands over a finished dataset: what they print, and what they leave."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.recipes import Preprocess
from tests.infra.conftest import Motif
from tests.pipeline.conftest import SMALL, Preprocessing


@pytest.fixture
def failed(preprocess: Preprocessing, sprites_folder: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A dataset of three clips of which one failed because its video was not there yet, and that video's path."""
    manifest = tmp_path / "m.csv"
    videos = sorted((sprites_folder / "videos").glob("*.mp4"))[:4]
    late = tmp_path / "late.mp4"
    manifest.write_text("video,caption\n" + "".join(f"{path},c\n" for path in [*videos[:3], late]))
    preprocess(manifest, tmp_path / "d", _tolerant())
    shutil.copy(videos[3], late)
    return tmp_path / "d", late


def _tolerant() -> Preprocess:
    return replace(SMALL, max_failed=0.5, features={"latents": SMALL.features["latents"]})


def test_retry_tries_what_failed_and_nothing_else(motif: Motif, failed: tuple[Path, Path]) -> None:
    dataset, _ = failed
    status, out, error = motif("retry", dataset, "--error", "Timeout")
    assert (status, out) == (0, "")
    assert "no failures match; `motif dataset stats`" in error
    status, out, error = motif("retry", dataset, "--dry-run")
    assert status == 0
    assert "probe 1" in error
    status, out, _ = motif("retry", dataset, "--stage", "probe", "--error", "MissingFile")
    account = json.loads(out)
    assert (status, account["written"], account["reused"], account["failed"]) == (0, 1, 3, 0)
    assert motif("retry", dataset)[2] == "no failures\n"
    assert "those of the manifest that were never tried" in " ".join(
        motif("retry", "--help")[1].replace("│", " ").split()
    )


def test_stats_explain_and_calibrate(motif: Motif, sprites_dataset: Path) -> None:
    assert json.loads(motif("dataset", "stats", sprites_dataset)[1])["clips"] == 16
    assert "flow.estimator: dis" in motif("dataset", "explain", sprites_dataset)[1]
    status, out, _ = motif("dataset", "explain", sprites_dataset, "--recipe", "sprites")
    assert status == 0
    assert "needs a new dataset (another --out), because\n  frames: 8 -> 16\n  height: 128 -> 256" in out
    status, out, error = motif("calibrate", sprites_dataset, "--limit", "4")
    assert json.loads(out)["clips"] == 4
    assert "0.15 diagonal" in error.replace("\n", " ") or "0.15" in error
    assert "normalisation" in error.split("pixels", maxsplit=1)[0]
    assert motif("calibrate", sprites_dataset, "--artifact", "latent")[0] == 2


def test_filter_writes_a_view_and_refuses_an_empty_one(motif: Motif, sprites_dataset: Path, tmp_path: Path) -> None:
    ids = pq.read_table(sprites_dataset / "clips", columns=["clip_id"])[0].to_pylist()[:5]
    (tmp_path / "ids.txt").write_text("\n".join(ids))
    view = tmp_path / "view.json"
    status, out, _ = motif("dataset", "filter", sprites_dataset, "--ids", tmp_path / "ids.txt", "--out", view)
    assert (status, json.loads(out)["clips"]) == (0, 5)
    assert set(json.loads(view.read_text())["artifacts"]) == {"heatmaps", "latents", "text"}
    for command in (["dataset", "stats"], ["dataset", "explain"], ["inspect"], ["calibrate"], ["retry"]):
        status, _, error = motif(*command, view)
        assert status == 2
        assert f"{view} is a view of {sprites_dataset}; give the dataset." in error
    view.unlink()
    status, _, error = motif("dataset", "filter", sprites_dataset, "--where", "mean_intensity>=999", "--out", view)
    assert status == 2
    assert "no clip of" in error
    assert not view.exists()
    status, _, error = motif("dataset", "filter", sprites_dataset, "--where", "motion>1", "--out", view)
    assert status == 2
    assert "there is no column motion" in error


def test_inspect_refuses_rules_that_no_clip_meets(motif: Motif, sprites_dataset: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("as it was")
    status, _, error = motif("inspect", sprites_dataset, "--out", page, "--where", "moving_share>=2")
    assert status == 2
    assert f"no clip of {sprites_dataset} meets all of: moving_share>=2. Relax a rule." in error
    assert page.read_text() == "as it was"


def test_merge_diff_and_recaption(motif: Motif, sprites_dataset: Path, sprites_folder: Path, tmp_path: Path) -> None:
    merged = tmp_path / "merged"
    status, out, _ = motif("dataset", "merge", sprites_dataset, sprites_dataset, "--out", merged)
    assert (status, json.loads(out)["clips"], json.loads(out)["duplicates"]) == (0, 16, 16)
    found = json.loads(motif("dataset", "diff", sprites_dataset, merged)[1])
    assert (found["clips_in_both"], found["values"]["latents"]["different"]) == (16, 0)
    copy = Path(shutil.copytree(sprites_dataset, tmp_path / "copy"))
    lines = (sprites_folder / "manifest.csv").read_text().splitlines()
    manifest = sprites_folder / "other.csv"
    manifest.write_text("\n".join([lines[0], *(line.replace("the ", "a ", 1) for line in lines[1:])]))
    status, out, error = motif("dataset", "recaption", copy, "--manifest", manifest)
    manifest.unlink()
    assert (status, json.loads(out)["recaptioned"] > 0) == (0, True)
    assert "run `motif preprocess` again" in error
    # A merged dataset has no record of a run to repeat.
    assert motif("retry", merged)[0] == 2


def test_compact_says_how_many_parts_there_were_and_are(motif: Motif, sprites_dataset: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(sprites_dataset, tmp_path / "copy"))
    before = len(list((copy / "clips").iterdir()))
    status, out, error = motif("dataset", "compact", copy, "--part-rows", "64")
    assert status == 0
    assert (json.loads(out)["parts_before"]["clips"], json.loads(out)["parts"]["clips"]) == (before, 1)
    assert f"clips: {before} parts become 1\n" in error
    assert json.loads(motif("dataset", "stats", copy)[1])["clips"] == 16
    status, _, error = motif("dataset", "compact", copy, "--below", "1")
    assert (status, error) == (2, "motif: --below 1: must be at least 2 and at most --part-rows, 256.\n")


def test_commands_that_need_no_torch_start_without_it() -> None:
    code = "import sys, infra.commands.dataset; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
