"""Types on disk have names that outlive where their classes are."""

import dataclasses
import importlib
import inspect
import json
import typing
from collections.abc import Iterator
from typing import Any

import pytest

import pipeline.recipes
import training.recipes
import training.wan_recipes
from base.config import load, to_json
from base.stored_types import EARLIER, TYPES, stored_name, stored_place, with_names
from models.card import ModelCard
from tests.conftest import ROOT


def class_at(place: str) -> type[Any]:
    module, _, name = place.partition(":")
    kind = getattr(importlib.import_module(module), name)
    assert dataclasses.is_dataclass(kind)
    return kind  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", TYPES)
def test_a_name_finds_its_class_and_a_class_its_name(name: str) -> None:
    assert stored_name(class_at(stored_place(name))) == name


def test_what_was_written_before_names_is_found() -> None:
    for earlier, name in EARLIER.items():
        assert stored_place(earlier) == TYPES[name]


def configurations(kind: Any, found: dict[str, type[Any]]) -> dict[str, type[Any]]:
    """All dataclasses that a configuration may hold."""
    if dataclasses.is_dataclass(kind) and isinstance(kind, type) and stored_name(kind) not in found:
        if not inspect.isabstract(kind):
            found[stored_name(kind)] = kind
        for hint in typing.get_type_hints(kind).values():
            configurations(hint, found)
    for part in typing.get_args(kind):
        configurations(part, found)
    return found


def types_in(data: Any) -> Iterator[str]:
    if isinstance(data, dict):
        yield from ([data["type"]] if "type" in data else [])
        for value in data.values():
            yield from types_in(value)
    elif isinstance(data, list):
        for value in data:
            yield from types_in(value)


def test_all_that_is_written_has_a_name() -> None:
    """What recipes and model cards can hold, and what each recipe does hold."""
    found: dict[str, type[Any]] = {}
    for kind in (pipeline.recipes.Preprocess, training.recipes.Train, ModelCard):
        configurations(kind, found)
    assert set(found) <= TYPES.keys()
    for module in (pipeline.recipes, training.recipes, training.wan_recipes):
        recipes = [
            each for _, each in inspect.getmembers(module, inspect.isfunction) if each.__module__ == module.__name__
        ]
        named = [recipe for recipe in recipes if not inspect.signature(recipe).parameters and recipe.__name__[0] != "_"]
        assert len(named) > 1
        for recipe in named:
            assert set(types_in(to_json(recipe()))) <= TYPES.keys()


def test_old_and_new_names_are_the_same_configuration() -> None:
    """The toy's card was written before there were names."""
    text = (ROOT / "infra" / "toy" / "model" / "motif.json").read_text()
    assert any(":" in name for name in types_in(json.loads(text)))
    card = load(text)
    assert isinstance(card, ModelCard)
    assert load(json.dumps(with_names(json.loads(text)))) == card
