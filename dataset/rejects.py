"""Rejects: clips that were not written, and why. Outdated ones are dropped after a run."""

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from base.storage.folder import Folder
from dataset.ledger import committed_reject_parts
from dataset.parts.part_file import read_part
from dataset.parts.tables import FACTS, REJECTS, part_facts, part_names, read_parts, write_part


def read_rejects(dataset: Folder) -> pa.Table:
    """All valid rejects, oldest run first."""
    names = committed_reject_parts(dataset, set(part_names(dataset / "clips")))
    table = read_parts(dataset / "rejects", REJECTS.names, names)
    if not table.num_rows:
        return REJECTS.empty_table()
    return table.sort_by([("run", "ascending"), ("slot", "ascending")])


def tidy_rejects(dataset: Folder, is_stale: Callable[[dict[str, Any]], bool]) -> None:
    """Drop stale rejects, and all but the latest of each slot and artifact.

    A part is replaced atomically, or deleted if nothing of it is left.
    """
    folder = dataset / "rejects"
    clip_parts = set(part_names(dataset / "clips"))
    counted = set(committed_reject_parts(dataset, clip_parts))
    latest: dict[tuple[str, str], str] = {}
    tables = {name: read_part(folder, name) for name in counted}
    for table in tables.values():
        for slot, artifact, run in _keys(table):
            latest[slot, artifact] = max(run, latest.get((slot, artifact), ""))
    for name in part_names(folder):
        if name not in counted:
            folder.delete(name)  # left by a run that was killed before it wrote the clips
            continue
        rows = tables[name].to_pylist()
        kept = [row for row in rows if latest[row["slot"], row["artifact"]] == (row["run"] or "") and not is_stale(row)]
        if not kept:
            folder.delete(name)
        elif len(kept) < len(rows):
            table = pa.Table.from_pylist(kept, schema=REJECTS)
            write_part(folder, name, table, FACTS, part_facts(folder, name))


def _keys(table: pa.Table) -> list[tuple[str, str, str]]:
    columns = (table.column(name).to_pylist() for name in ("slot", "artifact", "run"))
    return [(slot, artifact, run or "") for slot, artifact, run in zip(*columns, strict=True)]
