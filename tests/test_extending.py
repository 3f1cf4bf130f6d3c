"""What docs/extending.md and docs/architecture.md say is true."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from base.storage.folder import Folder
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
    (code,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs/extending.md").read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "my_project").mkdir()
    (tmp_path / "my_project" / "recipes.py").write_text(code)
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


def command(folder: Path, *args: str) -> "subprocess.CompletedProcess[str]":
    script = str(Path(sys.executable).parent / "motif")
    found = os.environ | {"PYTHONPATH": "."}
    return subprocess.run([script, *args], cwd=folder, capture_output=True, text=True, env=found)
