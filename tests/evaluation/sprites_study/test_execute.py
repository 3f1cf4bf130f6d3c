"""A study from nothing to its report, at the smallest size."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from evaluation.sprites_study.execute import execute
from evaluation.sprites_study.sizes import Size, cpu
from evaluation.sprites_study.study import Study
from infra import cli
from models.videocrafter2.backbone import VideoCrafter2
from pipeline.recipes import Resources
from pipeline.sprites.world import World
from pipeline.video.sampling import Sampling
from training.options import Samples


def quiet(line: str) -> None:
    del line


def tiny() -> Size:
    usual = cpu()
    world = World(96, 96, frames=9, kinds=("moves",), clear=True)
    sizes = VideoCrafter2(
        start="", block_out_channels=(8, 8), layers_per_block=1, attention_head_dim=8, norm_num_groups=4
    )
    features = replace(
        usual.features,
        height=96,
        width=96,
        sampling=Sampling(frames=4, min_stride=2, max_stride=2),
        resources=Resources(featurizers=1),
    )
    train = replace(
        usual.train, network=sizes, steps=2, batch=4, samples=Samples(every=0, num=1, steps=2, guidance=1.5)
    )
    return replace(
        usual, world=world, clips=8, images=2, held_out_prompts=2, features=features, train=train, validated=4
    )


@pytest.mark.slow
def test_a_study_is_done_once_and_grows(ray_cluster: None, tmp_path: Path) -> None:
    study = Study(tmp_path / "study", tiny(), ("none", "motif"), (0,))
    page = execute(study, 0, ["motif study-sprites"], quiet)
    text = page.read_text()
    assert text.count("<video") == 4 * (1 + 2)  # ground truth and two arms
    assert "data:image/png" in text
    assert "| none: no motion loss" in (study.out / "report.md").read_text()
    made = {path: path.stat().st_mtime_ns for path in study.out.rglob("*.mp4")}
    weights = {path: path.stat().st_mtime_ns for path in study.out.rglob("*.safetensors")}
    larger = replace(study, arms=("none", "motif", "cx-attn", "delta"))
    execute(larger, 2, ["motif study-sprites"], quiet)
    assert {path: path.stat().st_mtime_ns for path in made} == made
    assert {path: path.stat().st_mtime_ns for path in weights} == weights
    found = json.loads((study.out / "results.json").read_text())
    assert list(found["arms"]) == ["none", "motif", "delta", "cx-attn"]
    assert found["missing"] == []
    assert found["controls"]["ground truth"]["right"]["value"] == 1
    assert [run["step"] for arm in found["arms"].values() for run in arm["runs"]] == [2] * 4


def test_a_dry_run_prints_the_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["study-sprites", "--out", str(tmp_path / "s"), "--arms", "none", "ltd", "--seeds", "0", "2", "--dry-run"]
    assert cli.run([*args, "--steps", "7"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["runs"] == ["none-seed0", "none-seed2", "ltd-seed0", "ltd-seed2"]
    assert found["size"]["train"]["steps"] == 7
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "--out is missing"),
        (["--out", "s", "--arms", "lamda"], "--arms lamda: choose from none motif"),
        (["--out", "s", "--seeds", "1", "1"], "--seeds 1 1: give one or more different ones"),
        (["--out", "s", "--workers", "-1"], "--workers -1"),
        (["--out", "s", "--steps", "0"], "--steps 0: must be at least 1"),
        (["--out", "s", "--clips", "0"], "--clips 0: must be at least 1"),
    ],
)
def test_mistakes(args: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["study-sprites", *args]) == 2
    assert said in capsys.readouterr().err
