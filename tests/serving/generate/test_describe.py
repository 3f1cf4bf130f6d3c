"""What a server says of a model folder before it loads it."""

from dataclasses import replace
from pathlib import Path

import pytest

from base.errors import InputError, WeightsError
from diffusion.flow import Flow
from diffusion.options import Sampling, SamplingChanges
from diffusion.process import Process
from diffusion.schedule import Schedule
from models.card import ModelCard
from models.folder import save_model
from serving.generate.describe import describe
from serving.generate.models import ServedModel
from tests.models.facts import FACTS
from tests.models.videocrafter2.models import small


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


def test_no_more_steps_than_the_schedule_has(tmp_path: Path) -> None:
    facts = replace(FACTS, schedule=Schedule(steps=60, rescale_steps=60))
    save_model(tmp_path / "model", small(image_condition="x-cat"), ModelCard(facts))
    assert describe("m", str(tmp_path / "model")).shown(1)["capabilities"]["max_inference_steps"] == 60
    with pytest.raises(InputError, match="^--steps 61: it must be at most 60"):
        describe("m", str(tmp_path / "model"), SamplingChanges(steps=61))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (SamplingChanges(steps=500), r"^--steps 500: it must be at most 200"),
        (SamplingChanges(guidance=50.0), r"^--guidance 50\.0: it must be at most 20"),
        (SamplingChanges(spacing="leading"), r"^--spacing leading: it must be trailing"),
    ],
)
def test_what_no_request_may_say_is_no_default(tmp_path: Path, changes: SamplingChanges, said: str) -> None:
    facts = replace(FACTS, schedule=Schedule(zero_terminal_snr=True))
    save_model(tmp_path / "model", small(image_condition="x-cat"), ModelCard(facts))
    assert describe("m", str(tmp_path / "model")).spacings == ("trailing",)
    with pytest.raises(InputError, match=said):
        describe("m", str(tmp_path / "model"), changes)


def test_a_model_whose_own_defaults_no_request_may_say(tmp_path: Path) -> None:
    save_model(
        tmp_path / "model", small(image_condition="x-cat"), ModelCard(replace(FACTS, sampling=Sampling(steps=500)))
    )
    with pytest.raises(InputError, match=r"model: steps 500 of its motif\.json must be at most 200\. .* --steps"):
        describe("m", str(tmp_path / "model"))
    assert describe("m", str(tmp_path / "model"), SamplingChanges(steps=20)).defaults.steps == 20


def test_a_model_of_which_a_part_is_missing(folder: str) -> None:
    (Path(folder) / "unet" / "config.json").unlink()
    with pytest.raises(WeightsError, match=r"unet/config\.json is missing"):
        describe("m", folder)


@pytest.mark.parametrize(
    ("process", "changes", "said"),
    [
        (Flow(), SamplingChanges(eta=0.5), "eta 0.5: this model was trained with rectified flow"),
        (Flow(), SamplingChanges(solver="unipc"), "solver unipc: this model was trained with rectified flow"),
        (Schedule(rescale=0.7), SamplingChanges(solver="dpm++"), r"solver dpm\+\+: .* rescale of 0.7"),
        (
            Schedule(),
            SamplingChanges(solver="unipc", spacing="leading"),
            "spacing leading: unipc only supports trailing",
        ),
    ],
)
def test_a_sampling_that_the_process_does_not_know_is_no_default(
    tmp_path: Path, process: Process, changes: SamplingChanges, said: str
) -> None:
    save_model(tmp_path / "m", small(image_condition="x-cat"), ModelCard(replace(FACTS, schedule=process)))
    with pytest.raises(InputError, match=said):
        describe("m", str(tmp_path / "m"), changes)


def test_what_a_card_and_an_option_make_together_is_one_sentence(tmp_path: Path) -> None:
    facts = replace(FACTS, sampling=Sampling(eta=0.5))
    save_model(tmp_path / "m", small(image_condition="x-cat"), ModelCard(facts))
    with pytest.raises(InputError, match="only ddim adds noise"):
        describe("m", str(tmp_path / "m"), SamplingChanges(solver="unipc"))


@pytest.mark.parametrize(
    ("process", "changes", "takes"),
    [
        (Schedule(), SamplingChanges(), True),
        (Schedule(), SamplingChanges(solver="unipc"), False),
        (Flow(), SamplingChanges(), False),
    ],
)
def test_whether_noise_may_be_added(tmp_path: Path, process: Process, changes: SamplingChanges, takes: bool) -> None:
    save_model(tmp_path / "m", small(image_condition="x-cat"), ModelCard(replace(FACTS, schedule=process)))
    assert describe("m", str(tmp_path / "m"), changes).takes_eta is takes


def test_whether_a_motion_level_is_taken(tiny: ServedModel, leveled: ServedModel) -> None:
    of_tiny, of_leveled = (model.shown(1)["capabilities"] for model in (tiny, leveled))
    assert (of_tiny["motion_level"], of_tiny["default"]["motion_level"]) == (None, None)
    assert (of_leveled["motion_level"], of_leveled["default"]["motion_level"]) == ([1, 10], 5)


@pytest.mark.parametrize(("condition", "need"), [("x-cat", "required"), ("none", "none")])
def test_whether_a_picture_is_needed(tmp_path: Path, condition: str, need: str) -> None:
    save_model(tmp_path / "m", small(image_condition=condition), ModelCard(FACTS))
    found = describe("m", str(tmp_path / "m"))
    assert found.takes_image is (need == "required")
    assert found.shown(1)["capabilities"]["input_reference"] == need
