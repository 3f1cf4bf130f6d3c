"""The state of a dataset for planning: slots written or rejected, known sources, parts."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import pyarrow as pa

from base.keys import KeyIndex, Keys, hashes_of_texts, keys_of, keys_of_column, keys_of_texts, no_keys
from base.processes.memory import release_memory
from base.storage.folder import Folder
from dataset.identity import digest
from dataset.parts.each import apply_each
from dataset.parts.listing import list_parts
from dataset.parts.part_file import PartFile
from dataset.parts.tables import SOURCES, part_facts, read_parts

Parts = Mapping[str, Container[str]]
FAILED, FILTERED = "failed", "filtered"
# Classes of readable but unusable videos: filtered, not failed. See media.colour.
UNSUITABLE = frozenset({"HighDynamicRange", "UnknownColour", "Interlaced", "DisplayMatrix"})

PLANNING_FACTS = (
    *("stamp", "content", "error_class", "message", "frames", "fps", "variable_rate", "times"),
    *("height", "width", "turns", "pixel_aspect", "codec", "pixel_format"),
)
"""The columns of sources that a plan uses."""
_REPEATED = frozenset({"error_class", "message", "codec", "pixel_format"})  # held once for all rows
_PARTS_AT_ONCE = 512
_LARGE_PARTS_AT_ONCE = 2  # of sources, with hundreds of thousands of rows
_ROWS_AT_ONCE = 16384


def probe_outcome(error_class: str) -> str:
    """The outcome of a source with this error class: filtered if it is readable but unusable, else failed."""
    return FILTERED if error_class in UNSUITABLE else FAILED


@dataclass(eq=False)
class Ledger:
    """The state of a dataset.

    ``written`` are the slots of clips, ``captions`` hashes of their captions at its positions
    (:func:`base.keys.hashes_of_texts`), ``clip_ids`` the clips'. ``rejected`` maps a slot to its outcome (``failed`` or
    ``filtered``) and the rule that filtered it; ``attempts`` counts tries.
    """

    written: KeyIndex = field(default_factory=KeyIndex)
    captions: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    clip_ids: KeyIndex = field(default_factory=KeyIndex)
    rejected: dict[str, tuple[str, str]] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)
    clip_parts: list[str] = field(default_factory=list)
    rows: int = 0
    """Rows of all parts of clips; more than ids if clips are duplicated."""

    @classmethod
    def of(cls, written: Mapping[str, str], clip_ids: Sequence[str] = ()) -> "Ledger":
        """The ledger of clips with these ids, given the caption of each slot."""
        captions = hashes_of_texts(list(written.values()))
        return cls(KeyIndex.of(list(written)), captions, KeyIndex.of(list(clip_ids)), rows=len(clip_ids))

    @classmethod
    def read(cls, dataset: Folder, without: Parts = MappingProxyType({})) -> "Ledger":
        """Read slots, ids and rejects, no tensors. ``without``: damaged parts, by folder."""
        whole = {
            folder: [part for part in parts if part not in without.get(folder, ())]
            for folder, parts in list_parts(dataset, ("clips", "rejects")).items()
        }
        ledger = cls(clip_parts=whole["clips"])
        ledger._read_clips(dataset / "clips")
        rejects = committed_rejects(dataset, set(ledger.clip_parts), whole["rejects"])
        for batch in rejects.to_batches(max_chunksize=_ROWS_AT_ONCE):
            written = ledger.written.find(keys_of(batch.column("slot").to_pylist())) >= 0
            for row, is_written in zip(batch.to_pylist(), written, strict=True):
                if row["artifact"] == "" and not is_written:
                    ledger.rejected[row["slot"]] = (row["outcome"], row["error_class"])
                    ledger.attempts[row["slot"]] = max(row["attempts"], ledger.attempts.get(row["slot"], 0))
        return ledger

    def _read_clips(self, folder: Folder) -> None:
        slots, ids, captions = [no_keys()], [no_keys()], [self.captions]
        for first in range(0, len(self.clip_parts), _PARTS_AT_ONCE):
            names = self.clip_parts[first : first + _PARTS_AT_ONCE]
            clips = read_parts(folder, ["slot", "clip_id", "caption"], names)
            self.rows += clips.num_rows
            slots.append(keys_of_column(clips.column("slot")))
            ids.append(keys_of_column(clips.column("clip_id")))
            captions.append(hashes_of_texts(clips.column("caption").fill_null("").to_pylist()))
        self.written = KeyIndex(_joined(slots))
        self.clip_ids = KeyIndex(_joined(ids))
        self.captions = _joined(captions)
        release_memory()  # reading thousands of small files leaves much of it unused


def _joined(pieces: list[np.ndarray]) -> np.ndarray:
    """The pieces as one array. Empties the list, so that they are not in memory longer than necessary."""
    whole = np.concatenate(pieces)
    pieces.clear()
    return whole


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
    """The probed sources; of a changed source the latest state."""

    def __init__(self, parts: list[tuple[Keys, pa.Table]]) -> None:
        """Of parts, older ones first: the keys of the sources' URIs, and :data:`PLANNING_FACTS`. Empties the list."""
        keys, facts = [no_keys(), *(keys for keys, _ in parts)], [table for _, table in parts]
        parts.clear()
        self._index = KeyIndex(_joined(keys))
        self._facts = pa.table([_take_column(facts, name) for name in PLANNING_FACTS], names=PLANNING_FACTS)
        release_memory()

    @classmethod
    def of(cls, table: pa.Table) -> "Sources":
        """Of rows of :data:`dataset.parts.tables.SOURCES`."""
        return cls([(_uri_keys(table), table.select(PLANNING_FACTS))])

    @classmethod
    def read(cls, dataset: Folder, without: Parts = MappingProxyType({})) -> "Sources":
        """Read all parts. ``without``: damaged parts, by folder."""
        folder = dataset / "sources"
        (listed,) = list_parts(dataset, ("sources",)).values()
        names = [name for name in listed if name not in without.get("sources", ())]

        def read(name: str) -> tuple[int, Keys, pa.Table]:
            table = _read_sources(folder, name)
            return source_order(table), _uri_keys(table), table.select(PLANNING_FACTS)  # URIs are most of the bytes

        # Nothing else may refer to the parts, so that each column can be dropped.
        found = sorted(apply_each(folder, read, names, threads=_LARGE_PARTS_AT_ONCE), key=lambda part: part[0])
        return cls([found.pop(0)[1:] for _ in names])

    def __len__(self) -> int:
        """The number of sources."""
        return len(self._index)

    def find(self, uris: Sequence[str]) -> np.ndarray:
        """The position of each source, -1 where it was never probed."""
        return self._index.find(keys_of_texts(uris))

    def take(self, positions: np.ndarray, columns: Sequence[str] = PLANNING_FACTS) -> pa.Table:
        """Facts of the sources at these positions, null at -1."""
        taken = self._facts.select(columns).take(pa.array(positions, mask=positions < 0))
        return taken.cast(pa.schema([SOURCES.field(name) for name in columns]))


def _take_column(tables: list[pa.Table], name: str) -> pa.ChunkedArray:
    """The first column of all tables in one piece. Drops it from them, so that memory holds the facts about once."""
    kind = SOURCES.field(name).type
    column = pa.chunked_array([chunk for table in tables for chunk in table.column(name).chunks], kind)
    tables[:] = [table.drop_columns([name]) for table in tables]
    column = pa.table([column], names=[name]).combine_chunks().column(0)
    return column.dictionary_encode() if name in _REPEATED else column


def _uri_keys(table: pa.Table) -> Keys:
    chunks = table.select(["uri"]).to_batches(max_chunksize=_ROWS_AT_ONCE)  # fewer Python strings at a time
    return np.concatenate([no_keys(), *(keys_of_texts(chunk.column(0).to_pylist()) for chunk in chunks)])


def _read_sources(folder: Folder, name: str) -> pa.Table:
    """The columns of a part of the sources that a plan uses; those that version 1 lacks are null."""
    with PartFile(folder, name) as part:
        table = part.read([column for column in ("uri", *PLANNING_FACTS) if column in part.schema.names])
    for column in PLANNING_FACTS:
        if column not in table.column_names:
            table = table.append_column(SOURCES.field(column), pa.nulls(table.num_rows, SOURCES.field(column).type))
    return table.select(["uri", *PLANNING_FACTS])


def sources_part(order: int, uris: Sequence[str]) -> str:
    """The name of a part of the sources."""
    return f"part-{digest('sources', str(order), *uris)[:16]}.parquet"


def next_source_order(dataset: Folder) -> int:
    """A number higher than the order of every part of the sources."""
    folder = dataset / "sources"
    (names,) = list_parts(dataset, ("sources",)).values()
    orders = apply_each(folder, lambda name: int(part_facts(folder, name).get("order", "0")), names)
    return max(orders, default=-1) + 1


def source_order(table: pa.Table) -> int:
    """The order of a part of the sources; what a higher one says of a source replaces what a lower one says."""
    return int((table.schema.metadata or {}).get(b"order", b"0"))
