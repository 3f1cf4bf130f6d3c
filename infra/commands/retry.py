"""``motif retry``: retry failed clips with the recipe and manifest of the last run."""

import dataclasses
from typing import TYPE_CHECKING, Annotated, Generic, TypeVar

import tyro

from base.storage.folder import Folder
from infra.options import parse, report, take_positional

if TYPE_CHECKING:
    pass

Recipe = TypeVar("Recipe")

_USAGE = """usage: motif retry DATASET [--stage STAGE] [--error CLASS] [--dry-run] [OPTIONS]

Try failed clips again, with the recipe and the manifest of the last run; those of the manifest that were never tried
(beyond --limit) are computed too.

motif retry DATASET --help lists every field of the recipe that can be overridden."""


@dataclasses.dataclass(frozen=True)
class Options(Generic[Recipe]):
    """Try failed clips again; those of the manifest that were never tried (beyond --limit) are computed too.

    Fields of the recipe can be overridden, such as a longer --decode.deadline-s.
    """

    recipe: Annotated[Recipe, tyro.conf.arg(name="")]
    stage: str | None = None
    """Only failures of this stage: probe, decode, featurize, featurize:NAME."""
    error: str | None = None
    """Only failures of this class, such as Timeout."""
    dry_run: bool = False
    """Print the plan and stop."""


def main(args: list[str]) -> None:
    """Run the command."""
    place, rest = take_positional(args, "DATASET", "motif retry")
    if not place:
        print(_USAGE)
        return
    from infra.commands.preprocess import finish
    from pipeline.recipes import Preprocess
    from pipeline.run.job import RetryFilter
    from pipeline.run.records import last_job
    from pipeline.run.run import Run

    dataset = Folder(place)
    job = last_job(dataset)
    options: Options[Preprocess] = parse(Options[Preprocess], rest, f"motif retry {place}", Options(job.recipe))
    chosen = RetryFilter(options.stage, options.error)
    found = chosen.find(dataset)
    if not found.slots and not found.parts:
        failed = RetryFilter().find(dataset)
        others = len(failed.slots) + sum(map(len, failed.parts.values()))
        report("no failures" + (" match; `motif dataset stats` lists all" if others else ""))
        return
    run = Run(dataclasses.replace(job, recipe=options.recipe, retry=chosen), report)
    if options.dry_run:
        run.dry_run()
    else:
        finish(run, place)
