"""Whether a dataset's encoders are those of the model that is to be trained."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file

from base.errors import InputError, WeightsError
from base.storage.folder import Folder
from base.weights import BASE_MODEL, Weights
from diffusion.schedule import Schedule
from models.card import ModelCard, ModelFacts
from models.encoders import autoencoder
from models.folder import find_base_part, save_model
from models.video_model import Backbone
from models.videocrafter2.backbone import VideoCrafter2
from pipeline.featurizers.latents import VaeLatents
from pipeline.recipes import Preprocess, motif
from tests.training.datasets import Toy, write_toy
from tests.training.runs import SMALL
from training.data.artifacts import Artifacts
from training.data.source import Source
from training.network import check_start
from training.recipes import Train
from training.recipes import motif as train_motif
from training.run.encoders import find_encoder
from training.run.job import TrainJob, open_sources

TEXT = {"encoder": "HashedText", "tokens": 6, "width": 16, "version": 1}


def old_identity(weights: Weights) -> dict[str, Any]:
    """An autoencoder as datasets of before name it."""
    known = {"encoder": "AutoencoderKL", "revision": None, "precision": "float16", "version": 1}
    return known | {"weights_sha256": autoencoder.find(weights).sha256}


def new_identity(weights: Weights) -> dict[str, Any]:
    return VaeLatents(weights).identity()


def dataset(folder: Path, identity: dict[str, Any], weights: Weights) -> Source:
    """A dataset whose latents were made with these weights, as dataset.json says."""
    write_toy(Folder(str(folder)), Toy(clips=2))
    told = json.loads((folder / "dataset.json").read_text())
    told["artifacts"]["latents"] |= {"identity": identity, "facts": {"scaling_factor": 1.0} | weights.facts()}
    (folder / "dataset.json").write_text(json.dumps(told))
    return Source(str(folder), Artifacts())


def model(folder: Path, vae: Path, identity: dict[str, Any] | None = None) -> Backbone:
    """A model folder with an autoencoder of its own."""
    identity = identity or {"encoder": "AutoencoderKL", "weights_tensors": autoencoder.weights_hash(Weights(str(vae)))}
    source = dataset(folder.with_name(folder.name + "_for"), identity, Weights(str(vae)))
    facts = ModelFacts(identity, 1.0, TEXT, Schedule(), *source.facts.shape[1:])
    save_model(folder, SMALL.new(source.facts.shapes), ModelCard(facts))
    shutil.copytree(vae, folder / "vae")
    return replace(SMALL, start=str(folder))


@pytest.fixture
def other_container(tiny_vae: Path, tmp_path: Path) -> Path:
    """The tiny autoencoder as a .bin file in float16's neighbourhood: same tensors, other bytes."""
    folder = tmp_path / "bin"
    folder.mkdir()
    tensors = load_file(tiny_vae / "vae" / "diffusion_pytorch_model.safetensors")
    torch.save(dict(reversed(tensors.items())), folder / "diffusion_pytorch_model.bin")
    shutil.copy(tiny_vae / "vae" / "config.json", folder)
    return folder


@pytest.fixture
def other_vae(tiny_vae: Path, tmp_path: Path) -> Path:
    """An autoencoder of the same sizes with one other number."""
    found = AutoencoderKL.from_pretrained(tiny_vae / "vae")
    with torch.no_grad():
        found.decoder.conv_out.bias[0] += 1
    found.save_pretrained(tmp_path / "other_vae")
    return tmp_path / "other_vae"


@pytest.mark.parametrize("of_data", [old_identity, new_identity])
@pytest.mark.parametrize("of_model", [old_identity, new_identity])
def test_the_same_tensors_are_accepted_whatever_the_records_know(
    tiny_vae: Path, other_container: Path, tmp_path: Path, of_data: Any, of_model: Any
) -> None:
    here = Weights(str(other_container))
    source = dataset(tmp_path / "data", of_data(here), here)
    network = model(tmp_path / "model", tiny_vae / "vae", of_model(Weights(str(tiny_vae / "vae"))))
    check_start(network, source.facts)


def test_a_dataset_of_before_is_known_by_bytes_where_its_weights_are_gone(tiny_vae: Path, tmp_path: Path) -> None:
    vae = Weights(str(tiny_vae), subfolder="vae")
    source = dataset(tmp_path / "data", old_identity(vae), Weights("org/gone", subfolder="vae"))
    network = model(tmp_path / "model", tiny_vae / "vae")
    check_start(network, source.facts)
    found = find_encoder("vae", network.start, source)
    assert found == Weights(network.start, subfolder="vae")  # not where the dataset says, which is gone


@pytest.mark.parametrize("of_data", [old_identity, new_identity])
def test_another_autoencoder_is_refused_and_both_are_named(
    tiny_vae: Path, other_vae: Path, tmp_path: Path, of_data: Any
) -> None:
    here = Weights(str(other_vae))
    source = dataset(tmp_path / "data", of_data(here), here)
    network = model(tmp_path / "model", tiny_vae / "vae")
    with pytest.raises(InputError) as refused:
        check_start(network, source.facts)
    told = str(refused.value)
    assert told.startswith(f"weights of latents: the model {tmp_path / 'model'} has those of ")
    assert f"{tmp_path / 'model'}/vae (blake3:" in told
    assert f"{other_vae} (" in told
    assert f"--base-model {tmp_path / 'model'}" in told
    assert "\n" not in told


def test_weights_that_were_changed_since_prove_nothing(tiny_vae: Path, other_vae: Path, tmp_path: Path) -> None:
    """The dataset says where its weights were; what lies there now is another autoencoder."""
    place = tmp_path / "place"
    shutil.copytree(other_vae, place)
    source = dataset(tmp_path / "data", old_identity(Weights(str(place))), Weights(str(place)))
    shutil.rmtree(place)
    shutil.copytree(tiny_vae / "vae", place)
    with pytest.raises(InputError, match="weights of latents"):
        check_start(model(tmp_path / "model", tiny_vae / "vae"), source.facts)


def test_datasets_of_before_and_of_now_are_mixed_where_they_fit(
    tiny_vae: Path, other_container: Path, other_vae: Path, tmp_path: Path
) -> None:
    vae, other = Weights(str(tiny_vae), subfolder="vae"), Weights(str(other_vae))
    dataset(tmp_path / "a", old_identity(vae), vae)
    dataset(tmp_path / "b", new_identity(Weights(str(other_container))), Weights(str(other_container)))
    dataset(tmp_path / "c", new_identity(other), other)
    job = TrainJob(Train(network=SMALL, batch=8), (str(tmp_path / "a"), str(tmp_path / "b")), Folder(""))
    open_sources(job)
    with pytest.raises(InputError, match=r"latents: .*/b has .*bin \(blake3:.*/c has .*other_vae \(blake3:"):
        open_sources(replace(job, data=(str(tmp_path / "b"), str(tmp_path / "c"))))


def test_preprocessing_and_training_name_the_same_place() -> None:
    assert motif().base_model == train_motif().network.start == BASE_MODEL


def test_the_base_model_gives_the_weights_that_a_recipe_does_not_name(tiny_vae: Path, tmp_path: Path) -> None:
    model(tmp_path / "model", tiny_vae / "vae")
    (tmp_path / "model" / "text_encoder").mkdir()
    recipe = replace(motif(), base_model=str(tmp_path / "model")).resolved()
    places = {name: getattr(feature, "weights", None) for name, feature in recipe.features.items()}
    assert places["latents"] == Weights(str(tmp_path / "model"), subfolder="vae")
    assert places["text"] == Weights(str(tmp_path / "model"), subfolder="text_encoder")
    named = Preprocess(features={"latents": VaeLatents(Weights(str(tiny_vae)))}, base_model="nowhere")
    assert named.resolved() == named


def test_a_missing_base_model_says_the_two_commands_that_make_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for attempt in (lambda: find_base_part("weights/x", "vae"), lambda: motif().resolved()):
        with pytest.raises(WeightsError, match=r"motif fetch videocrafter2 --out weights/.*model\.ckpt weights/"):
            attempt()
    facts = Source(write_toy(Folder(str(tmp_path / "data"))).uri, Artifacts()).facts
    with pytest.raises(InputError, match=r"motif fetch videocrafter2 --out weights/.*model\.ckpt weights/"):
        check_start(VideoCrafter2(), facts)
