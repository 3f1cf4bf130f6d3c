"""Merges small parts of a dataset into larger ones, in place: the clips and all their values stay the same.

Under the dataset's lock, one new part at a time: its files are written, then they count, then the old ones are deleted
(:mod:`dataset.parts.listing`). So a kill at any moment loses nothing, and the disk needs room for one more part.
"""

import bisect
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from base.errors import InputError
from base.storage.folder import Folder
from dataset.catalog import SCHEMA_VERSION, Catalog
from dataset.identity import fingerprint, part_name
from dataset.ledger import committed_reject_parts, source_order
from dataset.lock import WriteLock
from dataset.parts.each import apply_each
from dataset.parts.footers import CLIPS, REJECTS, SOURCES, digest_ids, make_label, read_footers
from dataset.parts.listing import finish_replacement, list_parts, replacing
from dataset.parts.part_file import damaged, read_part
from dataset.parts.tables import FACTS, StoreOptions, join, part_options, write_part
from dataset.parts.tables import REJECTS as REJECTS_SCHEMA
from dataset.parts.tables import SOURCES as SOURCES_SCHEMA
from dataset.rejects import reject_part, tidy_rejects

PART_ROWS = StoreOptions().clips_a_part


@dataclass
class Compacted:
    """The result: parts before and after, of the clips (and so of their artifacts), the sources and the texts."""

    parts_before: dict[str, int] = field(default_factory=dict)
    parts: dict[str, int] = field(default_factory=dict)


def compact(dataset: Folder, part_rows: int, below: int, report: Callable[[str], None]) -> Compacted:
    """Merge the parts of fewer than ``below`` rows into parts of up to ``part_rows``: of clips, of sources, of texts.

    Clips keep their rows, values and rejects, and artifacts their fingerprints. InputError if the dataset is of an
    earlier version or another run writes to it; DamagedFile if a small part is damaged.
    """
    if not 2 <= below <= part_rows:
        raise InputError(f"--below {below}: must be at least 2 and at most --part-rows, {part_rows}.")
    catalog = Catalog.require(dataset)
    if catalog.version != SCHEMA_VERSION:
        raise InputError(
            f"{dataset.uri} has schema version {catalog.version}, whose parts are not rewritten. Run `motif "
            "preprocess` with another --out."
        )
    with WriteLock(dataset, report=report) as lock:
        finish_replacement(dataset)
        listed = list_parts(dataset, (CLIPS, SOURCES, REJECTS, *catalog.artifacts))
        work: dict[str, list[list[str]]] = {CLIPS: _group_clips(dataset, catalog, listed, part_rows, below)}
        for name in (SOURCES, *(name for name, artifact in catalog.artifacts.items() if not artifact.per_clip)):
            work[name] = group_parts(_count_rows(dataset / name, listed[name]), part_rows, below)
        result = Compacted({name: len(listed[name]) for name in work})
        for name, groups in work.items():
            result.parts[name] = len(listed[name]) - sum(len(group) - 1 for group in groups)
            report(f"{name}: {result.parts_before[name]:,} parts become {result.parts[name]:,}")
        merger = _Merger(dataset, catalog, listed, lock.fence.check)
        for name, groups in work.items():
            for group in groups:
                merger.merge(name, group)
        tidy_rejects(dataset, lambda row: False)
    return result


def group_parts(rows: Mapping[str, int], part_rows: int, below: int) -> list[list[str]]:
    """Parts (with their ``rows``) to be merged: each has fewer than ``below`` rows, a group at most ``part_rows``.

    Large parts come first, each into the fullest group that has room. So no two of the resulting parts would fit into
    one, and a second time there is nothing to do.
    """
    groups: list[list[str]] = []
    rooms: list[tuple[int, int]] = []  # rows that a group has room for, and its number; sorted
    small = [(count, name) for name, count in rows.items() if 0 < count < below]
    for count, name in sorted(small, key=lambda part: (-part[0], part[1])):
        at = bisect.bisect_left(rooms, (count, 0))
        room, number = rooms.pop(at) if at < len(rooms) else (part_rows, len(groups))
        if number == len(groups):
            groups.append([])
        groups[number].append(name)
        bisect.insort(rooms, (room - count, number))
    return sorted(sorted(group) for group in groups if len(group) > 1)


def _group_clips(
    dataset: Folder, catalog: Catalog, listed: Mapping[str, Sequence[str]], part_rows: int, below: int
) -> list[list[str]]:
    """The parts of clips to be merged; those of a group have the same artifacts."""
    there = {name: set(listed[name]) for name, artifact in catalog.artifacts.items() if artifact.per_clip}
    alike: dict[frozenset[str], dict[str, int]] = defaultdict(dict)
    for part, count in _count_rows(dataset / CLIPS, listed[CLIPS]).items():
        alike[frozenset(name for name, parts in there.items() if part in parts)][part] = count
    return [group for rows in alike.values() for group in group_parts(rows, part_rows, below)]


def _count_rows(folder: Folder, names: Sequence[str]) -> dict[str, int]:
    """The rows of each part."""
    footers, damage = read_footers(folder, names)
    for error in damage.values():
        raise error
    return {name: footer.rows for name, footer in footers.items()}


class _Merger:
    """Merges groups of parts; ``check`` raises if the lock is lost."""

    def __init__(
        self, dataset: Folder, catalog: Catalog, listed: Mapping[str, Sequence[str]], check: Callable[[], None]
    ) -> None:
        self.dataset, self.catalog, self.listed, self.check = dataset, catalog, listed, check
        self.there = {name: set(parts) for name, parts in listed.items()}
        self.reject_files: dict[str, list[str]] = defaultdict(list)
        self.rejects: dict[str, list[pa.Table]] = defaultdict(list)
        self.latest: dict[str, str] = {}
        """The part with the latest state of each source."""
        self._read_rejects()
        self._read_sources()

    def merge(self, folder: str, parts: Sequence[str]) -> None:
        """Make one part out of several."""
        if folder == CLIPS:
            self._merge_clips(parts)
        elif folder == SOURCES:
            self._merge_sources(parts)
        else:
            self._merge_texts(folder, parts)

    def _merge_clips(self, parts: Sequence[str]) -> None:
        """Of the clips, of each of their artifacts, and of their rejects."""
        per_clip = (name for name, artifact in self.catalog.artifacts.items() if artifact.per_clip)
        artifacts = [name for name in per_clip if parts[0] in self.there[name]]
        tables = apply_each(self.dataset, lambda part: read_part(self.dataset / CLIPS, part), parts)
        ids = [table.column("clip_id").to_pylist() for table in tables]
        clips = join(tables, pa.schema([]))
        order = pc.sort_indices(clips, [("slot", "ascending")])  # as a run orders the clips of a part
        clips = clips.take(order)
        kept = clips.column("clip_id").to_pylist()
        name = part_name(fingerprint(self.catalog.clips), kept)
        rejects = dict(self._merged_rejects(parts, name))
        new = [f"{folder}/{name}" for folder in (CLIPS, *artifacts)] + [f"{REJECTS}/{file}" for file in rejects]
        old = [f"{folder}/{part}" for folder in (CLIPS, *artifacts) for part in parts]
        old += [f"{REJECTS}/{file}" for part in parts for file in self.reject_files[part]]
        with replacing(self.dataset, new, old, self.check):
            facts = {"ids": digest_ids(kept)}
            for folder in artifacts:
                table, options = self._read(folder, parts)
                self._check_clips(folder, parts, ids, table)
                label = self.catalog.artifacts[folder].label
                write_part(self.dataset / folder, name, table.take(order), options, label | facts)
            for file, table in rejects.items():
                write_part(self.dataset / REJECTS, file, table, FACTS, {"kind": REJECTS, "clips_part": name})
            write_part(self.dataset / CLIPS, name, clips, FACTS, make_label(CLIPS, self.catalog.clips) | facts)

    def _merge_texts(self, folder: str, parts: Sequence[str]) -> None:
        artifact = self.catalog.artifacts[folder]
        table, options = self._read(folder, parts)
        ids = table.column("text_id").to_pylist()
        name = part_name(artifact.fingerprint, ids)
        with replacing(self.dataset, [f"{folder}/{name}"], [f"{folder}/{part}" for part in parts], self.check):
            facts = artifact.label | {"ids": digest_ids(ids)}
            write_part(self.dataset / folder, name, table, options, facts)

    def _merge_sources(self, parts: Sequence[str]) -> None:
        """Without rows that a newer part replaces, so that the new part may count as the newest of these."""
        place = self.dataset / SOURCES
        tables = apply_each(place, lambda part: read_part(place, part), parts)
        kept = [table.filter(self._is_latest(table, part)) for part, table in zip(parts, tables, strict=True)]
        table = join(kept, SOURCES_SCHEMA)
        # The rows that are left may be those of one of the parts, so their names tell the new one apart.
        name = part_name(SOURCES, parts)
        with replacing(self.dataset, [f"{SOURCES}/{name}"], [f"{SOURCES}/{part}" for part in parts], self.check):
            order = max(map(source_order, tables))
            write_part(place, name, table, FACTS, {"kind": SOURCES, "order": str(order)})

    def _read(self, folder: str, parts: Sequence[str]) -> tuple[pa.Table, StoreOptions]:
        """The rows of several parts, and the options to write them with."""
        place = self.dataset / folder
        tables = apply_each(place, lambda part: read_part(place, part), parts)
        found = apply_each(place, lambda part: part_options(place, part), parts)
        # The first row group of a part with several says how many rows they were to have.
        groups = [one.clips_a_row_group for one in found]
        whole = [group for group, table in zip(groups, tables, strict=True) if table.num_rows > group]
        rows = max(whole or [*groups, StoreOptions().clips_a_row_group])
        return join(tables, pa.schema([])), StoreOptions(rows, rows, found[0].compression)

    def _check_clips(self, folder: str, parts: Sequence[str], ids: Sequence[list[str]], table: pa.Table) -> None:
        """DamagedFile if an artifact holds other clips than the parts of clips; failed ones are null."""
        mine = iter(table.column("clip_id").to_pylist())
        for part, expected in zip(parts, ids, strict=True):
            if any(next(mine, "") not in (clip, None) for clip in expected):
                raise damaged(self.dataset / folder, part, "its clips do not match the part of clips")
        if next(mine, "") != "":
            raise damaged(self.dataset / folder, parts[-1], "it has more rows than the part of clips")

    def _read_rejects(self) -> None:
        """Sort the valid rejects by the part of clips that they belong to."""
        folder = self.dataset / REJECTS
        names = committed_reject_parts(self.dataset, self.there[CLIPS], self.listed[REJECTS])
        for name, table in zip(names, apply_each(folder, lambda name: read_part(folder, name), names), strict=True):
            part = (table.schema.metadata or {}).get(b"clips_part", b"").decode()
            if part:
                self.reject_files[part].append(name)
                self.rejects[part].append(table)
                continue
            # Merged datasets have the rejects of several parts in one; those of artifacts belong to their clips' part.
            table = table.filter(pc.not_equal(table.column("artifact"), ""))
            for part in table.column("part").unique().drop_null().to_pylist():
                self.rejects[part].append(table.filter(pc.equal(table.column("part"), part)))

    def _read_sources(self) -> None:
        """Find the latest state of each source."""
        folder, names = self.dataset / SOURCES, self.listed[SOURCES]
        tables = apply_each(folder, lambda name: read_part(folder, name, ["uri"]), names)
        for table, name in sorted(zip(tables, names, strict=True), key=lambda part: source_order(part[0])):
            self.latest.update(dict.fromkeys(table.column("uri").to_pylist(), name))

    def _is_latest(self, table: pa.Table, part: str) -> pa.Array:
        return pa.array([self.latest[uri] == part for uri in table.column("uri").to_pylist()], pa.bool_())

    def _merged_rejects(self, parts: Sequence[str], name: str) -> Iterator[tuple[str, pa.Table]]:
        """The rejects of several parts as those of one, ``name``, by the name of their file."""
        table = join([table for part in parts for table in self.rejects[part]], REJECTS_SCHEMA)
        renamed = pa.array([name] * table.num_rows, pa.string())
        table = table.set_column(table.column_names.index("part"), "part", renamed)
        for artifact in table.column("artifact").unique().to_pylist():
            yield reject_part(name, artifact), table.filter(pc.equal(table.column("artifact"), artifact))
