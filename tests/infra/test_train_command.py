"""``motif train`` on the command line."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from base.storage.folder import Folder
from tests.training.datasets import Toy, write_toy

Motif = Callable[..., tuple[int, str, str]]
SMALL = [
    "--network.block-out-channels",
    "8",
    "16",
    "--network.attention-head-dim",
    "8",
    "--network.norm-num-groups",
    "4",
]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_toy(Folder(str(tmp_path_factory.mktemp("train") / "data"))).uri


def arguments(dataset: str, run: Path, *more: str) -> list[str]:
    return ["train", "sprites", "--data", dataset, "--out", str(run), *SMALL, "--samples.every", "0", *more]


def test_training_twice_goes_on(motif: Motif, dataset: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    status, out, said = motif(*arguments(dataset, run, "--steps", "2"))
    assert status == 0, said
    assert json.loads(out)["step"] == 2
    assert "step      2 of 2" in said
    status, out, said = motif(*arguments(dataset, run, "--steps", "3"))
    assert (status, json.loads(out)["step"]) == (0, 3)
    assert "resuming from step 2" in said
    status, out, said = motif(*arguments(dataset, run, "--steps", "3"))
    assert status == 0
    assert "is already at step 3" in said


def test_the_record_of_a_run_starts_another(motif: Motif, dataset: str, tmp_path: Path) -> None:
    motif(*arguments(dataset, tmp_path / "first", "--steps", "1"))
    config = str(tmp_path / "first" / "config.json")
    status, _, said = motif("train", "--config", config, "--data", dataset, "--out", str(tmp_path / "second"))
    assert status == 0, said
    first, second = (json.loads((tmp_path / name / "config.json").read_text()) for name in ("first", "second"))
    assert first == second


def test_heatmaps_of_another_normalisation(motif: Motif, dataset: str, tmp_path: Path) -> None:
    """With a centre that no intensity reaches, heatmaps are dark and the motion term is 0; nothing else changes."""
    dark = ["--artifacts.normalisation.centre", "1", "--artifacts.normalisation.fraction=100"]
    lines = {}
    for name, more in (("own", []), ("dark", dark)):
        status, _, said = motif(*arguments(dataset, tmp_path / name, "--steps", "1", *more))
        assert status == 0, said
        lines[name] = json.loads((tmp_path / name / "metrics.jsonl").read_text())
    assert lines["own"]["motion"] > 0
    assert lines["dark"]["motion"] == 0
    assert lines["dark"]["loss"] == lines["dark"]["plain"] == lines["own"]["plain"]
    status, _, said = motif(*arguments(dataset, tmp_path / "dark", "--steps", "2"))
    assert (status, "artifacts.normalisation" in said) == (2, True)  # it is not resumed with other heatmaps
    status, _, said = motif(*arguments(dataset, tmp_path / "dark", "--steps", "2", *dark))
    assert status == 0, said


@pytest.mark.parametrize("more", [("--dry-run",), ("--steps", "1")])
def test_clips_that_lack_an_artifact_are_told(motif: Motif, tmp_path: Path, more: tuple[str, ...]) -> None:
    dataset = write_toy(Folder(str(tmp_path / "data")), Toy(failed={"latents": {1, 2}}))
    status, _, said = motif(*arguments(dataset.uri, tmp_path / "run", *more))
    assert status == 0, said
    assert f"{dataset.uri}: of its clips 2 lack latents, and are left out. Run its `motif preprocess`" in said


def test_a_dry_run_writes_nothing(motif: Motif, dataset: str, tmp_path: Path) -> None:
    status, out, said = motif(*arguments(dataset, tmp_path / "run", "--dry-run"))
    assert status == 0, said
    assert json.loads(out)["steps"] == 200
    assert "12 clips" in said
    assert "GiB per worker" in said
    assert not (tmp_path / "run").exists()


def test_a_dry_run_says_what_fits_the_gpu(motif: Motif, dataset: str, tmp_path: Path) -> None:
    status, _, said = motif(*arguments(dataset, tmp_path / "run", "--dry-run", "--gpu", "L4"))
    assert status == 0, said
    lines = said[said.index("fits       L4 with 22 GiB, 4 clips at a time") :].splitlines()
    assert len(lines) == 4
    for line, options in zip(lines[1:], ("no-checkpointing", "recompute cheap", "recompute all"), strict=True):
        assert line.strip().startswith("fits ")
        assert f"{options}: 0.0 GiB, 0.0 TFLOP" in line
        assert ("the fastest that fits" in line) == (options == "no-checkpointing")
    status, _, said = motif(*arguments(dataset, tmp_path / "run", "--dry-run", "--gpu", "H1000"))
    assert (status, "--gpu H1000: must be one of A100, H100" in said) == (2, True)
    status, _, said = motif(*arguments(dataset, tmp_path / "run", "--gpu", "L4"))
    assert (status, "--gpu L4: it is for the estimate of --dry-run" in said) == (2, True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "recipe",
    [
        *("motif", "no_motif", "inverse_motif", "motif_sam2", "lambda_5", "cx_attn", "xcat_cxattn"),
        *("t2v_motif", "motif_level", "one_gpu"),
    ],
)
def test_the_full_size_is_estimated_anywhere(motif: Motif, recipe: str) -> None:
    status, _, said = motif("train", recipe, "--dry-run")
    assert status == 0, said
    assert "1,4" in said  # 1.4 billion parameters
    assert "h for 32,000 steps" in said


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--steps", "0"], "steps 0"),
        (["--batch", "5", "--workers", "2"], "the workers must divide the batch"),
        (["--artifacts.heatmaps", "other"], "artifact 'other' is not in the dataset"),
        (["--network.start", "/nowhere/model"], "there is no such folder"),
        (["--loss.wieght", "1"], "loss.weight"),
        (
            ["--network.motion-level"],
            "nothing in it holds mean_ssim, of which motion levels are made. Add the heatmaps",
        ),
    ],
)
def test_wrong_options_are_told_in_one_sentence(
    motif: Motif, dataset: str, tmp_path: Path, more: list[str], told: str
) -> None:
    status, out, said = motif(*arguments(dataset, tmp_path / "run", *more))
    assert status == 2
    assert told in said
    assert "Traceback" not in said
    assert not out
    assert not (tmp_path / "run").exists()


def test_what_is_missing_is_named(motif: Motif, dataset: str, tmp_path: Path) -> None:
    for args, told in (
        (["train", "sprites", "--out", str(tmp_path / "run")], "--data"),
        (["train", "sprites", "--data", dataset], "--out"),
        (["train", "sprites", "--data", str(tmp_path), "--out", str(tmp_path / "run")], "is not a dataset"),
        (["train", "sprits"], "Did you mean sprites?"),
    ):
        status, _, said = motif(*args)
        assert status == 2
        assert told in said


def test_what_can_be_seen_early_is_refused_before_torch_is_loaded(tmp_path: Path) -> None:
    code = """
import sys
from infra import cli
for line in sys.argv[1:]:
    assert cli.run(line.split()) == 2, line
assert "torch" not in sys.modules
"""
    nowhere = tmp_path / "nowhere"
    lines = {
        "train sprits": "Did you mean sprites?",
        "train --steps 3": "the recipe comes first",
        "train sprites --out x": "--data is missing: give at least one",
        "train sprites --data a --steps 2": "--out is missing",
        f"train sprites --data {nowhere} --out x": f"{nowhere} is not a dataset",
        f"train sprites --out=x --data={nowhere}": f"{nowhere} is not a dataset",
        f"train sprites --dry-run --data {nowhere}": f"{nowhere} is not a dataset",
    }
    done = subprocess.run([sys.executable, "-c", code, *lines], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = done.stderr.splitlines()
    assert len(said) == len(lines)
    for line, told in zip(said, lines.values(), strict=True):
        assert told in line


def test_an_interrupt_tells_where_the_same_command_goes_on(
    motif: Motif, dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    def report(line: str) -> None:
        said.append(line)
        if line.startswith("step      3"):
            raise KeyboardInterrupt

    monkeypatch.setattr("infra.commands.train.report", report)
    status, out, _ = motif(*arguments(dataset, tmp_path / "run", "--steps", "5", "--saves.every", "2"))
    assert (status, out) == (130, "")
    assert said[-1] == "motif: interrupted at step 3; the same command resumes from step 2."
    status, out, _ = motif(*arguments(dataset, tmp_path / "other", "--steps", "5"))
    assert (status, out) == (130, "")
    assert said[-1] == "motif: interrupted at step 3, before a checkpoint; the same command starts over."
