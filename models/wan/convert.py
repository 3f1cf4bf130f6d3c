"""Makes a model folder of a published pipeline of Wan: its transformer, and where its frozen encoders are."""

from dataclasses import replace
from pathlib import Path

import torch

from base.errors import WeightsError
from base.weights import Weights
from diffusion.flow import Flow
from diffusion.options import Sampling
from models.card import ModelCard, ModelFacts
from models.encoders import umt5
from models.encoders.autoencoder import read_config
from models.encoders.video import wan_autoencoder
from models.folder import check_new, save_model
from models.wan.checkpoint import load

_SIZE = (121, 704, 1280)  # frames, height, width of the videos that TI2V-5B was made for
_FPS = 24.0


def convert(source: Weights, out: Path, dtype: torch.dtype = torch.bfloat16) -> ModelFacts:
    """Write the model folder ``out`` from a pipeline of diffusers, a folder or hub id, and return its facts.

    The transformer is stored in one file, in ``dtype``; autoencoder and text encoder stay where they are.
    WeightsError if anything is missing, or the pipeline is not one of Wan2.2-TI2V's kind; InputError if ``out`` is in
    use; StorageError for disk errors.
    """
    check_new(out)
    network = load(source, dtype)
    if not network.clamps:
        raise WeightsError(
            f"network: {source.source} takes the picture as further channels, which cannot be trained or sampled yet. "
            "Give Wan2.2-TI2V-5B, or a model made of it."
        )
    vae, text = (replace(source, subfolder=part) for part in ("vae", "text_encoder"))
    facts = _facts(source, vae, text)
    save_model(out, network, ModelCard(facts, vae, text))
    return facts


def _facts(source: Weights, vae: Weights, text: Weights) -> ModelFacts:
    """The sizes and settings that it was published with; identities as in a feature dataset, of any precision."""
    latents, states = wan_autoencoder.identity(vae, "any"), umt5.identity(text, "any")
    _, frames, height, width = wan_autoencoder.grid_of(read_config(vae)).shape(*_SIZE)
    return ModelFacts(
        latents={name: value for name, value in latents.items() if name != "precision"},
        scaling_factor=1.0,
        text={name: value for name, value in states.items() if name != "precision"},
        schedule=Flow(shift=5.0),
        frames=frames,
        height=height,
        width=width,
        origin=f"Wan, converted from {source.source}",
        fps=(_FPS, _FPS),
        usual_fps=_FPS,
        sampling=Sampling(steps=50, guidance=5.0),
    )
