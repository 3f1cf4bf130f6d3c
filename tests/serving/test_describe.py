"""What a server says of a model folder before it loads it."""

from dataclasses import replace
from pathlib import Path

import pytest

from diffusion.errors import WeightsError
from diffusion.model_folder import ModelCard, save_model
from diffusion.process.options import Sampling, SamplingChanges
from serving.describe import describe
from tests.diffusion.test_generation import FACTS
from tests.diffusion.unet.models import small


@pytest.fixture
def folder(tmp_path: Path) -> str:
    facts = replace(FACTS, sampling=Sampling(steps=12, guidance=1.5))
    save_model(tmp_path / "model", small(image_condition="x-cat"), ModelCard(facts))
    return str(tmp_path / "model")


def test_a_request_that_says_nothing_is_sampled_as_the_model_says(folder: str) -> None:
    shown = describe("m", folder).shown(1)["capabilities"]["default"]
    assert (shown["num_inference_steps"], shown["guidance_scale"]) == (12, 1.5)


def test_a_server_may_say_otherwise(folder: str) -> None:
    found = describe("m", folder, SamplingChanges(steps=5))
    assert found.defaults == Sampling(steps=5, guidance=1.5)


def test_a_model_of_which_a_part_is_missing(folder: str) -> None:
    (Path(folder) / "unet" / "config.json").unlink()
    with pytest.raises(WeightsError, match=r"there is no unet/config\.json"):
        describe("m", folder)
