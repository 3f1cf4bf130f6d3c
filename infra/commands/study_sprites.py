"""``motif study-sprites``: a model per loss weighting and seed, trained on moving sprites and scored exactly."""

import json
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from base.errors import InputError
from infra.options import parse, plural, report

if TYPE_CHECKING:
    from evaluation.sprites_study.study import Study


@dataclass(frozen=True)
class Options:
    """Compare loss weightings and image conditions on moving sprites: equal budgets, several seeds, exact scores.

    The same command again continues where it was interrupted; arms and seeds can be added.
    """

    out: Path | None = None
    """Folder for videos, features, runs and the report; on a cluster, one that all machines share."""
    size: Literal["cpu", "gpu"] = "cpu"
    """For two CPU cores, or for a GPU."""
    arms: tuple[str, ...] = ("none", "motif", "inverse")
    """Any of none, motif, inverse, lambda-0.5, lambda-2, lambda-5, ltd, delta, both, cx-attn; or "all"."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """A run for each arm and seed."""
    workers: int = 0
    """How many runs are computed at once, as Ray tasks on the cluster of RAY_ADDRESS or on this machine; 0: one after
    the other in this process."""
    steps: int | None = None
    """Training steps of each run; by default the size's."""
    clips: int | None = None
    """Training clips; by default the size's."""
    images: int | None = None
    """Held-out images; by default the size's."""
    dry_run: bool = False
    """Print the plan and stop."""


def main(args: list[str]) -> None:
    """Run the command."""
    options = parse(Options, args, "motif study-sprites")
    if options.out is None:
        raise InputError("--out is missing: give a folder for the study.")
    if options.workers < 0:
        raise InputError(f"--workers {options.workers}: must be 0 or more.")
    study = _study(options)
    missing = _unfinished(study)
    report(f"{plural(len(study.runs), 'run')}: {', '.join(plan.name for plan in study.runs)}; {len(missing)} to do")
    if options.dry_run:
        print(json.dumps({"size": study.size.settings(), "runs": [plan.name for plan in study.runs]}, indent=2))
        return
    from evaluation.sprites_study.execute import execute

    page = execute(study, options.workers, [shlex.join(["motif", "study-sprites", *args])], report)
    print(json.dumps({"report": str(page), "runs": len(study.runs)}))


def _study(options: Options) -> "Study":
    from evaluation.sprites_study.arms import ARMS  # torch, which --help does without
    from evaluation.sprites_study.sizes import SIZES
    from evaluation.sprites_study.study import Study

    assert options.out is not None
    try:
        size = SIZES[options.size]()
        if options.steps is not None:
            size = replace(size, train=replace(size.train, steps=options.steps))
        given = {name: getattr(options, name) for name in ("clips", "images") if getattr(options, name) is not None}
        arms = tuple(ARMS) if options.arms == ("all",) else options.arms
        return Study(options.out.absolute(), replace(size, **given), arms, options.seeds)
    except ValueError as error:
        raise InputError(f"--{error}.") from error


def _unfinished(study: "Study") -> list[str]:
    from evaluation.sprites_study.run import read_result

    return [plan.name for plan in study.runs if read_result(study, plan) is None]
