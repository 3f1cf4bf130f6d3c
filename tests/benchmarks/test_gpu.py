"""`make bench-gpu` at toy size on a CPU: that it works, not what it measures."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.train_gpu import network, use_channels_last
from models.video_model import DataShapes, predict
from tests.conftest import ROOT


def python(*args: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, *args], cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_each_benchmark_ends_in_a_line_and_a_file(tmp_path: Path) -> None:
    done = python("-m", "benchmarks.gpu", "--device", "cpu", "--toy", "--save", str(tmp_path))
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"benchmark"')]
    assert [line["benchmark"] for line in lines] == ["raft_gpu", "train_gpu", "vae_decode", "generation"]
    assert [json.loads((tmp_path / f"{line['benchmark']}.json").read_text()) for line in lines] == lines
    assert lines[0]["mean_difference_px"] < 0.01
    assert 0 < lines[2]["mean_levels"] < lines[2]["most_levels"]
    assert [way["way"] for way in lines[1]["ways"]] == [
        *("reference style", "recomputed", "the cheap recomputed", "kept", "recomputed, fast kernels"),
        "recomputed, fast kernels, channels last",
    ]


def test_the_layout_channels_last_changes_no_result() -> None:
    """Beyond rounding: sums of a convolution are made in another order."""
    shapes = DataShapes((4, 4, 8, 8), (77, 1024))
    torch.manual_seed(0)
    model = network(shapes, torch.device("cpu")).eval()
    sample, given = torch.randn(2, *shapes.latent), {"fps": torch.tensor([8.0, 9.0])}
    given |= {"text": torch.randn(2, *shapes.text), "image_latent": torch.randn(2, 4, 8, 8)}
    found = []
    for _ in range(2):
        model.zero_grad()
        out = predict(model, sample, torch.tensor([3, 700]), given)
        out.square().mean().backward()
        gradients = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
        found.append((out.detach(), torch.cat(gradients)))  # as one: that of a bias before a norm is rounding alone
        use_channels_last(model)
    assert any(p.is_contiguous(memory_format=torch.channels_last) for p in model.parameters() if p.dim() == 4)
    for one, other in zip(*found, strict=True):
        assert (one - other).norm() < 1e-5 * one.norm()


def test_one_that_fails_has_a_line_that_says_so() -> None:
    call = "from benchmarks.gpu import run; print(run('not_there', [], None, 60))"
    line, ended = python("-c", call).stdout.splitlines()
    assert json.loads(line) == {"benchmark": "not_there", "failed": "ended with status 1; its error is above"}
    assert ended == "False"


def test_one_that_takes_too_long_is_ended() -> None:
    call = """
import sys, time, types
endless = types.ModuleType("benchmarks.endless")
endless.main = lambda: time.sleep(600)
sys.modules["benchmarks.endless"] = endless
from benchmarks.gpu import run
print(run("endless", [], None, 0.1))
"""
    line, ended = python("-c", call).stdout.splitlines()
    assert json.loads(line) == {"benchmark": "endless", "failed": "took longer than 0.1 s"}
    assert ended == "False"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--toy"], "--toy and --device cpu belong together"),
        (["--device", "cpu"], "--toy and --device cpu belong together"),
        (["--device", "cpu", "--toy", "--save"], "--save with --toy: give another folder"),
    ],
)
def test_sizes_that_say_nothing_are_refused(options: list[str], message: str) -> None:
    done = python("-m", "benchmarks.gpu", *options)
    assert done.returncode == 2
    assert message in done.stderr
