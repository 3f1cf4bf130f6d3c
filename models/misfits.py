"""Describes what does not fit a model: shapes of tensors, a picture, a motion level, no folder. Loads no torch."""

from collections.abc import Mapping, Sequence

from base.storage.uri import local_path
from base.weights import WAN_HUB_ID, WAN_MODEL

_NAMED = 5


def misfits(expected: Mapping[str, Sequence[int]], found: Mapping[str, Sequence[int]]) -> str:
    """Missing, unknown or differently shaped tensors: at most five names, then a count; empty if all match."""
    lines = [f"{name} is missing" for name in expected if name not in found]
    lines += [f"{name} is unknown" for name in found if name not in expected]
    lines += [
        f"{name} is {list(found[name])} instead of {list(shape)}"
        for name, shape in expected.items()
        if name in found and list(found[name]) != list(shape)
    ]
    more = len(lines) - _NAMED
    return ", ".join(lines[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def superfluous_level(model: str) -> str:
    """The message for a motion level that a model without them is given."""
    return f"{model} takes no motion level: leave it out."


def superfluous_image(model: str) -> str:
    """The message for a picture that a text-to-video model is given."""
    return f"{model} makes videos from text alone: leave the picture out."


def no_base_model(option: str, folder: str) -> str:
    """The message for a missing model folder of an option."""
    missing = f"{option} {folder}: there is no such folder."
    if local_path(folder) == local_path(WAN_MODEL):
        return f"{missing} Download and convert Wan2.2-TI2V-5B with `motif convert wan {WAN_HUB_ID} {folder}`."
    return (
        f"{missing} Download the base model with `motif fetch videocrafter2 --out {folder}`, or convert your own "
        f"checkpoint with `motif convert videocrafter2 model.ckpt {folder}`."
    )
