"""``motif dataset``: stats, explain, verify, filter, recaption, merge, compact, diff and export."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from base.errors import DamagedFile, Incomplete, InputError
from base.storage.folder import Folder
from dataset.catalog import Catalog
from dataset.view import View
from infra.options import parse, plural, report, take_positional
from infra.recipes import named
from pipeline.curation import compact, diff, export, merge, stats, verify
from pipeline.manifest import ManifestColumns


def main(args: list[str]) -> int | None:
    """Run one of the subcommands."""
    if not args or args[0] in ("-h", "--help"):
        lines = [f"  {name:<10} {command.__doc__}" for name, command in _COMMANDS.items()]
        print("\n".join(["usage: motif dataset COMMAND DATASET [OPTIONS]", "", *lines]))
        return 0 if args else 2
    if args[0] not in _COMMANDS:
        raise InputError(f"motif dataset {args[0]}: unknown subcommand; choose from {', '.join(_COMMANDS)}.")
    return _COMMANDS[args[0]](args[1:])


def _print(result: Any, **more: object) -> None:
    print(json.dumps(more | dataclasses.asdict(result), indent=2))


@dataclasses.dataclass(frozen=True)
class _Stats:
    """Print clips, scores, sizes and rejects in figures, as JSON."""


def _stats(args: list[str]) -> None:
    """clips, scores, sizes and rejects in figures"""
    place, rest = take_positional(args, "DATASET", "motif dataset stats")
    parse(_Stats, rest, "motif dataset stats DATASET")
    _print(stats.read_stats(Folder(place)), dataset=place)


@dataclasses.dataclass(frozen=True)
class _Explain:
    """Explain where artifacts come from, what a recipe would change, or the state of a clip."""

    recipe: str | None = None
    """Show what this recipe would reuse and compute, and which settings differ."""
    clip: str | None = None
    """Show everything about clips whose id starts with this or whose path contains it."""


def _explain(args: list[str]) -> None:
    """where artifacts come from, what a recipe would change, the state of a clip"""  # noqa: D403
    from pipeline.curation import explain  # recipes need torch, which takes seconds to import
    from pipeline.recipes import RECIPES, Preprocess

    place, rest = take_positional(args, "DATASET", "motif dataset explain")
    options = parse(_Explain, rest, "motif dataset explain DATASET")
    dataset = Folder(place)
    if options.clip is not None:
        lines = explain.explain_clip(dataset, options.clip)
    elif options.recipe is not None:
        lines = explain.explain_recipe(dataset, named(options.recipe, RECIPES, Preprocess))
    else:
        lines = explain.explain_artifacts(dataset)
    print("\n".join(lines))


@dataclasses.dataclass(frozen=True)
class _Filter:
    """Select clips by rules and ids, and write the selection as a view: a small file without a copy of the data."""

    out: Path
    """The view, a JSON file."""
    where: tuple[str, ...] = ()
    """Rules a clip must meet, such as "moving_share>=0.01" "fps<=30"."""
    artifacts: tuple[str, ...] = ()
    """Artifacts that the view offers to training; by default all."""
    ids: Path | None = None
    """A file with one clip id per line; other clips are left out."""
    weight: float = 1.0
    """The view's weight in a mixture of several."""


def _filter(args: list[str]) -> None:
    """choose clips by rules, as a view"""  # noqa: D403
    place, rest = take_positional(args, "DATASET", "motif dataset filter")
    options = parse(_Filter, rest, "motif dataset filter DATASET")
    if not options.weight > 0:
        raise InputError(f"--weight {options.weight}: must be above 0.")
    view = _view(place, options.artifacts, options.where, options.ids, options.weight)
    count = view.clips(()).num_rows
    if not count:
        raise InputError(f"no clip of {place} meets all of: {', '.join(options.where)}. Relax a rule.")
    view.save(Folder(str(options.out.parent)), options.out.name)
    report(f"{plural(count, 'clip')} in the view {options.out}")
    print(json.dumps({"view": str(options.out), "clips": count}))


def _view(place: str, artifacts: tuple[str, ...], where: tuple[str, ...], ids: Path | None, weight: float) -> View:
    catalog = Catalog.require(Folder(place))
    chosen = tuple(catalog.pick(name, name) for name in artifacts) or tuple(catalog.artifacts)
    listed = None
    if ids is not None:
        try:
            listed = tuple(ids.read_text().split())
        except OSError as error:
            raise InputError(f"--ids {ids} cannot be read: {error.strerror}.") from error
    return View(place, chosen, where, listed, weight)


@dataclasses.dataclass(frozen=True)
class _Verify:
    """Read every byte of a dataset and report damaged or missing data, with exit status 4 or 5."""

    repair: bool = False
    """Move damaged files to the folder `damaged`, so that `motif preprocess` computes them again."""


def _verify(args: list[str]) -> int:
    """read every byte and report damage; --repair moves damaged files away"""  # noqa: D403
    place, rest = take_positional(args, "DATASET", "motif dataset verify")
    options = parse(_Verify, rest, "motif dataset verify DATASET")
    found = verify.verify(Folder(place), repair=options.repair)
    for file, what in found.damaged.items():
        report(f"{file} is damaged: {what}")
    if found.set_aside:
        report(f"moved to {found.set_aside}; run the last `motif preprocess` again to recompute them")
    elif found.damaged:
        report(f"`motif dataset verify {place} --repair` moves them away; then `motif preprocess` computes them again")
    for what, lacking in (("clip", found.clips_lacking), ("caption", found.captions_lacking)):
        for name, count in lacking.items():
            report(f"{name} lacks {plural(count, what)}: run its `motif preprocess` again to add them")
    _print(found, dataset=place)
    if found.set_aside:
        return 0
    if found.damaged:
        return DamagedFile.exit_code
    return Incomplete.exit_code if found.is_lacking else 0


@dataclasses.dataclass(frozen=True)
class _Recaption:
    """Replace the captions of written clips with those of a manifest; features are kept."""

    manifest: str
    """A manifest with the same videos and other captions."""
    columns: ManifestColumns = ManifestColumns()


def _recaption(args: list[str]) -> None:
    """give clips new captions; only the text states are computed again"""  # noqa: D403
    from pipeline.curation.recaption import recaption

    place, rest = take_positional(args, "DATASET", "motif dataset recaption")
    options = parse(_Recaption, rest, "motif dataset recaption DATASET")
    changed = recaption(Folder(place), options.manifest, options.columns)
    if changed:
        report("run `motif preprocess` again to compute the text states of the new captions")
    print(json.dumps({"dataset": place, "recaptioned": changed}))


@dataclasses.dataclass(frozen=True)
class _Merge:
    """Write a new dataset with the clips of several datasets."""

    out: str
    """The new dataset."""


def _merge(args: list[str]) -> None:
    """write several datasets as one new one: DATASET DATASET ... --out NEW"""  # noqa: D403
    inputs: list[str] = []
    while args and not args[0].startswith("-"):
        inputs, args = [*inputs, args[0]], args[1:]
    options = parse(_Merge, args, "motif dataset merge DATASET DATASET ...")
    if len(inputs) < 2:
        raise InputError("motif dataset merge: name at least two datasets, then --out.")
    merged = merge.merge([Folder(place) for place in inputs], Folder(options.out))
    if merged.left_out:
        report(f"left out because not all datasets have them: {', '.join(merged.left_out)}")
    _print(merged, dataset=options.out)


@dataclasses.dataclass(frozen=True)
class _Compact:
    """Merge small parts into larger ones, in place. Clips, features and fingerprints stay as they are.

    Programs that are reading the dataset end with a message. A training run that began on it cannot be resumed, because
    its clips have another order.
    """

    part_rows: int = compact.PART_ROWS
    """The most rows of a part that is made of several."""
    below: int | None = None
    """Parts with fewer rows are merged; by default all with fewer than `part-rows`."""


def _compact(args: list[str]) -> None:
    """merge small parts into larger ones, in place"""  # noqa: D403
    place, rest = take_positional(args, "DATASET", "motif dataset compact")
    options = parse(_Compact, rest, "motif dataset compact DATASET")
    below = options.part_rows if options.below is None else options.below
    _print(compact.compact(Folder(place), options.part_rows, below, report), dataset=place)


@dataclasses.dataclass(frozen=True)
class _Diff:
    """Print how two datasets differ, as JSON."""


def _diff(args: list[str]) -> None:
    """how two datasets differ: DATASET OTHER"""  # noqa: D403
    place, rest = take_positional(args, "DATASET", "motif dataset diff")
    other, rest = take_positional(rest, "OTHER", f"motif dataset diff {place}")
    parse(_Diff, rest, "motif dataset diff DATASET OTHER")
    _print(diff.diff(Folder(place), Folder(other)), a=place, b=other)


@dataclasses.dataclass(frozen=True)
class _Export:
    """Write clips as mp4 files with a metadata.jsonl, as a Hugging Face videofolder."""

    out: str
    """Folder to write to; a local path or s3://."""
    where: tuple[str, ...] = ()
    """Rules a clip must meet, such as "moving_share>=0.01"."""
    ids: Path | None = None
    """A file with one clip id per line; other clips are left out."""
    arrays: tuple[str, ...] = ()
    """Artifacts whose values are also written, as arrays/ID.npz, such as heatmaps."""


def _export(args: list[str]) -> None:
    """clips as plain mp4 files with metadata.jsonl"""  # noqa: D403
    place, rest = take_positional(args, "DATASET", "motif dataset export")
    options = parse(_Export, rest, "motif dataset export DATASET")
    catalog = Catalog.require(Folder(place))
    per_clip = tuple(name for name, artifact in catalog.artifacts.items() if artifact.per_clip)
    view = _view(place, per_clip, options.where, options.ids, 1.0)
    _print(export.export(view, Folder(options.out), options.arrays, report), folder=options.out)


_COMMANDS: dict[str, Callable[[list[str]], int | None]] = {
    "stats": _stats,
    "explain": _explain,
    "verify": _verify,
    "filter": _filter,
    "recaption": _recaption,
    "merge": _merge,
    "compact": _compact,
    "diff": _diff,
    "export": _export,
}
