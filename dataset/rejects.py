"""Rejects: clips that were not written, and why. Outdated ones are dropped after a run."""

from collections.abc import Callable, Container
from typing import Any

import numpy as np
import pyarrow as pa

from base.storage.folder import Folder
from dataset.ledger import committed_reject_parts
from dataset.parts.each import apply_each
from dataset.parts.listing import list_parts
from dataset.parts.part_file import read_part
from dataset.parts.tables import FACTS, REJECTS, part_facts, part_names, read_parts, write_part


def reject_part(part: str, artifact: str = "") -> str:
    """The part of the rejects that belongs to a part of clips: of clips that failed, or that failed in an artifact."""
    return part.replace(".parquet", f"-{artifact}.parquet") if artifact else part


def read_rejects(dataset: Folder) -> pa.Table:
    """All valid rejects, oldest run first."""
    listed = list_parts(dataset, ("clips", "rejects"))
    clip_parts = set(listed["clips"])
    names = committed_reject_parts(dataset, clip_parts, listed["rejects"])
    table = read_parts(dataset / "rejects", REJECTS.names, names)
    if not table.num_rows:
        return REJECTS.empty_table()
    return _valid(table, clip_parts).sort_by([("run", "ascending"), ("slot", "ascending")])


def _valid(table: pa.Table, clip_parts: Container[str]) -> pa.Table:
    """The rejects without those of an artifact in a part of clips that another has replaced."""
    columns = (table.column(name).to_pylist() for name in ("artifact", "part"))
    keep = [not artifact or part is None or part in clip_parts for artifact, part in zip(*columns, strict=True)]
    return table.filter(pa.array(np.array(keep, bool)))


def tidy_rejects(dataset: Folder, is_stale: Callable[[dict[str, Any]], bool]) -> None:
    """Drop stale rejects, and all but the latest of each slot and artifact.

    A part is replaced atomically, or deleted if nothing of it is left.
    """
    folder = dataset / "rejects"
    clip_parts = set(part_names(dataset / "clips"))
    names = part_names(folder)
    counted = committed_reject_parts(dataset, clip_parts, names)
    latest: dict[tuple[str, str], str] = {}
    tables = dict(zip(counted, apply_each(folder, lambda name: read_part(folder, name), counted), strict=True))
    valid = {name: _valid(table, clip_parts) for name, table in tables.items()}
    for table in valid.values():
        for slot, artifact, run in _keys(table):
            latest[slot, artifact] = max(run, latest.get((slot, artifact), ""))
    for name in names:
        if name not in tables:
            folder.delete(name)  # left by a run that was killed before it wrote the clips
            continue
        rows = valid[name].to_pylist()
        kept = [row for row in rows if latest[row["slot"], row["artifact"]] == (row["run"] or "") and not is_stale(row)]
        if not kept:
            folder.delete(name)
        elif len(kept) < tables[name].num_rows:
            table = pa.Table.from_pylist(kept, schema=REJECTS)
            write_part(folder, name, table, FACTS, part_facts(folder, name))


def _keys(table: pa.Table) -> list[tuple[str, str, str]]:
    columns = (table.column(name).to_pylist() for name in ("slot", "artifact", "run"))
    return [(slot, artifact, run or "") for slot, artifact, run in zip(*columns, strict=True)]
