"""``motif bench``: a model's videos of a public benchmark. ``ti2v``: the 320 pairs of TI2V-Bench."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from base.errors import Incomplete, InputError
from base.storage.uri import is_remote
from diffusion.options import SamplingChanges
from infra.options import parse, report

if TYPE_CHECKING:
    from evaluation.bench.dataset import Bench
    from evaluation.bench.form import Form


def main(args: list[str]) -> int | None:
    """Run one of the subcommands."""
    if not args or args[0] in ("-h", "--help"):
        lines = [f"  {name:<10} {command.__doc__}" for name, command in _COMMANDS.items()]
        print("\n".join(["usage: motif bench COMMAND [OPTIONS]", "", *lines]))
        return 0 if args else 2
    if args[0] not in _COMMANDS:
        raise InputError(f"motif bench {args[0]}: unknown subcommand; choose from {', '.join(_COMMANDS)}.")
    return _COMMANDS[args[0]](args[1:])


@dataclass(frozen=True)
class _Ti2v:
    """Generate the videos of TI2V-Bench with a model, or take those of another model, for metrics and studies.

    Give --model or --videos, with --data and --out; or --stand-in. The same command again continues where it was
    interrupted.
    """

    model: str = ""
    """The folder of a run (its newest checkpoint is used), or a model folder; local or s3://."""
    videos: Path | None = None
    """Instead of --model: a folder of another model's videos under the published names, IMAGE_PROMPT_SEED.mp4."""
    data: Path | None = None
    """The dataset's folder, as `motif fetch ti2v-bench` writes it: images and prompt.csv."""
    out: str = ""
    """Folder for the videos (of --videos, copies), prompts.csv and videos.csv."""
    stand_in: Path | None = None
    """Write a dataset of the same shape to this new folder, with pictures of sprites, to try the command."""
    pairs: Path | None = None
    """With --stand-in: a CSV file with columns image_id and prompt_slug, whose pairs it gets."""
    allow_deviations: bool = False
    """Also take a dataset that does not have 320 pairs of 88 images and 133 prompts in 22 scenes."""
    num: int | None = None
    """Only the first pairs."""
    seed: int = 0
    """Of every video, and part of their names; with --videos only the latter."""
    size: int = 320
    """Height and width of the videos, in pixels."""
    frames: int = 16
    """Frames per video."""
    fps: float = 8.0
    """Frames per second, which the model is also conditioned on as far as its training allows."""
    workers: int = 0
    """How many Ray actors generate at once, on a GPU (or core) each, on the cluster of RAY_ADDRESS or on this machine;
    0: this process alone."""
    batch: int = 8
    """Videos sampled together on a GPU; a CPU takes one at a time."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the network; bfloat16 halves its memory."""
    sampling: Annotated[SamplingChanges, tyro.conf.arg(name="")] = SamplingChanges()


def _ti2v(args: list[str]) -> int:
    """TI2V-Bench, 320 pairs: --model MODEL (or --videos FOLDER) --data DATASET --out FOLDER"""
    options = parse(_Ti2v, args, "motif bench ti2v")
    _check(options)
    if options.stand_in is not None:
        return _stand_in(options.stand_in, options.pairs)
    from evaluation.bench.dataset import Bench
    from evaluation.bench.form import Form  # with torch, which --help does without

    assert options.data is not None
    try:
        form = Form(options.size, options.frames, options.fps)
    except ValueError as error:
        raise InputError(f"--{error}.") from error
    bench = Bench.read(options.data)
    if not options.allow_deviations:
        bench.check()
    for deviation in bench.deviations:
        report(f"the dataset deviates from TI2V-Bench: {deviation}")
    return _accept(options, bench, form) if options.videos is not None else _generate(options, bench, form)


def _check(options: _Ti2v) -> None:
    """InputError if options are missing or contradict each other."""
    given = [name for name in ("model", "videos", "stand_in") if getattr(options, name) not in ("", None)]
    if len(given) != 1:
        raise InputError(
            "motif bench ti2v: give one of --model (a run or model to generate with), --videos (a folder of another "
            "model's videos) and --stand-in (a folder to write a dataset to)."
        )
    if options.pairs is not None and options.stand_in is None:
        raise InputError(f"--pairs {options.pairs}: only --stand-in uses it. Omit it.")
    if options.stand_in is None and options.data is None:
        raise InputError("--data is missing: give the dataset's folder, as written by `motif fetch ti2v-bench`.")
    if options.stand_in is None and (not options.out or is_remote(options.out)):
        raise InputError(f"--out {options.out or 'is missing'}: give a folder on this machine for the videos.")
    if options.num is not None and options.videos is not None:
        raise InputError("--num: only --model uses it; --videos takes all that there are. Omit it.")
    for name, least in (("workers", 0), ("num", 1)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise InputError(f"--{name} {value}: must be at least {least}.")


def _stand_in(folder: Path, pairs: Path | None) -> int:
    from evaluation.bench.stand_in import write_stand_in

    count = write_stand_in(folder, pairs)
    print(json.dumps({"data": str(folder), "pairs": count}))
    return 0


def _generate(options: _Ti2v, bench: "Bench", form: "Form") -> int:
    from evaluation.bench.generate import BenchJob, generate  # torch and diffusers, which --help does without
    from evaluation.bench.recipe import Options

    try:
        how = Options(options.seed, options.batch, options.precision, options.sampling, form)
    except ValueError as error:
        raise InputError(f"--{error}.") from error
    job = BenchJob(options.model, bench, Path(options.out), how, options.num, options.device, options.workers)
    found = generate(job, report)
    print(json.dumps({"model": options.model, **asdict(found), "deviations": bench.deviations}))
    return 0


def _accept(options: _Ti2v, bench: "Bench", form: "Form") -> int:
    from evaluation.bench.dataset import shorten
    from evaluation.bench.others import accept

    assert options.videos is not None
    found = accept(options.videos, bench, form, options.seed, Path(options.out))
    faults = {name: getattr(found, name) for name in ("missing", "doubled", "unreadable", "other_form", "unknown")}
    for name, some in faults.items():
        if some:
            report(f"{len(some):,} {name.replace('_', ' ')}: {shorten(some)}")
    result: dict[str, Any] = {"videos": str(options.videos), "out": options.out, "accepted": len(found.accepted)}
    print(json.dumps(result | faults | {"deviations": bench.deviations}))
    if not found.complete:
        raise Incomplete(
            f"--videos {options.videos}: {len(bench.pairs) - len(found.accepted)} of {len(bench.pairs)} pairs have no "
            f"usable video. {options.out} has the others; add these and run the same command again."
        )
    return 0


_COMMANDS: dict[str, Callable[[list[str]], int | None]] = {"ti2v": _ti2v}
