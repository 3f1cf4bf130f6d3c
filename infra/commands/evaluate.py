"""``motif evaluate``: measures a model's videos. ``sprites``: exactly, on generated pairs whose motion is known."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from base.errors import InputError
from base.storage.folder import Folder
from diffusion.options import SamplingChanges
from infra.options import command_line, parse, report


def main(args: list[str]) -> int | None:
    """Run one of the subcommands."""
    if not args or args[0] in ("-h", "--help"):
        lines = [f"  {name:<10} {command.__doc__}" for name, command in _COMMANDS.items()]
        print("\n".join(["usage: motif evaluate COMMAND [OPTIONS]", "", *lines]))
        return 0 if args else 2
    if args[0] not in _COMMANDS:
        raise InputError(f"motif evaluate {args[0]}: unknown subcommand; choose from {', '.join(_COMMANDS)}.")
    return _COMMANDS[args[0]](args[1:])


@dataclass(frozen=True)
class _Sprites:
    """Score videos of moving sprites: which shape moved, where to, and what else changed.

    A RUN is the folder of a run (its newest checkpoint is used), a model folder, or a folder of videos named as the
    pairs' (000000.mp4). Videos and scores that are there already are not made again.
    """

    runs: tyro.conf.Positional[tuple[str, ...]] = ()
    """Folders of runs, model folders, or folders of videos."""
    pairs: Path | None = None
    """Held-out pairs: a folder written by `motif sprites`, with another seed than that of the training's."""
    out: str = ""
    """Folder for videos, scores and evaluation.json."""
    num: int | None = None
    """Only the first pairs."""
    seed: int = 0
    """The seed of the noise; all prompts of an image begin with the same."""
    batch: int = 16
    """Videos sampled together on a GPU; a CPU takes one at a time."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the network; bfloat16 halves its memory."""
    sampling: Annotated[SamplingChanges, tyro.conf.arg(name="")] = SamplingChanges()


def _sprites(args: list[str]) -> None:
    """exact scores on moving sprites, beside controls: RUN [RUN ...] --pairs SPRITES --out FOLDER"""  # noqa: D403
    options = parse(_Sprites, args, "motif evaluate sprites")
    if not options.runs:
        raise InputError(
            "motif evaluate sprites: RUN is missing. Usage: motif evaluate sprites RUN [RUN ...] --pairs SPRITES "
            "--out FOLDER."
        )
    if options.pairs is None:
        raise InputError("--pairs is missing: give a folder of held-out pairs, written by `motif sprites --seed ...`.")
    if not options.out or Folder(options.out).remote:
        raise InputError(f"--out {options.out or 'is missing'}: give a folder on this machine for videos and scores.")
    if options.num is not None and options.num < 1:
        raise InputError(f"--num {options.num}: must be at least 1.")
    from rich.console import Console

    from evaluation.sprites.evaluate import EvaluationJob, evaluate  # torch and diffusers, which --help does without
    from evaluation.sprites.sampling import SamplingOptions
    from evaluation.sprites.table import tables

    try:
        sampling = SamplingOptions(options.seed, options.batch, options.device, options.precision, options.sampling)
    except ValueError as error:
        raise InputError(f"--{error}.") from error
    out = Folder(options.out)
    found = evaluate(EvaluationJob(options.runs, options.pairs, out, options.num, sampling), report)
    command = command_line("motif evaluate sprites", args)
    text = json.dumps({"command": command, **found.to_json()}, indent=2)
    out.write("evaluation.json", text.encode())
    console = Console(stderr=True)
    for table in tables(found):
        console.print(table)
    print(text)


_COMMANDS: dict[str, Callable[[list[str]], int | None]] = {"sprites": _sprites}
