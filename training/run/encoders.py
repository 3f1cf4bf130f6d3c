"""Finds a run's frozen encoders, for its model card and for decoding sampled videos."""

import torch

from base.errors import WeightsError
from base.storage.uri import is_remote, local_path
from base.weights import Weights
from models.card import Part
from models.encoders.latent_space import LatentSpace
from models.encoders.registry import open_latent_space
from models.folder import find_part
from training.data.source import ENCODERS, Source
from training.network import start_model

_ARTIFACTS: dict[Part, str] = {part: kind for kind, part in ENCODERS.items()}


def find_encoder(part: Part, start: str, source: Source) -> Weights | None:
    """The weights of an encoder: the start model's if they are on this machine, else the dataset's.

    Both have the same tensors, as checked before; the dataset's may be on the machine where it was made.
    """
    named = source.encoder(_ARTIFACTS[part])
    try:
        ours = find_part(start_model(start), part) if start else None
    except WeightsError:
        ours = None  # the toy's encoders have no weights
    return ours if ours and (named is None or _is_here(ours)) else named


def _is_here(weights: Weights) -> bool:
    return not is_remote(weights.source) and local_path(weights.source).exists()


def find_latent_space(start: str, source: Source, device: torch.device) -> LatentSpace:
    """The latent space of a dataset; WeightsError if its weights are missing."""
    facts = source.facts
    return open_latent_space(facts.latents, facts.scaling_factor, find_encoder("vae", start, source), device)
