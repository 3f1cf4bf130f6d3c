"""``motif preprocess``: videos in, feature dataset out."""

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated, Generic, TypeVar

import tyro

from base.config import dump
from base.storage.folder import Folder
from infra.options import parse, report
from infra.recipes import chosen, usage
from pipeline.manifest import ManifestColumns

if TYPE_CHECKING:
    from pipeline.recipes import Preprocess
    from pipeline.run.run import Run

Recipe = TypeVar("Recipe")

_USAGE = """usage: motif preprocess RECIPE --manifest M --out DATASET [--dry-run] [--limit N] [OPTIONS]
       motif preprocess --config FILE.json --manifest M --out DATASET [OPTIONS]

recipes:
{recipes}
  or package.module:function, your own function that returns pipeline.recipes.Preprocess

motif preprocess RECIPE --help lists every field that can be overridden."""


@dataclasses.dataclass(frozen=True)
class Options(Generic[Recipe]):
    """Compute a recipe's features for every clip of a manifest, reusing existing ones."""

    recipe: Annotated[Recipe, tyro.conf.arg(name="")]
    manifest: str
    """A folder of videos, tar shards, or a CSV, TSV, JSON or Parquet file; local or s3:// (docs/manifests.md)."""
    out: str
    """The dataset, a folder; a local path or s3://."""
    dry_run: bool = False
    """Print the resolved recipe and the plan, and stop."""
    limit: int | None = None
    """Largest number of new clips to plan."""
    columns: ManifestColumns = ManifestColumns()


def main(args: list[str]) -> None:
    """Run the command."""
    if not args or args[0] in ("-h", "--help"):
        print(usage(_USAGE, "pipeline.recipes"))
        return
    options = read(args)
    from pipeline.run.job import Job
    from pipeline.run.run import Run

    run = Run(Job(options.recipe, options.manifest, Folder(options.out), options.columns, options.limit), report)
    if options.dry_run:
        print(dump(run.context.recipe))
        run.dry_run()
    else:
        finish(run, options.out)


def read(args: list[str]) -> "Options[Preprocess]":
    """The options of a command line; InputError if they are wrong."""
    from pipeline.recipes import RECIPES, Preprocess  # torch takes seconds to import, and so does Ray

    recipe, rest = chosen(args, RECIPES, Preprocess)
    default = Options(recipe, tyro.MISSING, tyro.MISSING)
    return parse(Options[Preprocess], rest, f"motif preprocess {args[0]}", default)


def finish(run: "Run", dataset: str) -> None:
    """Execute a run and print its account as one JSON line, the only output on stdout."""
    from base import ray_session

    with ray_session.session():
        account = run.execute()
    print(json.dumps({"dataset": dataset, **dataclasses.asdict(account)}))
