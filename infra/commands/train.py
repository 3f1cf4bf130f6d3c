"""``motif train``: feature dataset in, model folder out."""

import json
from dataclasses import dataclass, field, replace
from typing import Annotated

import tyro

from diffusion.config import dump
from diffusion.errors import InputError
from diffusion.storage import Folder
from infra.options import parse, say
from infra.recipes import chosen
from training.job import TrainJob
from training.recipes import RECIPES, Train, sprites

_USAGE = """usage: motif train RECIPE --data DATASET [DATASET ...] --out RUN [--workers N] [--dry-run] [OPTIONS]
       motif train --config RUN/config.json --data DATASET --out RUN [OPTIONS]

recipes:
{recipes}
  or package.module:function, a function of yours that returns training.recipes.Train

motif train RECIPE --help lists every field that can be overridden. The same command again goes on from the last
checkpoint."""


@dataclass(frozen=True)
class Options:
    """Train the network that a recipe names on feature datasets, or go on with the run that OUT holds."""

    data: tuple[str, ...] = ()
    """Datasets made by ``motif preprocess``, or views saved by ``motif dataset filter``; several are mixed."""
    out: str = ""
    """The run's folder; a local path or s3://."""
    workers: int | None = None
    """Short for --hardware.workers: Ray Train workers, or 0 for this process."""
    dry_run: bool = False
    """Check everything, print the resolved recipe and an estimate of memory and time, and stop."""
    recipe: Annotated[Train, tyro.conf.arg(name="")] = field(default_factory=sprites)


def main(args: list[str]) -> None:
    """Run the command."""
    if not args or args[0] in ("-h", "--help"):
        told = [f"  {name:<14} {(made.__doc__ or '').splitlines()[0]}" for name, made in RECIPES.items()]
        print(_USAGE.format(recipes="\n".join(told)))
        return
    recipe, rest = chosen(args, RECIPES, Train)
    options = parse(Options, rest, f"motif train {args[0]}", Options(recipe=recipe))
    config = options.recipe
    if options.workers is not None:
        config = _with_workers(config, options.workers)
    job = TrainJob(config, options.data, Folder(options.out))
    if options.dry_run:
        from training.dry_run import dry_run

        print(dump(config))
        dry_run(job, say)
        return
    if not options.out:
        raise InputError("--out is missing: name the run's folder.")
    from training.launch import launch

    progress = launch(job, say)
    print(json.dumps({"run": options.out, "step": progress.step, "epoch": progress.epoch}))


def _with_workers(config: Train, workers: int) -> Train:
    try:
        return replace(config, hardware=replace(config.hardware, workers=workers))
    except ValueError as error:
        raise InputError(f"{error}.") from error
