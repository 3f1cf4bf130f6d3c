"""``motif train``: feature dataset in, model folder out."""

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Generic, TypeVar

import tyro

from base.config import dump
from base.errors import InputError
from base.gpus import Gpu, named_gpu
from base.storage.folder import Folder
from base.storage.uri import is_remote
from dataset.catalog import Catalog
from dataset.heatmap.normalisation import Normalisation
from infra.options import command_line, parse, report
from infra.recipes import TRAINING, chosen, summaries, usage

if TYPE_CHECKING:
    from training.recipes import Train

Recipe = TypeVar("Recipe")
_NO_OUT = "--out is missing: give the run's folder."

_USAGE = """usage: motif train RECIPE --data DATASET [DATASET ...] --out RUN [--workers N] [--dry-run] [OPTIONS]
       motif train --config RUN/config.json --data DATASET --out RUN [OPTIONS]

recipes:
{recipes}
  or package.module:function, your own function that returns training.recipes.Train

--adapter lora trains a low-rank adapter of the model in --base-model, whose weights stay as they are (its options:
--adapter lora --help); --adapter none, the default, trains all weights.

--artifacts.normalisation.unit width, or another field of the heatmap's normalisation, trains on heatmaps computed anew
from the stored intensity of the flow.

motif train RECIPE --help lists every field that can be overridden. Running the same command again continues from the
last checkpoint."""


@dataclass(frozen=True, kw_only=True)
class Options(Generic[Recipe]):
    """Train a recipe's network on feature datasets, or continue the run in OUT."""

    data: tuple[str, ...] = ()
    """Datasets made by ``motif preprocess``, or views saved by ``motif dataset filter``; several are mixed."""
    out: str = ""
    """The run's folder; a local path or s3://."""
    workers: int | None = None
    """Short for --hardware.workers: Ray Train workers, or 0 for this process."""
    base_model: str | None = None
    """Short for --network.start: the model folder to start from; the same option as in ``motif preprocess``."""
    dry_run: bool = False
    """Check everything, print the resolved recipe and an estimate of memory and time, and stop."""
    gpu: str | None = None
    """With --dry-run: the kind of GPU to estimate for: A100 (the default), H100, H200, L40S, L4, A10G, T4 or 4090."""
    recipe: Annotated[Recipe, tyro.conf.arg(name="")]


def main(args: list[str]) -> int:
    """Run the command. Returns its exit status."""
    if not args or args[0] in ("-h", "--help"):
        print(usage(_USAGE, *TRAINING))
        return 0
    _check_given(args)
    _check_datasets(args)
    options = _parse(args)
    gpu = _gpu(options)
    from training.run.job import TrainJob

    config = options.recipe
    job = TrainJob(config, options.data, Folder(options.out), command=command_line("motif train", args))
    if options.dry_run:
        from training.run.dry_run import dry_run

        print(dump(config))
        dry_run(job, report, gpu)
        return 0
    if not options.out:
        raise InputError(_NO_OUT)
    from training.run.launch import launch

    try:
        progress = launch(job, report)
    except KeyboardInterrupt as stopped:
        if not stopped.args:
            raise
        report(f"motif: {stopped}")
        return 130
    print(json.dumps({"run": options.out, "step": progress.step, "epoch": progress.epoch}))
    return 0


def _gpu(options: "Options[Train]") -> Gpu:
    """The kind of GPU to estimate for."""
    if options.gpu is not None and not options.dry_run:
        raise InputError(f"--gpu {options.gpu}: it is for the estimate of --dry-run; training takes the GPUs it finds.")
    return named_gpu(options.gpu or "A100")


def read(args: list[str]) -> "Options[Train]":
    """The options of a command line, short ones put into the recipe; InputError if they are wrong."""
    _check_given(args)
    return _parse(args)


def _parse(args: list[str]) -> "Options[Train]":
    from training.recipes import Train
    from training.wan_recipes import ALL

    recipe, rest = chosen(args, ALL, Train)
    recipe, rest = _with_adapter(recipe, rest)
    recipe = _with_normalisation(recipe, rest)
    options = parse(Options[Train], rest, f"motif train {args[0]}", Options(recipe=recipe))
    config = options.recipe
    if options.workers is not None:
        config = _with_workers(config, options.workers)
    if options.base_model is not None:
        config = replace(config, network=replace(config.network, start=options.base_model))
    return replace(options, recipe=config)


def _check_given(args: list[str]) -> None:
    """Check the recipe's name and what must be given, before torch is imported, which takes seconds."""
    if ":" not in args[0] and args[0] != "--config":
        chosen(args, dict.fromkeys(summaries(*TRAINING), str), str)
    if {"-h", "--help", "--dry-run", "--dry_run"} & set(args):
        return
    if not _values(args, "--data"):
        raise InputError("--data is missing: give at least one dataset made by `motif preprocess`.")
    if not _values(args, "--out"):
        raise InputError(_NO_OUT)


def _check_datasets(args: list[str]) -> None:
    """Check the datasets, which are on this machine, before torch is imported."""
    if {"-h", "--help"} & set(args):
        return
    for uri in _values(args, "--data"):
        if not (is_remote(uri) or uri.endswith(".json")):
            Catalog.require(Folder(uri))


def _values(args: list[str], name: str) -> list[str]:
    """The values of an option, as ``--name A B`` or ``--name=A``."""
    found, inside = [], False
    for arg in args:
        if arg.startswith("--"):
            inside = arg == name
            found += [arg.removeprefix(f"{name}=")] if arg.startswith(f"{name}=") else []
        elif inside:
            found.append(arg)
    return found


def _with_adapter(config: "Train", args: list[str]) -> tuple["Train", list[str]]:
    """The recipe with the kind of adapter that ``--adapter`` names, whose fields then are options, and the other
    arguments.
    """
    from models.adapters.lora import ADAPTERS

    left, words = [], iter(args)
    for word in words:
        option, equals, value = word.partition("=")
        if option != "--adapter":
            left.append(word)
            continue
        name = value if equals else next(words, "")
        if name not in ADAPTERS:
            raise InputError(f"--adapter {name}: there are {', '.join(ADAPTERS)}.")
        if type(config.adapter) is not type(ADAPTERS[name]):
            config = replace(config, adapter=ADAPTERS[name])
    return config, left


def _with_normalisation(config: "Train", args: list[str]) -> "Train":
    """The recipe with a normalisation of its own if an option names a field of it; without, it has no such options."""
    named = any(arg.startswith("--artifacts.normalisation.") for arg in args)
    if not named or config.artifacts.normalisation is not None:
        return config
    return replace(config, artifacts=replace(config.artifacts, normalisation=Normalisation()))


def _with_workers(config: "Train", workers: int) -> "Train":
    try:
        return replace(config, hardware=replace(config.hardware, workers=workers))
    except ValueError as error:
        raise InputError(f"{error}.") from error
