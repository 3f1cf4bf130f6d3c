"""A tiny model of random weights, and servers of it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from diffusion.options import SamplingChanges
from models.card import ModelCard
from models.folder import save_model
from serving.generate.describe import describe
from serving.generate.models import ServedModel
from serving.settings import Settings
from tests.models.facts import FACTS
from tests.models.videocrafter2.models import small
from tests.serving.server import Server, serve


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> ServedModel:
    """A model of 4 frames of 64 x 32 pixels, which takes 5 steps."""
    folder = save_tiny(tmp_path_factory.mktemp("serving") / "tiny")
    return describe("tiny", str(folder), SamplingChanges(steps=5))


@pytest.fixture(scope="session")
def words(tmp_path_factory: pytest.TempPathFactory) -> ServedModel:
    """A text-to-video model of the same size."""
    folder = save_tiny(tmp_path_factory.mktemp("serving") / "words", "none")
    return describe("words", str(folder), SamplingChanges(steps=4))


@pytest.fixture(scope="session")
def leveled(tmp_path_factory: pytest.TempPathFactory) -> ServedModel:
    """A model of the same size that takes a motion level."""
    folder = save_tiny(tmp_path_factory.mktemp("serving") / "leveled", motion_level=True)
    return describe("leveled", str(folder), SamplingChanges(steps=4))


def save_tiny(folder: Path, image_condition: str = "x-cat", *, motion_level: bool = False) -> Path:
    """Write the model of :func:`tiny` to a folder; returns the folder."""
    network = small(image_condition=image_condition, motion_level=motion_level)
    bounds = tuple(1 - number / 10 for number in range(9)) if motion_level else ()
    save_model(folder, network, ModelCard(replace(FACTS, frames=4, fps=(4.0, 16.0), motion_bounds=bounds)))
    return folder


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(folder=str(tmp_path / "served"), queue=8)


@pytest.fixture
def server(tiny: ServedModel, settings: Settings) -> Iterator[Server]:
    with serve([tiny], settings) as running:
        yield running


@pytest.fixture
def both(words: ServedModel, tiny: ServedModel, settings: Settings) -> Iterator[Server]:
    """A server of both models; that of text alone is the default."""
    with serve([words, tiny], settings) as running:
        yield running
