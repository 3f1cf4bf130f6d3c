"""A network that cannot be compiled: the run says so in a sentence, or goes on as if it had never been asked."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from base.errors import InputError
from base.storage.folder import Folder
from tests.conftest import ROOT
from tests.training.runs import losses, same, toy_job, train_here, weights
from training.loop.compiling import compile_network, compiling_explained
from training.options import Hardware

Graph = torch.fx.GraphModule


class Broken:
    """A backend that fails from its n-th graph on, as a missing C++ compiler does from the first one on."""

    def __init__(self, first: int) -> None:
        self.first, self.graphs = first, 0

    def __call__(self, graph: Graph, inputs: list[Tensor]) -> Callable[..., object]:
        self.graphs += 1
        if self.graphs >= self.first:
            raise FileNotFoundError("No working C++ compiler\nwas found.\n\nA hint.")
        return graph.forward


class Halves(nn.Module):
    """Dropout, a break between two graphs, dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.dropout(self.between(self.dropout(self.layer(x))) * 3)
        return out

    @torch.compiler.disable
    def between(self, x: Tensor) -> Tensor:
        return x


@pytest.fixture(autouse=True)
def nothing_compiled() -> None:
    torch.compiler.reset()


def gradient(network: nn.Module, rows: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(3)
    out = network(torch.ones(rows, 8))
    network.zero_grad()
    torch.autograd.backward(out.square().sum())
    found = next(network.parameters()).grad
    assert found is not None
    return out.detach(), found.clone()


@pytest.mark.filterwarnings("default")  # a warning as an error would itself end a compilation
@pytest.mark.parametrize("first", [1, 2, 3])
def test_it_goes_on_as_if_nothing_had_been_compiled(first: int) -> None:
    """Also if the first half had run, and drawn random numbers, before the second one failed, or in a later shape."""
    torch.manual_seed(0)
    network, lines, broken = Halves(), list[str](), Broken(first)
    expected = [gradient(network, rows) for rows in (2, 5, 2)]
    compile_network(network, lines.append, optional=True, backend=broken)
    for rows, (out, grad) in zip((2, 5, 2), expected, strict=True):
        again = gradient(network, rows)
        assert torch.equal(again[0], out)
        assert torch.equal(again[1], grad)
    assert broken.graphs == first
    (line,) = lines
    assert "No working C++ compiler was found.); going on without" in line
    assert "A hint" not in line


def test_without_leave_a_sentence_says_what_to_do() -> None:
    network = Halves()
    compile_network(network, lambda line: None, optional=False, backend=Broken(1))
    told = r"C\+\+ compiler was found.*--hardware.no-compile.*--hardware.compile-optional"
    with pytest.raises(InputError, match=told), compiling_explained():
        network(torch.ones(2, 8))


def test_what_cannot_be_meant() -> None:
    with pytest.raises(ValueError, match=r"hardware.compile_optional: nothing is compiled"):
        Hardware(compile_optional=True)


RUN = """
import sys
from pathlib import Path
from base.errors import InputError
from base.storage.folder import Folder
from dataclasses import replace
from tests.training.runs import TOY, toy_job, train_here
from training.options import Samples
data, out, optional = sys.argv[1:]
hardware = replace(TOY.hardware, compile=True, compile_optional=bool(optional))
job = toy_job(Folder(data), out, hardware=hardware, samples=Samples(every=2, num=1, steps=1))
try:
    train_here(job)
except InputError as error:
    print(error)
    sys.exit(2)
"""


@pytest.mark.slow
def test_a_run_on_a_machine_without_a_compiler(toy_dataset: Folder, tmp_path: Path) -> None:
    """With torch's own compiler, which finds no C++ compiler; samples are made with the same network."""
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "CXX": "/nowhere/c++",
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"),
    }

    def run(name: str, optional: str) -> subprocess.CompletedProcess[str]:
        args = [sys.executable, "-c", RUN, toy_dataset.uri, str(tmp_path / name), optional]
        return subprocess.run(args, cwd=ROOT, env=environment, capture_output=True, text=True)

    ended = run("ended", "")
    assert ended.returncode == 2, ended.stderr[-2000:]
    assert "hardware.compile: the network could not be compiled" in ended.stdout
    went_on = run("went_on", "yes")
    assert went_on.returncode == 0, went_on.stderr[-2000:]
    train_here(toy_job(toy_dataset, tmp_path / "plain"))
    assert losses(tmp_path / "went_on") == losses(tmp_path / "plain")
    assert same(weights(tmp_path / "went_on"), weights(tmp_path / "plain"))
