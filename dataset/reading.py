"""Read features for training: row groups of aligned artifacts as arrays, in a reproducible shuffled order.

    reader = FeatureReader(Folder("data/sprites"), ("latents", "heatmaps"))
    for sample in reader.samples(seed=0, epoch=0):
        sample["latents/mean"]  # float16 [c t h w], a view

Samples are views into their row group, not copies.
"""

from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate, groupby, pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from base.errors import InputError
from base.storage.folder import Folder
from dataset.catalog import Catalog
from dataset.parts.each import apply_each
from dataset.parts.listing import list_parts
from dataset.parts.part_file import PartFile, Proven, damaged, missing, read_footer, read_part
from dataset.parts.schema import Column
from dataset.parts.tables import read_each_part

Sample = dict[str, Any]
_READ_AT_ONCE = 64


@dataclass(frozen=True)
class RowGroup:
    """One row group of a part: its number in the part, its rows, and the number of its first row in the part."""

    part: str
    number: int
    rows: int
    first: int


class FeatureReader:
    """Reads clips that have all of the given artifacts.

    ``artifacts`` are names, or names with the columns to read (by default all); ``clip_columns`` are columns of the
    clips to read as well (``clip_id`` always is); up to ``open_files`` parts stay open, the last used. InputError if an
    artifact or column is missing, or no part has all.
    """

    def __init__(
        self,
        dataset: Folder,
        artifacts: Sequence[str] | Mapping[str, Sequence[str]],
        clip_columns: Sequence[str] = ("text_id", "fps"),
        open_files: int = 128,
    ) -> None:
        self.dataset = dataset
        self.open_files = open_files
        self.catalog = Catalog.require(dataset)
        if not artifacts:
            raise InputError(f"{dataset.uri}: give at least one artifact to read.")
        self.clip_columns = ["clip_id", *clip_columns]
        self.columns: dict[str, list[str]] = {}
        for name in artifacts:
            folder = self.catalog.pick(name, name)
            self.columns[folder] = ["clip_id", *self._wanted(folder, artifacts)]
        listed = list_parts(dataset, ("clips", *self.columns))
        shared = sorted(set.intersection(*map(set, listed.values())))
        if not shared:
            raise InputError(f"{dataset.uri}: no part has all of clips, {', '.join(self.columns)}. Is it empty?")
        self._files: OrderedDict[tuple[str, str], tuple[PartFile, list[int]]] = OrderedDict()
        self._proven: dict[tuple[str, str, str], Proven] = {}
        self._clips: OrderedDict[str, dict[str, list[Any]]] = OrderedDict()
        self.groups = self._find_groups(shared)

    def _wanted(self, folder: str, artifacts: Sequence[str] | Mapping[str, Sequence[str]]) -> list[str]:
        there = list(self.catalog.artifacts[folder].columns)
        wanted = list(artifacts[folder]) if isinstance(artifacts, Mapping) else there
        for column in wanted:
            if column not in there:
                raise InputError(f"{self.dataset.uri}: {folder} has no column '{column}'. It has: {', '.join(there)}.")
        return wanted

    def __len__(self) -> int:
        """Number of clips, including those that lack an artifact."""
        return sum(group.rows for group in self.groups)

    def _find_groups(self, parts: Sequence[str]) -> list[RowGroup]:
        """The row groups of the first artifact, to which the others are aligned."""
        folder = self.dataset / next(iter(self.columns))
        sizes_of = apply_each(folder, lambda part: read_footer(folder, part).group_rows, parts)
        return [
            RowGroup(part, number, end - first, first)
            for part, sizes in zip(parts, sizes_of, strict=True)
            for number, (first, end) in enumerate(pairwise([0, *accumulate(sizes)]))
        ]

    def _open(self, folder: str, part: str) -> tuple[PartFile, list[int]]:
        """A part, and the first row of each row group followed by the end."""
        key = (folder, part)
        if key not in self._files:
            try:
                file = PartFile(self.dataset / folder, part, self._proven_of(folder, part))
            except FileNotFoundError as error:
                if part not in list_parts(self.dataset, ("clips",))["clips"]:
                    raise missing(self.dataset / folder, part) from error
                raise damaged(self.dataset / folder, part, "it is missing") from error
            self._files[key] = file, [0, *accumulate(file.group_rows)]
            if len(self._files) > self.open_files:
                self._files.popitem(last=False)[1][0].close()
        self._files.move_to_end(key)
        return self._files[key]

    def _proven_of(self, folder: str, part: str) -> Proven | None:
        """The verified columns of an unchanged local part, since training reads it every epoch."""
        if self.dataset.remote:
            return None
        facts = ((self.dataset / folder).path / part).stat()
        stamp = f"{facts.st_ino}:{facts.st_size}:{facts.st_mtime_ns}"
        return self._proven.setdefault((folder, part, stamp), set())

    def _rows(self, folder: str, group: RowGroup) -> pa.Table:
        """The rows of an artifact that match a row group of the first one, which may be grouped differently."""
        file, starts = self._open(folder, group.part)
        first = bisect_right(starts, group.first) - 1
        last = bisect_left(starts, group.first + group.rows)
        table = file.read(self.columns[folder], range(first, last)).slice(group.first - starts[first], group.rows)
        pairs = zip(self.clip_ids(group), table.column("clip_id").to_pylist(), strict=False)
        if table.num_rows < group.rows or any(there not in (clip, None) for clip, there in pairs):
            raise damaged(self.dataset / folder, group.part, "its clips do not match the part of clips")
        return table

    def _clip_values(self, part: str) -> dict[str, list[Any]]:
        """The clips' columns of a part; small, so read at once and cached for its other row groups."""
        if part not in self._clips:
            table = read_part(self.dataset / "clips", part, self.clip_columns)
            self._clips[part] = {name: table.column(name).to_pylist() for name in self.clip_columns}
            if len(self._clips) > self.open_files:
                self._clips.popitem(last=False)
        self._clips.move_to_end(part)
        return self._clips[part]

    def clip_ids(self, group: RowGroup) -> list[str]:
        """The ids of a row group's clips, in order, including those that lack an artifact."""
        ids: list[str] = self._clip_values(group.part)["clip_id"][group.first : group.first + group.rows]
        return ids

    def each_ids(self) -> Iterator[list[str]]:
        """The same of each row group, in the order of ``groups``; parts are read concurrently."""
        parts = list(dict.fromkeys(group.part for group in self.groups))
        chunks = (parts[first : first + _READ_AT_ONCE] for first in range(0, len(parts), _READ_AT_ONCE))
        tables = (table for names in chunks for table in read_each_part(self.dataset / "clips", ["clip_id"], names))
        for table, (_, groups) in zip(tables, groupby(self.groups, lambda group: group.part), strict=True):
            ids = table.column("clip_id").to_pylist()
            yield from (ids[group.first : group.first + group.rows] for group in groups)

    def read(self, group: RowGroup) -> list[Sample]:
        """The samples of a row group, in order; clips that lack an artifact are left out.

        Columns of clips keep their names, those of artifacts are named ``artifact/column``.
        """
        end = group.first + group.rows
        columns: dict[str, Any] = {name: v[group.first : end] for name, v in self._clip_values(group.part).items()}
        present = np.ones(group.rows, bool)
        for folder, names in self.columns.items():
            table = self._rows(folder, group)
            present &= np.asarray(table.column("clip_id").is_valid())
            for name in names[1:]:
                columns[f"{folder}/{name}"] = _values(table, name)
        return [{name: values[row] for name, values in columns.items()} for row in np.flatnonzero(present)]

    def order(self, seed: int, epoch: int) -> list[RowGroup]:
        """All row groups in an order that only depends on (seed, epoch)."""
        return [self.groups[i] for i in np.random.default_rng([seed, epoch]).permutation(len(self.groups))]

    def samples(self, seed: int, epoch: int, window: int = 8) -> Iterator[Sample]:
        """All clips once, shuffled: row groups in random order, and the clips of ``window`` groups mixed.

        The order only depends on (seed, epoch, window). The next groups are prefetched.
        """
        order = self.order(seed, epoch)
        with ThreadPoolExecutor(1) as pool:
            windows = [order[i : i + window] for i in range(0, len(order), window)]
            coming = pool.submit(self._read_all, windows[0])
            for number in range(len(windows)):
                samples = coming.result()
                if number + 1 < len(windows):
                    coming = pool.submit(self._read_all, windows[number + 1])
                for i in np.random.default_rng([seed, epoch, number]).permutation(len(samples)):
                    yield samples[i]

    def _read_all(self, groups: list[RowGroup]) -> list[Sample]:
        return [sample for group in groups for sample in self.read(group)]


def _values(table: pa.Table, name: str) -> np.ndarray:
    return Column.of(table.schema.field(name)).to_numpy(table.column(name))


def padded(states: Float[np.ndarray, "l d"], tokens: int) -> Float[np.ndarray, "tokens d"]:
    """Text states followed by zeros up to a number of tokens; those of so many are returned as they are."""
    missing = tokens - len(states)
    return np.pad(states, ((0, missing), (0, 0))) if missing else states


class TextReader:
    """Text states by caption key; caches recently used row groups."""

    def __init__(self, dataset: Folder, artifact: str = "text", kept_groups: int = 64) -> None:
        Catalog.require(dataset).pick("text", artifact)
        self.folder = dataset / artifact
        self.kept_groups = kept_groups
        self._groups: OrderedDict[tuple[str, int], list[np.ndarray]] = OrderedDict()
        self._places: dict[str, tuple[str, int, int]] = {}
        parts = list_parts(dataset, (artifact,))[artifact]
        for part, (ids, sizes) in zip(parts, apply_each(self.folder, self._ids, parts), strict=True):
            places = ((part, number, row) for number, rows in enumerate(sizes) for row in range(rows))
            self._places.update(zip(ids, places, strict=True))

    def _ids(self, part: str) -> tuple[list[str], list[int]]:
        """The ids of a part's captions, and the rows of its row groups."""
        with PartFile(self.folder, part) as file:
            return file.read(["text_id"]).column("text_id").to_pylist(), file.group_rows

    def __contains__(self, text_id: str) -> bool:
        """Whether the caption was encoded."""
        return text_id in self._places

    def states(self, text_id: str) -> np.ndarray:
        """The states ``[l d]`` of a caption, without padding if they are stored so; KeyError if it was not encoded."""
        part, number, row = self._places[text_id]
        if (part, number) not in self._groups:
            with PartFile(self.folder, part) as file:
                table = file.read(["states"], [number])
                self._groups[part, number] = Column.of(table.schema.field("states")).to_arrays(table.column("states"))
            if len(self._groups) > self.kept_groups:
                self._groups.popitem(last=False)
        self._groups.move_to_end((part, number))
        return self._groups[part, number][row]
