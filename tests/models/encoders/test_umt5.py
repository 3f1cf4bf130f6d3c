"""Text states of Wan, against diffusers' pipeline. Tiny random weights, and a tokenizer of letters."""

import shutil
from pathlib import Path

import pytest
import torch
from diffusers import WanPipeline
from safetensors.torch import load_file, save_file

from base.errors import WeightsError
from base.weights import Weights
from models.encoders.registry import open_text_encoder
from models.encoders.umt5 import TOKENS, Umt5, identity
from tests.models.wan.tiny import TEXT_WIDTH, autoencoder, text_encoder, tokenizer, write_encoders

CPU = torch.device("cpu")
PROMPTS = ["the star moves left", "", "a &amp;amp; b   and\n c.", "Ein Stern, 星", "star moves right " * 300]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoders(tmp_path_factory.mktemp("wan"))


def weights_in(folder: Path) -> Weights:
    return Weights(str(folder), subfolder="text_encoder")


def test_states_are_those_of_the_pipeline(folder: Path) -> None:
    pipeline = WanPipeline(tokenizer(), text_encoder(), autoencoder(16), None)
    with torch.no_grad():
        theirs, _ = pipeline.encode_prompt(
            PROMPTS, do_classifier_free_guidance=False, max_sequence_length=TOKENS, device=CPU
        )
    weights = weights_in(folder)
    encode = open_text_encoder(identity(weights, "float32"), weights, CPU)
    found = torch.cat([encode([prompt]) for prompt in PROMPTS])
    assert found.shape == theirs.shape == (5, TOKENS, TEXT_WIDTH)
    torch.testing.assert_close(found, theirs, rtol=0, atol=1e-5)
    torch.testing.assert_close(encode(PROMPTS), found)
    lengths = [len(Umt5.load(weights, CPU, torch.float32).states(prompt)) for prompt in PROMPTS]
    assert lengths == [(row.abs().sum(dim=1) > 0).sum().item() for row in theirs]
    assert lengths[1] == 1  # the end
    assert lengths[4] == TOKENS  # cut
    assert len(set(lengths)) == 5


def test_an_identity_is_that_of_the_tensors_and_of_the_tokenizer(folder: Path, tmp_path: Path) -> None:
    """Not of the files: some name the embedding twice."""
    known = identity(weights_in(folder), "float32")
    again = shutil.copytree(folder, tmp_path / "again")
    place = again / "text_encoder" / "model.safetensors"
    tensors = load_file(place)
    twice = {"encoder.embed_tokens.weight": tensors["shared.weight"].clone(), **tensors}
    save_file(twice, place, metadata={"format": "pt"})
    assert identity(weights_in(again), "float32") == known
    file = again / "tokenizer" / "tokenizer.json"
    file.write_text(file.read_text().replace('"star"', '"stir"'))
    assert identity(weights_in(again), "float32") != known
    assert identity(weights_in(folder), "bfloat16") != known


def test_what_is_missing_is_named(folder: Path, tmp_path: Path) -> None:
    part = shutil.copytree(folder / "text_encoder", tmp_path / "text_encoder")
    with pytest.raises(WeightsError, match="tokenizer: .*tokenizer has no tokenizer.json"):
        Umt5.load(weights_in(tmp_path), CPU, torch.float32)
    shutil.copytree(folder / "tokenizer", tmp_path / "tokenizer")
    tensors = load_file(part / "model.safetensors")
    tensors.pop("encoder.final_layer_norm.weight")
    save_file(tensors, part / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(WeightsError, match="lacks encoder.final_layer_norm.weight: is it UMT5's encoder"):
        Umt5.load(weights_in(tmp_path), CPU, torch.float32)
    with pytest.raises(WeightsError, match="no text encoder is given"):
        open_text_encoder(identity(weights_in(folder), "float32"), None, CPU)
