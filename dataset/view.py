"""Views: artifacts, a filter and a weight, resolved on use without copying data."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from base.errors import InputError
from base.storage.folder import Folder
from dataset.catalog import Catalog
from dataset.parts.tables import CLIPS, part_names, read_parts
from dataset.rules import Rule


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

    def clips(self) -> pa.Table:
        """The selected clips: their columns, and the scalar columns of the artifacts."""
        table = scalars(Folder(self.dataset), self.artifacts)
        keep = np.ones(table.num_rows, bool)
        for text in self.where:
            keep &= np.asarray(Rule.parse(text).mask(table))
        if self.ids is not None:
            keep &= np.asarray(pc.is_in(table.column("clip_id"), pa.array(self.ids, pa.string())))
        return table.filter(pa.array(keep))


def count_lacking(dataset: Folder, artifacts: tuple[str, ...], ids: tuple[str, ...] | None = None) -> dict[str, int]:
    """How many clips (of these ids, or all) lack each artifact; artifacts that no clip lacks are left out."""
    parts = part_names(dataset / "clips")
    clips = read_parts(dataset / "clips", ["clip_id"], parts).column("clip_id").to_pylist() if parts else []
    wanted = set(clips) if ids is None else set(clips).intersection(ids)
    found = {}
    for name in artifacts:
        shared = sorted(set(parts).intersection(part_names(dataset / name)))
        there = read_parts(dataset / name, ["clip_id"], shared).column("clip_id").to_pylist() if shared else []
        if lacking := len(wanted.difference(there)):
            found[name] = lacking
    return found


def scalars(dataset: Folder, artifacts: tuple[str, ...]) -> pa.Table:
    """One row per clip that has all of these artifacts: the clips' columns and the artifacts' scalar columns.

    If two artifacts have a column of the same name, the later one is named ``artifact/column``.
    """
    catalog = Catalog.require(dataset)
    chosen = [catalog.pick(name, name) for name in artifacts if catalog.artifacts[catalog.pick(name, name)].per_clip]
    shared = set(part_names(dataset / "clips"))
    for name in chosen:
        shared &= set(part_names(dataset / name))
    parts = sorted(shared)
    table = read_parts(dataset / "clips", CLIPS.names, parts) if parts else CLIPS.empty_table()
    present = np.ones(table.num_rows, bool)
    for name in chosen:
        columns = {c: facts for c, facts in catalog.artifacts[name].columns.items() if "shape" not in facts}
        if parts:
            beside = read_parts(dataset / name, ["clip_id", *columns], parts)
        else:
            kinds = [(column, pa.from_numpy_dtype(facts["dtype"])) for column, facts in columns.items()]
            beside = pa.schema([("clip_id", pa.string()), *kinds]).empty_table()
        present &= np.asarray(beside.column("clip_id").is_valid())
        for column in columns:
            title = column if column not in table.column_names else f"{name}/{column}"
            table = table.append_column(title, beside.column(column))
    return table.filter(pa.array(present))
