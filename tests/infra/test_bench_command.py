"""`motif bench`: with the toy, killed and resumed; what others made; mistakes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import av
import pytest

from evaluation.bench.dataset import Bench
from infra.toy import MODEL
from tests.evaluation.bench.small import NAMES, write_dataset
from tests.infra.conftest import Motif

PAIRS = 8  # of a stand-in that has few


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A list of pairs for a small stand-in."""
    rows = [f"dog{number // 2},a_dog_runs_{number}_times\n" for number in range(PAIRS)]
    path = tmp_path_factory.mktemp("pairs") / "pairs.csv"
    path.write_text("image_id,prompt_slug\n" + "".join(rows))
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}


@pytest.mark.slow
def test_the_toy_killed_and_resumed(motif: Motif, few: Path, tmp_path: Path) -> None:
    """The driver of two Ray workers is killed after its first video; in the end all is as if nothing had happened."""
    data = tmp_path / "data"
    assert motif("bench", "ti2v", "--stand-in", data, "--pairs", few)[0] == 0
    args = ["bench", "ti2v", "--model", MODEL, "--data", data, "--allow-deviations", "--steps", "4", "--device", "cpu"]
    status, out, error = motif(*args, "--out", tmp_path / "undisturbed")
    assert status == 0, error
    assert json.loads(out)["made"] == PAIRS
    expected = contents(tmp_path / "undisturbed")
    assert len(expected) == PAIRS + 2

    killed = tmp_path / "killed"
    command = [Path(sys.executable).parent / "motif", *args, "--out", killed, "--workers", "2"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "RAY_"))}
    with subprocess.Popen(
        [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as run:
        assert run.stderr is not None
        said = next((line for line in run.stderr if f"of {PAIRS} videos made" in line), "")
        run.send_signal(signal.SIGKILL)
        run.communicate()
    assert run.returncode == -signal.SIGKILL, said
    there = {path.name: path.stat().st_mtime_ns for path in killed.glob("*.mp4")}
    assert 0 < len(there) < PAIRS
    assert all(path.read_bytes() == expected[path.name] for path in killed.glob("*.mp4"))

    status, out, error = motif(*args, "--out", killed)
    assert status == 0, error
    assert json.loads(out)["made"] == PAIRS - len(there)
    assert contents(killed) == expected
    assert {name: (killed / name).stat().st_mtime_ns for name in there} == there
    with av.open(killed / "dog0_a_dog_runs_0_times_0.mp4") as container:
        stream = container.streams.video[0]
        assert (stream.frames, stream.height, stream.width, stream.average_rate) == (16, 320, 320, 8)


def test_others_videos_are_accepted(motif: Motif, tmp_path: Path) -> None:
    """Two models' videos, generated under two seeds, meet in metrics and a study."""
    data = write_dataset(tmp_path / "data")
    args = ["bench", "ti2v", "--data", data, "--allow-deviations", "--size", "64", "--frames", "4", "--fps", "4"]
    ours = ["--model", MODEL, "--device", "cpu", "--steps", "1"]
    for seed in (0, 5):
        status, _, error = motif(*args, *ours, "--out", tmp_path / f"seed{seed}", "--seed", seed)
        assert status == 0, error
    assert "deviates from TI2V-Bench: 5 pairs instead of 320" in error
    given = tmp_path / "seed5"
    status, out, error = motif(*args, "--videos", given, "--out", tmp_path / "other")
    assert status == 0, error
    told = json.loads(out)
    assert (told["accepted"], told["missing"], len(told["deviations"])) == (5, [], 4)
    tables = [(tmp_path / name / "prompts.csv").read_bytes() for name in ("seed0", "other")]
    assert tables[0] == tables[1]
    study = ["study", "create", tmp_path / "seed0", tmp_path / "other", "--out", tmp_path / "study", "--gold", "2"]
    status, out, error = motif(*study, "--prompts", tmp_path / "seed0" / "prompts.csv")
    assert status == 0, error
    assert json.loads(out)["pairs"] == 5
    status, out, error = motif("metrics", tmp_path / "other", "--prompts", tmp_path / "other" / "prompts.csv")
    assert status == 0, error
    assert json.loads(out)["count"] == 5

    (given / f"{NAMES[1]}_5.mp4").unlink()
    status, out, error = motif(*args, "--videos", given, "--out", tmp_path / "incomplete")
    assert status == 5
    assert json.loads(out)["missing"] == [NAMES[1]]
    assert f"1 missing: {NAMES[1]}\n" in error
    assert error.splitlines()[-1].startswith(f"motif: --videos {given}: 1 of 5 pairs have no usable video.")


def test_the_stand_in(motif: Motif, few: Path, tmp_path: Path) -> None:
    status, out, _ = motif("bench", "ti2v", "--stand-in", tmp_path / "data", "--pairs", few)
    assert (status, json.loads(out)) == (0, {"data": str(tmp_path / "data"), "pairs": PAIRS})
    assert len(Bench.read(tmp_path / "data").pairs) == PAIRS
    given = ["--data", tmp_path / "data", "--out", tmp_path / "out"]
    status, out, error = motif("bench", "ti2v", "--model", MODEL, *given)
    assert (status, out) == (2, "")
    assert "not TI2V-Bench as it was published: 8 pairs instead of 320; 4 images instead of 88" in error
    assert not (tmp_path / "out").exists()


def test_help(motif: Motif) -> None:
    assert "ti2v" in motif("bench", "--help")[1]
    status, out, _ = motif("bench", "ti2v", "--help")
    assert status == 0
    assert all(option in out for option in ("--model", "--videos", "--stand-in", "--guidance"))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["ti3v"], "motif bench ti3v: unknown subcommand; choose from ti2v."),
        (["ti2v"], "give one of --model"),
        (["ti2v", "--model", "m", "--videos", "v", "--data", "d", "--out", "o"], "give one of --model"),
        (["ti2v", "--model", "m", "--stand-in", "s"], "give one of --model"),
        (["ti2v", "--model", "m"], "--data is missing"),
        (["ti2v", "--model", "m", "--data", "d"], "--out is missing: give a folder on this machine"),
        (["ti2v", "--model", "m", "--data", "d", "--out", "s3://b/o"], "--out s3://b/o: give a folder on this machine"),
        (["ti2v", "--model", "m", "--data", "d", "--out", "o", "--pairs", "p"], "--pairs p: only --stand-in uses it"),
        (["ti2v", "--videos", "v", "--data", "d", "--out", "o", "--num", "2"], "--num: only --model uses it"),
        (["ti2v", "--model", "m", "--data", "d", "--out", "o", "--num", "0"], "--num 0: must be at least 1"),
        (["ti2v", "--model", "m", "--data", "d", "--out", "o", "--workers", "-1"], "--workers -1: must be at least 0"),
        (["ti2v", "--model", "m", "--data", "d", "--out", "o", "--size", "7"], "--size 7: must be even"),
        (["ti2v", "--model", "m", "--data", "d", "--out", "o"], "--data d: there is no such folder"),
        (["ti2v", "--model", "m", "--data", "{}", "--out", "o"], "not TI2V-Bench as it was published"),
        (["ti2v", "--model", "m", "--data", "{}", "--out", "o", "--allow-deviations"], "m: neither a run nor a model"),
        (["ti2v", "--videos", "v", "--data", "{}", "--out", "o", "--allow-deviations"], "--videos v: there is no such"),
        (
            ["ti2v", "--model", "m", "--data", "{}", "--out", "o", "--allow-deviations", "--seed", "-1"],
            "--seed -1: must be from 0",
        ),
        (
            ["ti2v", "--model", "m", "--data", "{}", "--out", "o", "--allow-deviations", "--batch", "0"],
            "--batch 0: must be at least 1",
        ),
    ],
)
def test_a_mistake_gets_one_sentence(
    motif: Motif, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], message: str
) -> None:
    data = write_dataset(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    status, out, error = motif("bench", *(part.format(data) for part in args))
    *reports, last = error.splitlines()
    assert (status, out) == (2, "")
    assert message in last
    assert all(line.startswith("the dataset deviates from TI2V-Bench: ") for line in reports)
    assert not (tmp_path / "o").exists()
