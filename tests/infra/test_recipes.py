"""Recipes by name, by function and from the records of runs."""

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import pipeline.recipes
import training.recipes
import training.wan_recipes
from base.config import to_json
from base.errors import InputError
from infra.recipes import chosen, from_file, named, summaries
from pipeline.recipes import RECIPES, Preprocess, sprites
from training.recipes import Train, motif
from training.wan_recipes import ALL as TRAINING


def small() -> Preprocess:
    """A recipe of one's own."""
    return Preprocess(features=sprites().features, height=64, width=64)


def number() -> int:
    """No recipe."""
    return 3


def test_a_recipe_by_name_or_by_function() -> None:
    assert named("sprites", RECIPES, Preprocess) == sprites()
    assert named(f"{__name__}:small", RECIPES, Preprocess) == small()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sprits", f"recipe 'sprits' does not exist. Did you mean sprites\\? There are {', '.join(RECIPES)}, or"),
        ("mine", f"recipe 'mine' does not exist. There are {', '.join(RECIPES)}, or package.module:function"),
        ("nowhere:mine", "recipe 'nowhere:mine' cannot be loaded: No module named 'nowhere'"),
        (f"{__name__}:mine", "cannot be loaded: module .* has no attribute 'mine'"),
        (":small", "recipe ':small'"),
        (".recipes:small", "recipe '.recipes:small'"),
        (f"{__name__}:number", "returns int, not pipeline.recipes.Preprocess"),
    ],
)
def test_a_recipe_that_is_none(name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        named(name, RECIPES, Preprocess)


@pytest.mark.parametrize("key", ["", "config", "recipe"])
def test_a_recipe_from_the_record_of_a_run(tmp_path: Path, key: str) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps({key: to_json(motif())} if key else to_json(motif())))
    assert chosen(["--config", str(file), "--steps", "3"], TRAINING, Train) == (motif(), ["--steps", "3"])


@pytest.mark.parametrize("text", ["[", "[1]", '{"config": 3}', json.dumps(to_json(sprites()))])
def test_files_that_hold_no_recipe(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InputError, match=r"x\.json"):
        from_file(str(tmp_path / "x.json"), Train)


@pytest.mark.parametrize("made", TRAINING.values(), ids=list(TRAINING))
def test_every_training_recipe_is_complete_and_told(made: object) -> None:
    assert callable(made)
    assert isinstance(made(), Train)
    assert made.__doc__


@pytest.mark.parametrize("module", [pipeline.recipes, training.recipes, training.wan_recipes])
def test_what_a_help_reads_of_recipes_is_what_they_are(module: ModuleType) -> None:
    firsts = {name: (made.__doc__ or "").splitlines()[0] for name, made in module.RECIPES.items()}
    assert list(summaries(module.__name__).items()) == list(firsts.items())


@pytest.mark.parametrize("command", ["preprocess", "train", "estimate"])
def test_a_help_loads_neither_torch_nor_ray(command: str) -> None:
    code = "import atexit, sys; atexit.register(lambda: print({'torch', 'ray'} & sys.modules.keys()));"
    code += "from infra.cli import run; run(sys.argv[1:])"
    done = subprocess.run([sys.executable, "-c", code, command, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("set()")
    assert "sprites" in done.stdout
