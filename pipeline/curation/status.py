"""How far a dataset is: what is written, what its artifacts lack, how its last run ended. Reads footers, not clips."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from base.errors import MissingPart
from base.storage.folder import Folder
from dataset.catalog import Catalog
from dataset.ledger import FAILED, FILTERED
from dataset.parts.footers import CLIPS, REJECTS, Footer, read_footers
from dataset.parts.listing import list_parts
from dataset.parts.tables import read_parts
from pipeline.graph.work import planned_parts
from pipeline.run.records import command, last_record


@dataclass(frozen=True)
class ArtifactStatus:
    """One artifact of clips: clips in parts that it lacks, and clips that failed in it."""

    lacking: int
    failed: int
    replaced: bool
    """Whether it lacks clips while another of its kind is complete: left behind by a changed recipe."""


@dataclass(frozen=True)
class LastRun:
    """The record of the last run that ended by itself. A run that was killed leaves none."""

    run: str
    """Its start, in UTC: 20260131T235959.000000Z."""
    seconds: float
    complete: bool
    """Whether every planned clip was written, filtered or failed."""
    planned: int
    written: int
    filtered: int
    failed: int
    error: dict[str, str] | None
    """``class`` and ``message`` of the error that ended it; None without, and in records of earlier versions."""
    command: str
    """Runs it again."""


@dataclass(frozen=True)
class DatasetStatus:
    """The state of a dataset. While a run writes, a clip that it tries again counts as rejected, too."""

    clips: int
    filtered: int
    failed: int
    artifacts: dict[str, ArtifactStatus]
    captions: dict[str, int]
    """By text artifact, captions with states."""
    planned: int
    """New clips in the plan of the run in progress, or of one that was killed; 0 between runs."""
    settled: int
    """Those of them that are in parts already written."""
    damaged: dict[str, str]
    """Damaged files of clips and rejects, and what is wrong with each."""
    last_run: LastRun | None


def read_status(dataset: Folder) -> DatasetStatus:
    """The state of a dataset; nothing is changed. InputError if the folder is not a dataset."""
    catalog = Catalog.require(dataset)
    try:
        return _read(dataset, catalog)
    except MissingPart:  # a run that ends now replaces parts of the rejects, once
        return _read(dataset, catalog)


def _read(dataset: Folder, catalog: Catalog) -> DatasetStatus:
    listed = list_parts(dataset, (CLIPS, REJECTS, *catalog.artifacts))
    clips, damaged = read_footers(dataset / CLIPS, listed[CLIPS])
    rejects, broken = read_footers(dataset / REJECTS, listed[REJECTS])
    table = _rejects(dataset, rejects, clips)
    outcomes, failed_in = _count(table)
    plan = planned_parts(dataset / "runs")
    rejected = {row["part"] for row in table.to_pylist() if row["run"] == plan.run}
    record = last_record(dataset)
    return DatasetStatus(
        clips=sum(footer.rows for footer in clips.values()),
        filtered=outcomes.get(FILTERED, 0),
        failed=outcomes.get(FAILED, 0),
        artifacts=_artifacts(catalog, listed, clips, failed_in),
        captions=_captions(dataset, catalog, listed),
        planned=sum(plan.clips.values()),
        settled=sum(count for part, count in plan.clips.items() if part in clips or part in rejected),
        damaged={error.uri: error.what for error in (*damaged.values(), *broken.values())},
        last_run=None if record is None else _last_run(record, dataset),
    )


def _rejects(dataset: Folder, rejects: Mapping[str, Footer], clips: Mapping[str, Footer]) -> pa.Table:
    """The valid rejects, older runs first."""
    valid = [name for name, footer in rejects.items() if footer.facts.get("clips_part", "") in ("", *clips)]
    columns = ["run", "slot", "artifact", "outcome", "part"]
    table = read_parts(dataset / REJECTS, columns, valid)
    return table.sort_by("run") if table.num_rows else table


def _count(rejects: pa.Table) -> tuple[dict[str, int], dict[str, int]]:
    """Rejected slots by outcome, and clips by the artifact in which they failed; of a slot the last run counts."""
    latest = {(row["slot"], row["artifact"]): row["outcome"] for row in rejects.to_pylist()}
    outcomes: dict[str, int] = {}
    failed_in: dict[str, int] = {}
    for (_, artifact), outcome in latest.items():
        counts, key = (failed_in, artifact) if artifact else (outcomes, outcome)
        counts[key] = counts.get(key, 0) + 1
    return outcomes, failed_in


def _artifacts(
    catalog: Catalog, listed: Mapping[str, list[str]], clips: Mapping[str, Footer], failed: Mapping[str, int]
) -> dict[str, ArtifactStatus]:
    lacking = {}
    for name, artifact in catalog.artifacts.items():
        if artifact.per_clip:
            there = set(listed[name])
            lacking[name] = sum(footer.rows for part, footer in clips.items() if part not in there)
    whole = {catalog.artifacts[name].kind for name, count in lacking.items() if not count}
    return {
        name: ArtifactStatus(count, failed.get(name, 0), bool(count) and catalog.artifacts[name].kind in whole)
        for name, count in lacking.items()
    }


def _captions(dataset: Folder, catalog: Catalog, listed: Mapping[str, list[str]]) -> dict[str, int]:
    names = [name for name, artifact in catalog.artifacts.items() if not artifact.per_clip]
    footers = {name: read_footers(dataset / name, listed[name])[0] for name in names}
    return {name: sum(footer.rows for footer in found.values()) for name, found in footers.items()}


def _last_run(record: Mapping[str, Any], dataset: Folder) -> LastRun:
    counts = {name: record[name] for name in ("planned", "written", "filtered", "failed")}
    return LastRun(
        run=record["run"],
        seconds=record["seconds"],
        complete=record["complete"],
        error=record.get("error"),
        command=command(record, dataset),
        **counts,
    )
