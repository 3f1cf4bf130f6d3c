"""Where a run's frozen encoders are: its model's card names them, and sampled videos are decoded with one of them."""

import torch

from diffusion.errors import WeightsError
from diffusion.latent_space import LatentSpace, open_latent_space
from diffusion.model_folder import Part, find_part
from diffusion.uri import local_path
from diffusion.weights import Weights
from training.data.source import Source

_ARTIFACTS: dict[Part, str] = {"vae": "latents", "text_encoder": "text", "image_encoder": "image"}


def find_encoder(part: Part, start: str, source: Source) -> Weights | None:
    """The weights of an encoder: those the dataset was made with, or where it does not know, the start model's."""
    named = source.encoder(_ARTIFACTS[part])
    if named is not None or not start:
        return named
    try:
        return find_part(local_path(start), part)
    except WeightsError:
        return None  # the toy's encoders have no weights


def find_latent_space(start: str, source: Source, device: torch.device) -> LatentSpace:
    """The latent space of a dataset; WeightsError where it needs weights that are missing."""
    facts = source.facts
    return open_latent_space(facts.latents, facts.scaling_factor, find_encoder("vae", start, source), device)
