"""A published pipeline becomes a model folder. Tiny random weights in diffusers' layout."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import WanTransformer3DModel

from base.errors import InputError, WeightsError
from base.weights import Weights
from diffusion.flow import Flow
from diffusion.options import Sampling
from models.card import ModelFacts
from models.folder import load_card, load_facts, load_network
from models.generator import Generator, Request
from models.video_model import DataShapes
from models.wan.convert import convert
from tests.models.wan.tiny import NETWORK, TEXT_WIDTH, write_encoders
from training.data.source import SourceFacts
from training.network import check_start

SHAPES = DataShapes((4, 3, 4, 6), (512, TEXT_WIDTH))


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_encoders(tmp_path_factory.mktemp("pipeline"))
    torch.manual_seed(1)
    network = NETWORK.new(SHAPES)
    plain = WanTransformer3DModel.from_config(network.config)
    plain.load_state_dict(network.state_dict())
    plain.save_pretrained(folder / "transformer", max_shard_size="20KB")
    assert len(list((folder / "transformer").glob("*.safetensors"))) > 1
    return folder


def test_a_pipeline_becomes_a_model(pipeline: Path, tmp_path: Path) -> None:
    facts = convert(Weights(str(pipeline)), tmp_path / "model", torch.float32)
    assert facts == load_facts(tmp_path / "model")
    assert (facts.frames, facts.height, facts.width, facts.video_frames) == (31, 44, 80, 121)
    assert facts.schedule == Flow(shift=5.0)
    card = load_card(tmp_path / "model")
    assert card.vae == Weights(str(pipeline), None, "vae")
    assert card.text_encoder == Weights(str(pipeline), None, "text_encoder")
    network, theirs = load_network(tmp_path / "model"), WanTransformer3DModel.from_pretrained(pipeline / "transformer")
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(network.state_dict()[name], tensor), name


def test_what_it_was_given_and_any_size_can_start_a_run(pipeline: Path, tmp_path: Path) -> None:
    """Encoders of a dataset are compared by their tensors, whatever its precision and the size of its clips."""
    converted = convert(Weights(str(pipeline)), tmp_path / "model", torch.float32)
    network = NETWORK.__class__(start=str(tmp_path / "model"), heads=2, head_dim=12, layers=2, feed_forward=32)
    check_start(network, data_of(converted))
    other = converted.latents | {"weights_tensors": "blake3:other"}
    with pytest.raises(InputError, match="weights of latents: the model .* has those of "):
        check_start(network, data_of(converted, latents=other))


def data_of(facts: ModelFacts, latents: dict[str, object] | None = None) -> SourceFacts:
    return SourceFacts(
        latents=(latents or facts.latents) | {"precision": "float32"}, scaling_factor=1.0, shape=SHAPES.latent,
        pixels=(64, 96), text=facts.text | {"precision": "float32"}, text_shape=SHAPES.text,
    )  # fmt: skip


def test_it_makes_videos(pipeline: Path, tmp_path: Path) -> None:
    """By its own autoencoder and text encoder; of one frame, since its size is that of the published model."""
    convert(Weights(str(pipeline)), tmp_path / "model")
    generator = Generator.load(tmp_path / "model", torch.device("cpu"))
    assert generator.size == (704, 1280)
    picture = np.random.default_rng(0).integers(0, 256, (704, 1280, 3), np.uint8)
    video = generator.generate([Request(picture, "the star moves")], Sampling(steps=1), frames=1)
    assert video.shape == (1, 1, 704, 1280, 3)


def test_what_is_missing_or_of_another_kind_is_refused(pipeline: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="has no config.json"):
        convert(Weights(str(tmp_path)), tmp_path / "model")
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").touch()
    with pytest.raises(InputError, match="used exists and is not empty"):
        convert(Weights(str(pipeline)), tmp_path / "used")
    write_encoders(tmp_path / "other")
    concat = NETWORK.__class__(image_condition="concat", heads=2, head_dim=12, layers=2, feed_forward=32)
    WanTransformer3DModel.from_config(concat.new(SHAPES).config).save_pretrained(tmp_path / "other" / "transformer")
    with pytest.raises(WeightsError, match="takes the picture as further channels, which cannot be trained"):
        convert(Weights(str(tmp_path / "other")), tmp_path / "model")
    assert not (tmp_path / "model").exists()
