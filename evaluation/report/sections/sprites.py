"""Exact scores on moving sprites, from results of ``motif evaluate sprites``, with the controls beside them."""

import shlex
from collections.abc import Sequence
from dataclasses import replace

from evaluation.report.content import Missing, Section, Table
from evaluation.report.results import Found, lacking, name_of, stale
from evaluation.report.run import Run
from evaluation.sprites.evaluate import Evaluation, Row
from evaluation.sprites.table import MEASURES, percent
from evaluation.statistics.estimate import Estimate

_TEXT = (
    "Videos of generated scenes whose true motion is known: per cent, with 95 % intervals over images. Right: the "
    "right object in the right one of eight directions. Displacement error: in per cent of the short side. Leakage: "
    "something else moved or changed. Kept: appearance of what moves. Prompt swap: right for the own prompt minus "
    "right for others of the image. Static: nothing moved. Controls are videos whose scores are known."
)
_PAIRS = "motif sprites --out SPRITES --seed 2 --num 144 --prompts-per-scene 3 --clear"


def scores_section(runs: Sequence[Run], results: Sequence[Found[Evaluation]]) -> Section:
    """The section."""
    named = [_named(found, runs) for found in results]
    which = lacking(runs, (row.name for one in named for row in one.models))
    return Section(
        key="sprites",
        title="Moving sprites: exact scores",
        text=_TEXT,
        notes=tuple(
            note
            for found in results
            for note in stale(found, ((row.name, row.step) for row in found.result.models), runs)
        ),
        tables=tuple(table for group in _comparable(named) for table in _tables(group)),
        missing=() if which is None else (Missing(_missing(which), (_PAIRS, _form(runs))),),
        commands=tuple(found.made_by(_form(runs)) for found in results),
        values=[{"file": found.place, **one.to_json()} for found, one in zip(results, named, strict=True)] or None,
    )


def right_videos(runs: Sequence[Run], results: Sequence[Found[Evaluation]]) -> dict[str, Estimate]:
    """The share of right videos by the names of runs; of a run that was scored twice, the first result's."""
    found = [row for result in results for row in _named(result, runs).models]
    return {row.name: row.summary.right for row in reversed(found)}


def _named(found: Found[Evaluation], runs: Sequence[Run]) -> Evaluation:
    renamed = tuple(replace(row, name=name_of(row.name, found, runs)) for row in found.result.models)
    return replace(found.result, models=renamed)


def _comparable(results: Sequence[Evaluation]) -> list[list[Evaluation]]:
    """Results of the same pairs, lengths and rates together: their controls have the same scores."""
    groups: list[list[Evaluation]] = []
    for one in results:
        same = (group for group in groups if (group[0].pairs, group[0].controls) == (one.pairs, one.controls))
        group = next(same, None)
        if group is None:
            groups.append([one])
        else:
            group.append(one)
    return groups


def _tables(group: Sequence[Evaluation]) -> list[Table]:
    rows = [*group[0].controls, *(row for one in group for row in one.models)]
    columns = ("", *(row.name if row.step is None else f"{row.name}, step {row.step:,}" for row in rows))
    first = rows[0].summary
    title = f"{first.videos:,} videos of {first.scenes:,} images of {group[0].pairs}"
    measures = tuple((name, *(percent(measure(row.summary)) for row in rows)) for name, measure in MEASURES.items())
    found = [Table(columns, measures, title)]
    if len(first.by_kind) > 1:
        found.append(Table(columns, tuple(_of_kind(kind, rows) for kind in first.by_kind), "Right, by kind of motion"))
    return found


def _of_kind(kind: str, rows: Sequence[Row]) -> tuple[str, ...]:
    return (kind, *(percent(row.summary.by_kind.get(kind)) for row in rows))


def _form(runs: Sequence[Run]) -> str:
    out = runs[0].folder.file("sprites") if len(runs) == 1 else "SCORES"
    more = "" if len(runs) == 1 else "; then give --sprites SCORES here"
    places = shlex.join(run.folder.uri for run in runs)
    return f"motif evaluate sprites {places} --pairs SPRITES --out {shlex.quote(out)}{more}"


def _missing(which: str) -> str:
    return f"scores on moving sprites{which}: no result of `motif evaluate sprites` (for models trained on such videos)"
