"""Merges datasets: parts are copied unchanged, or rewritten without duplicate clips."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from base.errors import InputError
from base.storage.folder import Folder
from dataset.catalog import Catalog
from dataset.identity import differences, fingerprint, part_name
from dataset.lock import WriteLock
from dataset.parts.footers import digest_ids
from dataset.parts.listing import list_parts, undisturbed
from dataset.parts.part_file import read_part
from dataset.parts.tables import FACTS, REJECTS, part_facts, part_options, write_part
from dataset.rejects import read_rejects


@dataclass
class Merged:
    """The result of a merge: clips written, duplicates left out, and artifacts that not all inputs have."""

    clips: int = 0
    duplicates: int = 0
    left_out: tuple[str, ...] = ()


def merge(inputs: Sequence[Folder], out: Folder) -> Merged:
    """Write a new dataset with the clips of all inputs and the artifacts that all of them have.

    dataset.json is written last: until then the folder is not a dataset, and a killed merge can be run again.
    InputError if the clips differ in shape, ``out`` is a dataset, or an artifact lacks clips.
    """
    catalogs = [Catalog.require(dataset) for dataset in inputs]
    if Catalog.read(out) is not None:
        raise InputError(f"{out.uri} is already a dataset: choose another --out.")
    for dataset, catalog in zip(inputs[1:], catalogs[1:], strict=True):
        if differing := differences(catalogs[0].clips, catalog.clips):
            raise InputError(f"{dataset.uri} holds other clips than {inputs[0].uri} ({'; '.join(differing)}).")
    if len(versions := {catalog.version for catalog in catalogs}) > 1:
        raise InputError(
            f"schema versions {' and '.join(map(str, sorted(versions)))} cannot be merged: their frames were chosen "
            "differently. Run `motif preprocess` again for the older dataset, with another --out."
        )
    shared, left_out = _shared_artifacts(catalogs)
    with WriteLock(out) as lock:
        merger = _Merger(out, catalogs[0], lock)
        for number, dataset in enumerate(inputs):
            names = {name: found[number] for name, found in shared.items()}
            with undisturbed(dataset):
                merger.add(dataset, names)
        artifacts = {name: catalogs[0].artifacts[name] for name in shared}
        Catalog(catalogs[0].clips, artifacts, catalogs[0].version).write(out)
    return Merged(merger.clips, merger.duplicates, tuple(left_out))


def _shared_artifacts(catalogs: Sequence[Catalog]) -> tuple[dict[str, list[str]], list[str]]:
    """Artifacts that all catalogs have, with their name in each; and those that some lack."""
    shared: dict[str, list[str]] = {}
    left_out = []
    for catalog in catalogs:
        for name, artifact in catalog.artifacts.items():
            found = [other.find(artifact.kind, artifact.identity) for other in catalogs]
            if None in found:
                left_out.append(name)
            elif catalog is catalogs[0]:
                shared[name] = [other for other in found if other is not None]
    return shared, left_out


class _Merger:
    """Adds datasets to ``out``, one after the other."""

    def __init__(self, out: Folder, catalog: Catalog, lock: WriteLock) -> None:
        self.out = out
        self.lock = lock
        self.catalog = catalog
        self.seen: set[str] = set()
        self.texts: dict[str, set[str]] = {}
        self.inputs = self.clips = self.duplicates = 0

    def add(self, dataset: Folder, names: dict[str, str]) -> None:
        """Copy the clips, their artifacts (name here -> name there), sources and rejects of a dataset."""
        per_clip = {name: there for name, there in names.items() if self.catalog.artifacts[name].per_clip}
        listed = list_parts(dataset, ("clips", "sources", *names.values()))
        for there in per_clip.values():
            if lacking := set(listed["clips"]) - set(listed[there]):
                raise InputError(
                    f"{dataset.uri}: {there} lacks {len(lacking):,} parts; run `motif preprocess` on it first."
                )
        renamed = {part: self._add_part(dataset, part, per_clip) for part in listed["clips"]}
        for name, there in names.items():
            if name not in per_clip:
                for part in listed[there]:
                    self._add_text(dataset / there, name, part)
        for part in listed["sources"]:
            table = read_part(dataset / "sources", part)
            order = str(self.inputs * 1_000_000 + int(part_facts(dataset / "sources", part).get("order", "0")))
            write_part(self.out / "sources", f"{self.inputs}-{part}", table, FACTS, {"kind": "sources", "order": order})
        self._add_rejects(dataset, renamed)
        self.inputs += 1

    def _add_part(self, dataset: Folder, part: str, artifacts: dict[str, str]) -> str:
        """Copy a part of all artifacts without duplicates, the clips last. Returns its new name."""
        ids = read_part(dataset / "clips", part, ["clip_id"])[0].to_pylist()
        keep = np.array([clip not in self.seen for clip in ids])
        self.seen.update(ids)
        self.clips += int(keep.sum())
        self.duplicates += int((~keep).sum())
        if not keep.any():
            return ""
        kept = [clip for clip, kept in zip(ids, keep, strict=True) if kept]
        name = part if keep.all() else part_name(fingerprint(self.catalog.clips), kept)
        self.lock.check()
        for here, there in (*artifacts.items(), ("clips", "clips")):
            _copy(dataset / there, part, self.out / here, name, None if keep.all() else (keep, kept))
        return name

    def _add_text(self, folder: Folder, name: str, part: str) -> None:
        known = self.texts.setdefault(name, set())
        ids = read_part(folder, part, ["text_id"])[0].to_pylist()
        keep = np.array([text not in known for text in ids])
        if keep.any():
            kept = [text for text, kept in zip(ids, keep, strict=True) if kept]
            renamed = part if keep.all() else part_name(self.catalog.artifacts[name].fingerprint, kept)
            _copy(folder, part, self.out / name, renamed, None if keep.all() else (keep, kept))
        known.update(ids)

    def _add_rejects(self, dataset: Folder, renamed: dict[str, str]) -> None:
        table = read_rejects(dataset)
        if table.num_rows:
            parts = [renamed.get(part or "") or None for part in table.column("part").to_pylist()]
            table = table.set_column(table.column_names.index("part"), "part", pa.array(parts, pa.string()))
            name = part_name(str(self.inputs), table.column("slot").to_pylist())
            write_part(self.out / "rejects", name, table.cast(REJECTS), FACTS, {"kind": "rejects", "clips_part": ""})


def _copy(source: Folder, part: str, target: Folder, name: str, keep: tuple[np.ndarray, list[str]] | None) -> None:
    """Copy a part, or only the rows to keep, given with their ids."""
    if keep is None:
        target.write(name, source.read(part))
    else:
        table = read_part(source, part)
        rows, ids = keep
        facts = part_facts(source, part)
        if "ids" in facts:
            facts["ids"] = digest_ids(ids)
        write_part(target, name, table.filter(pa.array(rows)), part_options(source, part), facts)
