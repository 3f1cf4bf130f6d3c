"""Recipes on the command line: by name, as a user's function, or from a run's file."""

import ast
import difflib
import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from base.config import load
from base.errors import InputError
from base.storage.folder import Folder
from base.storage.uri import is_remote

Config = TypeVar("Config")


ROOT = Path(__file__).parents[1]


TRAINING = ("training.recipes", "training.wan_recipes")
"""The modules with the recipes of ``motif train``."""


def summaries(*modules: str) -> dict[str, str]:
    """The recipes of some of our modules, each with its summary line. Parsed, since importing would take seconds."""
    return {name: line for module in modules for name, line in _summaries(module).items()}


def _summaries(module: str) -> dict[str, str]:
    tree = ast.parse((ROOT / module.replace(".", "/")).with_suffix(".py").read_text())
    made = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    (table,) = (node for node in tree.body if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "RECIPES")
    named = [node.id for node in ast.walk(table) if isinstance(node, ast.Name) and node.id in made]
    return {name: (ast.get_docstring(made[name]) or "").splitlines()[0] for name in named}


def usage(text: str, *modules: str) -> str:
    """A command's usage, with the recipes of modules in place of ``{recipes}``."""
    return text.format(recipes="\n".join(f"  {name:<15} {line}" for name, line in summaries(*modules).items()))


def chosen(
    args: Sequence[str], recipes: Mapping[str, Callable[[], Config]], kind: type[Config]
) -> tuple[Config, list[str]]:
    """The configuration that the first arguments name, and the arguments after them."""
    if args[0] != "--config":
        if args[0].startswith("-"):
            raise InputError(f"the recipe comes first: one of {', '.join(recipes)}, or --config FILE.json.")
        return named(args[0], recipes, kind), list(args[1:])
    if len(args) < 2:
        raise InputError("--config: give the JSON file of a recipe.")
    return from_file(args[1], kind), list(args[2:])


def named(name: str, recipes: Mapping[str, Callable[[], Config]], kind: type[Config]) -> Config:
    """The configuration of a recipe by name, or by ``package.module:function``."""
    if name in recipes:
        return recipes[name]()
    module, _, function = name.partition(":")
    if not function:
        close = difflib.get_close_matches(name, recipes, 1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise InputError(
            f"recipe '{name}' does not exist.{hint} There are {', '.join(recipes)}, or package.module:function."
        )
    try:
        made = getattr(importlib.import_module(module), function)()
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise InputError(f"recipe '{name}' cannot be loaded: {error}") from error
    if not isinstance(made, kind):
        raise InputError(f"recipe '{name}' returns {type(made).__name__}, not {kind.__module__}.{kind.__name__}")
    return made


def from_file(name: str, kind: type[Config]) -> Config:
    """The configuration in a JSON file, by itself or inside a run's record."""
    try:
        data: Any = json.loads(_read(name))
    except (OSError, json.JSONDecodeError) as error:
        raise InputError(f"--config {name} cannot be read: {error}.") from error
    for key in ("recipe", "config"):  # its key in a run's record
        data = data.get(key, data) if isinstance(data, dict) else data
    config = load(json.dumps(data))
    if not isinstance(config, kind):
        raise InputError(f"--config {name} does not hold a configuration of {kind.__module__}.{kind.__name__}.")
    return config


def _read(name: str) -> str:
    """The content of a local or remote file."""
    if not is_remote(name):
        return Path(name).read_text()
    folder, _, file = name.rpartition("/")
    return Folder(folder).read(file).decode()
