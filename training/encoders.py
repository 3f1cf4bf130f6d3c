"""Where a run's frozen encoders are: its model's card names them, and sampled videos are decoded with one of them."""

import torch

from diffusion.decoding import Decoder, decoder
from diffusion.errors import WeightsError
from diffusion.model_folder import Part, find_part
from diffusion.uri import local_path
from diffusion.weights import Weights
from training.data.source import Source

_ARTIFACTS: dict[Part, str] = {"vae": "latents", "text_encoder": "text"}


def find_encoder(part: Part, start: str, source: Source) -> Weights | None:
    """The weights of an encoder: those the dataset was made with, or where it does not know, the start model's."""
    named = source.encoder(_ARTIFACTS[part])
    if named is not None or not start:
        return named
    try:
        return find_part(local_path(start), part)
    except WeightsError:
        return None  # the toy's encoders have no weights


def find_decoder(start: str, source: Source, device: torch.device) -> Decoder:
    """What turns the latents of a dataset into pictures; WeightsError where that needs weights that are missing."""
    facts = source.facts
    return decoder(facts.latents, facts.scaling_factor, find_encoder("vae", start, source), device)
