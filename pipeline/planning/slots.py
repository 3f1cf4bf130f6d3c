"""The slots of a batch of manifest rows, as columns: their keys, and which of them are written or repeated.

Most slots of a large plan are clips that the dataset has, and these are counted here without a step of Python each.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from base.keys import Keys, KeySet, hashes_of_texts, ids_of, seen_before
from dataset.identity import slot_keys
from dataset.ledger import Ledger, Sources
from pipeline.manifest.stamps import stamp_all
from pipeline.planning.clips import Row
from pipeline.recipes import Preprocess


@dataclass(frozen=True)
class RowColumns:
    """Manifest rows, with what is known of their sources; lists have an item a row."""

    uris: list[str]
    captions: list[str | None]
    starts: list[float | None]
    ends: list[float | None]
    faults: list[str | None]
    stamps: list[str | None]
    places: np.ndarray
    """The positions of the sources, -1 where there is none or it has changed."""
    contents: list[str | None]

    @classmethod
    def read(cls, batch: pa.RecordBatch, recipe: Preprocess, sources: Sources) -> "RowColumns":
        """Look up the rows (:data:`pipeline.manifest.ROWS`) of a manifest."""
        uris, captions, starts, ends, faults = (column.to_pylist() for column in batch.columns)
        sizes = pc.fill_null(pc.binary_length(batch.column("caption")), 0)
        doubtful = pc.or_(pc.equal(sizes, 0), pc.greater(sizes, recipe.max_caption_bytes)).to_numpy(
            zero_copy_only=False
        )
        for row in np.flatnonzero(doubtful).tolist():
            faults[row] = faults[row] or recipe.caption_fault(captions[row])
        stamps = stamp_all(uris)
        places = sources.find(uris)
        contents, probed = (column.to_pylist() for column in sources.take(places, ("content", "stamp")).columns)
        changed = [stamp is not None and stamp != old for stamp, old in zip(stamps, probed, strict=True)]
        places[np.array(changed, bool)] = -1
        return cls(uris, captions, starts, ends, faults, stamps, places, contents)

    def row(self, at: int) -> Row:
        """One of the rows."""
        return Row(self.uris[at], self.captions[at], self.starts[at], self.ends[at], self.faults[at])


@dataclass(frozen=True)
class Slots:
    """The slots of the rows without a fault whose sources are known, in order; ``clips_per_video`` a row."""

    rows: np.ndarray
    """The number of each slot's row."""
    keys: Keys
    again: np.ndarray
    """Whether an earlier row names the same clip."""
    written: np.ndarray
    """Positions in the ledger, -1 for slots that are not written."""

    @property
    def reused(self) -> np.ndarray:
        """Which of the slots are clips that the dataset has, and no repetitions."""
        return np.asarray((self.written >= 0) & ~self.again)

    def ids(self, some: np.ndarray) -> list[str]:
        """The ids of some slots, given by a mask or their positions."""
        return ids_of(self.keys[some])


class SlotFinder:
    """Finds the slots of one batch after the other, and repetitions among all of them."""

    def __init__(self, ledger: Ledger, clips_per_video: int, sampling_key: str) -> None:
        self.ledger, self.count, self.sampling_key = ledger, clips_per_video, sampling_key
        self._written = np.zeros(len(ledger.captions), bool)
        self._others = KeySet()

    def find(self, rows: RowColumns) -> Slots:
        """The slots of a batch."""
        usable = np.flatnonzero((rows.places >= 0) & np.array([fault is None for fault in rows.faults], bool))
        repeated = np.repeat(usable, self.count)
        order = repeated.tolist()
        keys = slot_keys(
            [rows.contents[at] or f"source:{rows.uris[at]}:{rows.stamps[at]}" for at in order],
            [rows.starts[at] for at in order],
            [rows.ends[at] for at in order],
            list(range(self.count)) * len(usable),
            self.sampling_key,
        )
        written = self.ledger.written.find(keys)
        again = seen_before(keys)
        there = written >= 0
        again[there] |= self._written[written[there]]
        self._written[written[there]] = True
        again[~there] |= self._others.has(keys[~there])
        self._others.add(keys[~there])
        return Slots(repeated, keys, again, written)

    def recaptioned(self, rows: RowColumns, slots: Slots) -> np.ndarray:
        """The reused slots whose caption differs from the manifest's."""
        reused = np.flatnonzero(slots.reused)
        captions = hashes_of_texts([rows.captions[at] or "" for at in slots.rows[reused].tolist()])
        return np.asarray(reused[captions != self.ledger.captions[slots.written[reused]]])
