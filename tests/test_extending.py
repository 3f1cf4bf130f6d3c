"""What docs/extending.md and docs/architecture.md say is true."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from base.storage.folder import Folder
from pipeline.featurizers.base import ClipBatch
from pipeline.sprites.files import write_sprites
from pipeline.sprites.world import World
from pipeline.video.geometry import ClipShape
from tests.conftest import ROOT
from tests.training.datasets import Toy, write_toy

ROOMS = ("base", "media", "diffusion", "models", "dataset", "pipeline", "training", "serving", "evaluation", "infra")
PAGES = ("docs/architecture.md", "docs/extending.md")


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_is_named_is_there(page: str) -> None:
    named = re.findall(r"`((?:\w+/)+[\w.]*)`", (ROOT / page).read_text())
    assert len(named) > 15
    assert not [name for name in named if not (ROOT / name).exists() and not name.startswith("my_project/")]


@pytest.mark.parametrize("page", PAGES)
def test_every_name_of_code_is_there(page: str) -> None:
    """Classes and functions in backticks stand in the code."""
    code = "\n".join(path.read_text() for room in ROOMS for path in (ROOT / room).rglob("*.py"))
    named = set(re.findall(r"`(_?[A-Z][a-z]+(?:[A-Z][a-z]+)+|[A-Z]{6,}|[a-z]+_[a-z_]+)`", (ROOT / page).read_text()))
    assert not [name for name in named if not re.search(rf"\b{name}\b", code)]


def test_the_picture_of_the_rooms_is_that_of_the_code() -> None:
    spec = importlib.util.spec_from_file_location("draw_rooms", ROOT / "docs" / "draw_rooms.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    drawn = re.sub(r"stroke-width=\"[\d.]+\"|in \d+ files", "", module.draw(module.count_imports()))
    kept = re.sub(r"stroke-width=\"[\d.]+\"|in \d+ files", "", (ROOT / "docs" / "rooms.svg").read_text())
    assert drawn == kept, "run python docs/draw_rooms.py"


@pytest.mark.slow
def test_a_recipe_of_a_package_of_ones_own_trains_resumes_and_is_sampled(tmp_path: Path) -> None:
    """The code of docs/extending.md as it stands, with the command."""
    write_examples(tmp_path)
    write_toy(Folder(str(tmp_path / "data")), Toy())
    options = {"data": "data", "out": "run", "saves.every": 1, "samples.every": 0, "batch": 4}
    train = [f"--{name}={value}" for name, value in options.items()]
    for steps in ("1", "2"):
        done = command(tmp_path, "train", "my_project.recipes:mine", *train, f"--steps={steps}")
        assert done.returncode == 0, done.stderr
        assert "absolute" in done.stderr
    assert '"step": 1' in (tmp_path / "run" / "metrics.jsonl").read_text()
    Image.new("RGB", (64, 64), "teal").save(tmp_path / "a.png")
    sample = ["sample", "run", "--image", "a.png", "--prompt", "x", "--steps", "2", "--out", "a.mp4"]
    done = command(tmp_path, *sample)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.mp4").read_bytes()[4:8] == b"ftyp"


def write_examples(folder: Path) -> None:
    """The files of docs/extending.md, which name themselves in their first lines."""
    page = (ROOT / "docs/extending.md").read_text()
    for code in re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        path = folder / code.splitlines()[0].removeprefix("# ")
        path.parent.mkdir(exist_ok=True)
        path.write_text(code)


def test_the_saliency_of_the_example_finds_what_is_unusual(tmp_path: Path) -> None:
    """A disc on a pattern that repeats."""
    write_examples(tmp_path)
    frames = np.tile(np.array([[[90], [110]], [[110], [90]]], np.uint8).repeat(8, 0).repeat(8, 1), (16, 16, 3))
    shown = np.stack([cv2.circle(frames.copy(), (200 - 40 * t, 80), 20, (230, 60, 60), -1) for t in range(3)])
    name = "my_project.saliency"
    spec = importlib.util.spec_from_file_location(name, tmp_path / "my_project" / "saliency.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    feature = module.mine().features["heatmaps"]
    shape = ClipShape(2, 256, 256)
    (found,) = feature.load(shape, torch.device("cpu"))(ClipBatch(shown[None], np.array([True])))["heatmap"]
    assert found.shape == feature.columns(shape)[0].shape
    for t, cells in enumerate(found):
        row, column = np.unravel_index(cells.argmax(), cells.shape)
        assert np.hypot(column * 16 + 8 - (200 - 40 * t), row * 16 + 8 - 80) < 32
        assert np.median(cells) < cells.max() / 2


@pytest.mark.slow
def test_the_featurizer_of_the_example_is_computed_and_trained_on(tmp_path: Path) -> None:
    """With the commands of docs/extending.md, beside the heatmaps of the flow."""
    write_examples(tmp_path)
    write_sprites(tmp_path / "sprites", World(), 4, seed=0)
    data = ("--manifest", "sprites/manifest.csv", "--out", "data")
    for recipe in ("sprites", "my_project.saliency:mine"):
        done = command(tmp_path, "preprocess", recipe, *data)
        assert done.returncode == 0, done.stderr
    options = ("--data", "data", "--out", "run", "--artifacts.heatmaps", "saliency", "--steps=1", "--samples.every=0")
    done = command(tmp_path, "train", "sprites", *options)
    assert done.returncode == 0, done.stderr
    assert '"step": 0' in (tmp_path / "run" / "metrics.jsonl").read_text()


def command(folder: Path, *args: str) -> "subprocess.CompletedProcess[str]":
    script = str(Path(sys.executable).parent / "motif")
    found = os.environ | {"PYTHONPATH": "."}
    return subprocess.run([script, *args], cwd=folder, capture_output=True, text=True, env=found)
