"""Views: artifacts, a filter and a weight, resolved on use without copying data."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from base.errors import InputError
from base.storage.folder import Folder
from dataset.catalog import Catalog
from dataset.parts.listing import list_parts
from dataset.parts.part_file import missing
from dataset.parts.tables import CLIPS, join, read_each_part, read_parts
from dataset.rules import Rule

PART = "clips/part"
"""The title of the clips' parts in :func:`scalars`; no rule can name it."""


@dataclass(frozen=True)
class View:
    """Some clips of a dataset, with the artifacts to use.

    ``where`` are rules on columns of the clips or of these artifacts; ``ids`` restricts to a list of clips; ``weight``
    is the view's weight in a mixture.
    """

    dataset: str
    artifacts: tuple[str, ...]
    where: tuple[str, ...] = ()
    ids: tuple[str, ...] | None = None
    weight: float = 1.0

    def save(self, place: Folder, name: str) -> None:
        """Write the view as JSON."""
        facts: dict[str, Any] = {"dataset": self.dataset, "artifacts": self.artifacts, "where": self.where}
        place.write(name, json.dumps(facts | {"ids": self.ids, "weight": self.weight}, indent=2).encode())

    @classmethod
    def load(cls, place: Folder, name: str) -> "View":
        """Read a view; InputError if it is not a view."""
        try:
            facts = json.loads(place.read(name))
            ids = facts.get("ids")
            return cls(
                facts["dataset"],
                tuple(facts["artifacts"]),
                tuple(facts.get("where", ())),
                None if ids is None else tuple(ids),
                float(facts.get("weight", 1.0)),
            )
        except FileNotFoundError as error:
            raise InputError(f"view {place.file(name)}: there is no such file.") from error
        except (json.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{place.file(name)} is not a view (made by `motif dataset filter`): {error}.") from error

    def clips(self, columns: Collection[str] | None = None) -> pa.Table:
        """The selected clips: their columns, and the scalar columns of the artifacts; or only these, which is faster.

        The columns of rules are always there.
        """
        dataset = Folder(self.dataset)
        rules = [Rule.parse(text) for text in self.where]
        for rule in rules:
            rule.check(scalar_titles(dataset, self.artifacts))
        wanted = None if columns is None else {*columns, *(rule.column for rule in rules)}
        table = scalars(dataset, self.artifacts, wanted)
        keep = np.ones(table.num_rows, bool)
        for rule in rules:
            keep &= np.asarray(rule.mask(table))
        if self.ids is not None:
            keep &= np.asarray(pc.is_in(table.column("clip_id"), pa.array(self.ids, pa.string())))
        return table.filter(pa.array(keep))


def count_lacking(dataset: Folder, artifacts: tuple[str, ...], ids: tuple[str, ...] | None = None) -> dict[str, int]:
    """How many clips (of these ids, or all) lack each artifact; artifacts that no clip lacks are left out."""
    listed = list_parts(dataset, ("clips", *artifacts))
    parts = listed["clips"]
    clips = read_parts(dataset / "clips", ["clip_id"], parts).column("clip_id").to_pylist() if parts else []
    wanted = set(clips) if ids is None else set(clips).intersection(ids)
    found = {}
    for name in artifacts:
        shared = sorted(set(parts).intersection(listed[name]))
        there = read_parts(dataset / name, ["clip_id"], shared).column("clip_id").to_pylist() if shared else []
        if lacking := len(wanted.difference(there)):
            found[name] = lacking
    return found


def scalars(
    dataset: Folder,
    artifacts: tuple[str, ...],
    columns: Collection[str] | None = None,
    parts: Collection[str] | None = None,
) -> pa.Table:
    """One row per clip that has all of these artifacts: the clips' columns and the artifacts' scalar columns.

    If two artifacts have a column of the same name, the later one is named ``artifact/column``. ``columns``: only
    ``clip_id`` and these, as far as they exist; :data:`PART` is the part that a clip is in. ``parts``: only their
    clips; MissingPart if one is gone.
    """
    catalog = Catalog.require(dataset)
    folders = _folders(catalog, artifacts)
    shared = set.intersection(*map(set, list_parts(dataset, folders).values()))
    for gone in set(parts or ()) - shared:
        raise missing(dataset / "clips", gone)
    read = sorted(shared if parts is None else parts)
    found: dict[str, Any] = {}
    present: Any = True
    titles = _titles(catalog, folders)
    for folder in folders:
        mine = {title: column for title, (place, column) in titles.items() if place == folder}
        mine = {title: mine[title] for title in mine if columns is None or title in {"clip_id", *columns}}
        tables = read_each_part(dataset / folder, list(dict.fromkeys(["clip_id", *mine.values()])), read)
        table = join(tables, _schema(catalog, folder))
        present = present & np.asarray(table.column("clip_id").is_valid())
        found |= {title: table.column(column) for title, column in mine.items()}
        if folder == "clips" and columns is not None and PART in columns:
            rows = [part for part, one in zip(read, tables, strict=True) for _ in range(one.num_rows)]
            found[PART] = pa.array(rows, pa.string())
    return pa.table(found).filter(pa.array(present))


def scalar_titles(dataset: Folder, artifacts: tuple[str, ...]) -> list[str]:
    """The names of the columns of :func:`scalars`."""
    catalog = Catalog.require(dataset)
    return list(_titles(catalog, _folders(catalog, artifacts)))


def _folders(catalog: Catalog, artifacts: tuple[str, ...]) -> list[str]:
    """The clips, and those of the artifacts that are stored by clip."""
    named = [catalog.pick(name, name) for name in dict.fromkeys(artifacts)]
    return ["clips", *(name for name in named if catalog.artifacts[name].per_clip)]


def _titles(catalog: Catalog, folders: Sequence[str]) -> dict[str, tuple[str, str]]:
    """The title of each scalar column in a table of several folders, with its folder and its name there."""
    titles: dict[str, tuple[str, str]] = {}
    for folder in folders:
        for column in _schema(catalog, folder).names:
            if folder == "clips" or column != "clip_id":
                titles[column if column not in titles else f"{folder}/{column}"] = (folder, column)
    return titles


def _schema(catalog: Catalog, folder: str) -> pa.Schema:
    """The scalar columns of the clips, or of an artifact with its clips' ids."""
    if folder == "clips":
        return CLIPS
    columns = catalog.artifacts[folder].columns.items()
    kinds = [(name, pa.from_numpy_dtype(facts["dtype"])) for name, facts in columns if "shape" not in facts]
    return pa.schema([("clip_id", pa.string()), *kinds])
