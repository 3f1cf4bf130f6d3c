"""How two datasets differ: configuration, clips, captions, and the values of shared artifacts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from base.storage.folder import Folder
from dataset.catalog import Catalog
from dataset.identity import differences
from dataset.parts.listing import list_parts
from dataset.parts.part_file import read_part
from dataset.parts.schema import Column


@dataclass
class Values:
    """Counts of clips with bitwise equal and with different values, and the largest difference."""

    same: int = 0
    different: int = 0
    largest_difference: float = 0.0


@dataclass
class Difference:
    """The differences of datasets a and b."""

    configuration: list[str] = field(default_factory=list)
    artifacts_only_in_a: list[str] = field(default_factory=list)
    artifacts_only_in_b: list[str] = field(default_factory=list)
    clips_only_in_a: int = 0
    clips_only_in_b: int = 0
    clips_in_both: int = 0
    captions_changed: int = 0
    values: dict[str, Values] = field(default_factory=dict)


def diff(a: Folder, b: Folder) -> Difference:
    """Compare two datasets; values are compared for clips and artifacts (by configuration) that both have."""
    catalog_a, catalog_b = Catalog.require(a), Catalog.require(b)
    result = Difference(differences(catalog_a.clips, catalog_b.clips))
    pairs = {}
    for name, artifact in catalog_a.artifacts.items():
        found = catalog_b.find(artifact.kind, artifact.identity)
        if found is None:
            result.artifacts_only_in_a.append(name)
        elif artifact.per_clip:
            pairs[name] = found
    known = [artifact.identity for artifact in catalog_a.artifacts.values()]
    result.artifacts_only_in_b = [n for n, artifact in catalog_b.artifacts.items() if artifact.identity not in known]
    here, there = list_parts(a, ("clips", *pairs)), list_parts(b, ("clips", *pairs.values()))
    places, captions = _places(b, there["clips"])
    only_b = set(places)
    for part in here["clips"]:
        for clip, text in _ids(a / "clips", part, "text_id"):
            result.clips_in_both += clip in places
            result.clips_only_in_a += clip not in places
            result.captions_changed += clip in captions and captions[clip] != text
            only_b.discard(clip)
    result.clips_only_in_b = len(only_b)
    for name, found in pairs.items():
        result.values[name] = _compare(a / name, here[name], b / found, there[found], places)
    return result


def _ids(folder: Folder, part: str, *more: str) -> Iterator[tuple[str, ...]]:
    table = read_part(folder, part, ["clip_id", *more])
    yield from zip(*(table.column(name).to_pylist() for name in ("clip_id", *more)), strict=True)


def _places(dataset: Folder, parts: Sequence[str]) -> tuple[dict[str, tuple[str, int]], dict[str, str]]:
    """Part and row of each clip, and its caption's key."""
    places, captions = {}, {}
    for part in parts:
        for row, (clip, text) in enumerate(_ids(dataset / "clips", part, "text_id")):
            places[clip], captions[clip] = (part, row), text
    return places, captions


def _compare(
    a: Folder, parts: Sequence[str], b: Folder, parts_b: Sequence[str], places: dict[str, tuple[str, int]]
) -> Values:
    result = Values()
    there = set(parts_b)
    for part in parts:
        table = read_part(a, part)
        rows: dict[str, list[tuple[int, int]]] = {}
        for row, clip in enumerate(table.column("clip_id").to_pylist()):
            if clip in places and places[clip][0] in there:
                rows.setdefault(places[clip][0], []).append((row, places[clip][1]))
        for other, pairs in rows.items():
            mine, theirs = (pa.array([pair[side] for pair in pairs]) for side in (0, 1))
            _count(table.take(mine), read_part(b, other).take(theirs), result)
    return result


def _count(a: pa.Table, b: pa.Table, result: Values) -> None:
    same = np.ones(a.num_rows, bool)
    for field_ in a.schema:
        if field_.name == "clip_id":
            same &= np.array(a.column("clip_id").to_pylist(), object) == np.array(b["clip_id"].to_pylist(), object)
            continue
        column = Column.of(field_)
        mine, theirs = (column.to_numpy(table.column(field_.name)).reshape(a.num_rows, -1) for table in (a, b))
        same &= (mine == theirs).all(axis=1)
        gap = np.abs(mine.astype(np.float64) - theirs.astype(np.float64)).max(initial=0.0) * column.scale
        result.largest_difference = max(result.largest_difference, float(gap))
    result.same += int(same.sum())
    result.different += int((~same).sum())
