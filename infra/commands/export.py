"""``motif export``: an adapter as a whole model, or as a LoRA file for other programs."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from infra.options import parse, take_positional

_LORA = ".safetensors"


@dataclass(frozen=True)
class Options:
    """Write the newest model of a run, or a model folder, for use elsewhere."""

    out: Annotated[str, tyro.conf.arg(metavar="FOLDER|FILE.safetensors")]
    """A new folder: the whole model, an adapter merged into its base. A new .safetensors file: the adapter alone, in
    the names of diffusers."""
    base_model: str | None = None
    """Where the model is that an adapter was trained on, if not in the same place as then."""


def main(args: list[str]) -> None:
    """Run the command."""
    model, rest = take_positional(args, "MODEL", "motif export")
    options = parse(Options, rest, "motif export MODEL")
    from base.weights import Weights  # models import torch, which --help does without
    from models.adapters.export import export_lora, export_model
    from models.find import find_candidates

    (found,) = find_candidates([model])
    out = Path(options.out)
    if out.suffix == _LORA:
        for name in export_lora(found.weights(), out):
            print(
                f"{name} is trained as a whole, which a LoRA has no place for: it is under whole.{name}",
                file=sys.stderr,
            )
    else:
        export_model(found.weights(), out, Weights(options.base_model) if options.base_model else None)
    print(out)
