"""``motif convert``: another project's checkpoint, or LoRA, as a model folder."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from base.errors import InputError
from base.weights import Weights
from infra.options import parse, take_positional

if TYPE_CHECKING:
    from models.card import ModelFacts

_KINDS = ("videocrafter2", "wan", "lora")


@dataclass(frozen=True)
class Options:
    """Write a model folder from a checkpoint: U-Net, autoencoder, text encoder, schedule."""

    checkpoint: Annotated[Path, tyro.conf.Positional]
    """The checkpoint, .ckpt or .safetensors, such as model.ckpt of VideoCrafter/VideoCrafter2."""
    out: Annotated[Path, tyro.conf.Positional]
    """The folder to write, which must be new."""


@dataclass(frozen=True)
class WanOptions:
    """Write a model folder from a pipeline of Wan in diffusers' layout; its encoders stay where they are."""

    pipeline: Annotated[str, tyro.conf.Positional]
    """The pipeline's folder, or its hub id (downloaded): Wan-AI/Wan2.2-TI2V-5B-Diffusers, or a model made of it."""
    out: Annotated[Path, tyro.conf.Positional]
    """The folder to write, which must be new."""
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    """In which the transformer is stored."""


@dataclass(frozen=True)
class LoraOptions:
    """Write a model folder from a LoRA that diffusers or peft trained: the adapter, and where its base is."""

    file: Annotated[Path, tyro.conf.Positional]
    """The LoRA in diffusers' names, .safetensors."""
    out: Annotated[Path, tyro.conf.Positional]
    """The folder to write, which must be new."""
    base_model: Path
    """The model folder of the model that it was trained on."""


def main(args: list[str]) -> None:
    """Run the command."""
    kind, rest = take_positional(args, "videocrafter2", "motif convert")
    if kind and kind not in _KINDS:
        raise InputError(f"motif convert {kind}: unknown kind; choose from {', '.join(_KINDS)}.")
    if kind == "lora":
        lora = parse(LoraOptions, rest, "motif convert lora")
        from models.adapters.export import import_lora  # diffusers and torch: seconds to import

        import_lora(lora.file, lora.base_model, lora.out)
        print(lora.out)
        return
    if kind == "wan":
        _write_wan(parse(WanOptions, rest, "motif convert wan"))
        return
    options = parse(Options, rest, "motif convert videocrafter2")
    write(options.checkpoint, options.out)


def write(checkpoint: Path, out: Path) -> None:
    """Convert and print the folder."""
    from models.videocrafter2.convert import convert  # diffusers and torch: seconds to import

    print(f"converting {checkpoint} ...", file=sys.stderr)
    _say(convert(checkpoint, out), out)


def _write_wan(options: WanOptions) -> None:
    import torch

    from models.wan.convert import convert

    print(f"converting {options.pipeline}, and hashing its encoders ...", file=sys.stderr)
    _say(convert(Weights(options.pipeline), options.out, getattr(torch, options.precision)), options.out)


def _say(facts: "ModelFacts", out: Path) -> None:
    """Describe and print the folder."""
    size = f"{facts.video_frames} frames, latents {facts.frames} x {facts.height} x {facts.width}"
    print(f"{size}, {facts.origin}", file=sys.stderr)
    print(out)
