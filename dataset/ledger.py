"""The state of a dataset for planning: slots written or rejected, known sources, parts."""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import pyarrow as pa

from base.storage.folder import Folder
from dataset.parts.each import apply_each
from dataset.parts.listing import list_parts
from dataset.parts.part_file import read_part
from dataset.parts.tables import SOURCES, part_facts, read_parts

Parts = Mapping[str, Container[str]]
FAILED, FILTERED = "failed", "filtered"
# Classes of readable but unusable videos: filtered, not failed. See media.colour.
UNSUITABLE = frozenset({"HighDynamicRange", "UnknownColour", "Interlaced", "DisplayMatrix"})


def probe_outcome(error_class: str) -> str:
    """The outcome of a source with this error class: filtered if it is readable but unusable, else failed."""
    return FILTERED if error_class in UNSUITABLE else FAILED


@dataclass
class Ledger:
    """The state of a dataset.

    ``written`` maps the slot of each clip to the id of its caption; ``clip_ids`` are the clips'. ``rejected`` maps a
    slot to its outcome (``failed`` or ``filtered``) and the rule that filtered it; ``attempts`` counts tries.
    """

    written: dict[str, str] = field(default_factory=dict)
    clip_ids: set[str] = field(default_factory=set)
    rejected: dict[str, tuple[str, str]] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)
    clip_parts: list[str] = field(default_factory=list)
    rows: int = 0
    """Rows of all parts of clips; more than ids if clips are duplicated."""

    @classmethod
    def read(cls, dataset: Folder, without: Parts = MappingProxyType({})) -> "Ledger":
        """Read slots, ids and rejects, no tensors. ``without``: damaged parts, by folder."""
        whole = {
            folder: [part for part in parts if part not in without.get(folder, ())]
            for folder, parts in list_parts(dataset, ("clips", "rejects")).items()
        }
        ledger = cls(clip_parts=whole["clips"])
        ledger._read_clips(dataset / "clips")
        for row in _rows(committed_rejects(dataset, set(ledger.clip_parts), whole["rejects"])):
            if row["artifact"] == "" and row["slot"] not in ledger.written:
                ledger.rejected[row["slot"]] = (row["outcome"], row["error_class"])
                ledger.attempts[row["slot"]] = max(row["attempts"], ledger.attempts.get(row["slot"], 0))
        return ledger

    def _read_clips(self, folder: Folder) -> None:
        clips = read_parts(folder, ["slot", "clip_id", "text_id"], self.clip_parts)
        self.rows = clips.num_rows
        if clips.num_rows:
            for batch in clips.to_batches(max_chunksize=65536):
                slots, ids, texts = (batch.column(i).to_pylist() for i in range(3))
                self.written.update(zip(slots, texts, strict=True))
                self.clip_ids.update(ids)
        del clips
        pa.default_memory_pool().release_unused()  # reading thousands of small files leaves much memory unused


def _rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in table.to_batches(max_chunksize=65536):
        yield from batch.to_pylist()


def committed_reject_parts(dataset: Folder, clip_parts: Container[str], names: Sequence[str]) -> list[str]:
    """Those of the parts of the rejects that are valid.

    Rejects of a part of clips are written before it and are valid once it exists. A run killed in between leaves
    invalid rejects, and the next run writes both again.
    """
    folder = dataset / "rejects"
    needs = apply_each(folder, lambda name: part_facts(folder, name).get("clips_part", ""), names)
    return [name for name, need in zip(names, needs, strict=True) if not need or need in clip_parts]


def committed_rejects(dataset: Folder, clip_parts: Container[str], names: Sequence[str]) -> pa.Table:
    """Slot, artifact, outcome, error class and attempts of the valid rejects, older runs first."""
    columns = ["slot", "artifact", "outcome", "error_class", "attempts", "run"]
    table = read_parts(dataset / "rejects", columns, committed_reject_parts(dataset, clip_parts, names))
    # The latest run's outcome of a slot comes last.
    return table.sort_by("run") if table.num_rows else table


class Sources:
    """The probed sources by uri; of a changed source the latest state.

    ``next_order`` is higher than the order of every part.
    """

    def __init__(self, table: pa.Table, next_order: int = 0) -> None:
        self.table = table
        self.next_order = next_order
        uris = table.column("uri").to_pylist() if table.num_rows else []
        self.rows = {uri: row for row, uri in enumerate(uris)}

    @classmethod
    def read(cls, dataset: Folder, without: Parts = MappingProxyType({})) -> "Sources":
        """Read all parts, older ones first. ``without``: damaged parts, by folder."""
        folder = dataset / "sources"
        (listed,) = list_parts(dataset, ("sources",)).values()
        names = [name for name in listed if name not in without.get("sources", ())]
        tables = apply_each(folder, lambda name: read_part(folder, name), names)
        tables.sort(key=source_order)
        next_order = source_order(tables[-1]) + 1 if tables else 0
        joined = pa.concat_tables(t.replace_schema_metadata(None) for t in tables) if tables else SOURCES.empty_table()
        del tables
        joined = joined.combine_chunks()
        pa.default_memory_pool().release_unused()
        return cls(joined, next_order)


def source_order(table: pa.Table) -> int:
    """The order of a part of the sources; what a higher one says of a source replaces what a lower one says."""
    return int((table.schema.metadata or {}).get(b"order", b"0"))
