"""Reads every byte of a dataset and reports damage; on request moves damaged files away, to be recomputed."""

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from base.errors import DamagedFile
from base.storage.folder import Folder
from dataset.catalog import Catalog
from dataset.lock import WriteLock
from dataset.parts.footers import CLIPS, REJECTS, SOURCES
from dataset.parts.listing import finish_replacement, list_parts, undisturbed
from dataset.parts.part_file import PartFile
from dataset.parts.schema import Column, columns_of
from dataset.parts.tables import read_parts
from dataset.survey import Damage, find_damage, find_orphans, set_aside

_READERS = 8


@dataclass
class Verified:
    """The result. ``damaged``: file -> what is wrong; ``set_aside``: where they were moved, if they were."""

    parts: int = 0
    clips: int = 0
    bytes: int = 0
    sealed: bool = True
    """Whether all parts have checksums; of version 1 parts, which have none, only the structure is checked."""
    clips_lacking: dict[str, int] = field(default_factory=dict)
    """By artifact, clips in parts that it lacks; clips that failed in it are not counted."""
    captions_lacking: dict[str, int] = field(default_factory=dict)
    """By artifact, captions without text states; `motif preprocess` computes them."""
    replaced: tuple[str, ...] = ()
    """Artifacts that lack clips while another of their kind is complete: left behind by a changed recipe."""
    damaged: dict[str, str] = field(default_factory=dict)
    set_aside: str | None = None

    @property
    def is_lacking(self) -> bool:
        """Whether artifacts in use are incomplete."""
        return bool(self.captions_lacking or self.clips_lacking.keys() - set(self.replaced))


def verify(dataset: Folder, *, repair: bool = False) -> Verified:
    """Check footers, seals, checksums, values, ids and consistency; with ``repair`` move damaged files.

    Nothing is deleted: damaged files go to ``damaged/verify-TIME/`` inside the dataset. InputError if the
    folder is not a dataset, or if another run writes to a dataset to be repaired.
    """
    if not repair:
        with undisturbed(dataset):
            return _verify(dataset)[0]
    with WriteLock(dataset):
        finish_replacement(dataset)
        found, damage = _verify(dataset)
        if damage:
            run = datetime.now(UTC).strftime("verify-%Y%m%dT%H%M%SZ")
            for folder, parts in damage.items():
                for name in parts:
                    set_aside(dataset, folder, name, run)
            for folder, name in find_orphans(dataset, Catalog.require(dataset)):
                set_aside(dataset, folder, name, run)
            found.set_aside = (dataset / "damaged").file(run)
    return found


def _verify(dataset: Folder) -> tuple[Verified, Damage]:
    catalog = Catalog.require(dataset)
    damage = {folder: dict(parts) for folder, parts in find_damage(dataset, catalog).items()}
    for folder, name in find_orphans(dataset, catalog):
        what = "there is no part of clips with this name"
        damage.setdefault(folder, {}).setdefault(name, DamagedFile((dataset / folder).file(name), what))
    found = Verified()
    listed = list_parts(dataset, (CLIPS, SOURCES, REJECTS, *catalog.artifacts))
    for folder, parts in listed.items():
        names = [name for name in parts if name not in damage.get(folder, {})]
        with ThreadPoolExecutor(_READERS) as pool:
            for name, error in zip(
                names, pool.map(lambda n, f=folder: _read(dataset / f, n, found), names), strict=True
            ):
                if error is not None:
                    damage.setdefault(folder, {})[name] = error
    _check_clips(dataset, catalog, listed, damage, found)
    found.damaged = {error.uri: error.what for parts in damage.values() for error in parts.values()}
    return found, damage


def _read(folder: Folder, name: str, found: Verified) -> DamagedFile | None:
    """Read a whole part, one row group at a time."""
    try:
        with PartFile(folder, name) as part:
            part.check_body()
            columns = columns_of(part.schema)
            for group in range(len(part.group_rows)):
                _check_values(folder, name, part.read(groups=[group]), columns)
            found.parts += 1
            found.bytes += part.footer.size
            found.sealed = found.sealed and part.footer.sealed
    except DamagedFile as error:
        return error
    return None


def _check_values(folder: Folder, name: str, rows: pa.Table, columns: dict[str, Column]) -> None:
    for column in columns.values():
        array = rows.column(column.name).combine_chunks()
        try:
            values = column.to_numpy(array)[np.asarray(array.is_valid())]
        except ValueError as error:
            raise DamagedFile(folder.file(name), str(error)) from error
        if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
            raise DamagedFile(folder.file(name), f"column {column.name} holds values that are not finite")


def _check_clips(
    dataset: Folder, catalog: Catalog, listed: Mapping[str, Sequence[str]], damage: Damage, found: Verified
) -> None:
    """Check unique ids, that artifacts match their clips, and that captions have text states."""
    whole = [name for name in listed[CLIPS] if name not in damage.get(CLIPS, {})]
    there = {folder: set(parts) for folder, parts in listed.items()}
    seen: Counter[str] = Counter()
    captions: set[str] = set()
    for name in whole:
        clips = read_parts(dataset / CLIPS, ["clip_id", "text_id"], [name])
        ids = clips.column("clip_id").to_pylist()
        found.clips += len(ids)
        captions.update(clips.column("text_id").to_pylist())
        if any(seen[clip] for clip in ids) or len(set(ids)) < len(ids):
            error = DamagedFile(
                (dataset / CLIPS).file(name), "it holds clips that occur elsewhere in it or in another part"
            )
            damage.setdefault(CLIPS, {})[name] = error
        seen.update(ids)
        for folder, artifact in catalog.artifacts.items():
            if artifact.per_clip and name not in damage.get(folder, {}):
                if name in there[folder]:
                    _check_beside(dataset / folder, name, ids, damage)
                else:
                    found.clips_lacking[folder] = found.clips_lacking.get(folder, 0) + len(ids)
    found.replaced = tuple(name for name in found.clips_lacking if _is_replaced(catalog, name, found.clips_lacking))
    for folder, artifact in catalog.artifacts.items():
        if not artifact.per_clip:
            good = [name for name in listed[folder] if name not in damage.get(folder, {})]
            known = read_parts(dataset / folder, ["text_id"], good).column("text_id").to_pylist() if good else []
            if lacking := len(captions.difference(known)):
                found.captions_lacking[folder] = lacking


def _is_replaced(catalog: Catalog, name: str, lacking: dict[str, int]) -> bool:
    kind = catalog.artifacts[name].kind
    return any(other.kind == kind and folder not in lacking for folder, other in catalog.artifacts.items())


def _check_beside(folder: Folder, name: str, ids: list[str], damage: Damage) -> None:
    """Check that an artifact has a part's clips in the same order, with null for failed clips."""
    own = read_parts(folder, ["clip_id"], [name]).column("clip_id").to_pylist()
    if len(own) != len(ids) or any(mine not in (None, clip) for mine, clip in zip(own, ids, strict=True)):
        error = DamagedFile(folder.file(name), "its clips or their order differ from the part of clips")
        damage.setdefault(folder.uri.rsplit("/", 1)[-1], {})[name] = error
