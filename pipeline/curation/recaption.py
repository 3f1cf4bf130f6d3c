"""New captions for existing clips: their features are kept, only text states are computed again."""

import pyarrow as pa

from base.storage.folder import Folder
from dataset.identity import text_id
from dataset.ledger import Ledger, Sources
from dataset.lock import WriteLock
from dataset.parts.listing import finish_replacement
from dataset.parts.part_file import read_part
from dataset.parts.tables import part_facts, part_names, part_options, write_part
from pipeline.manifest import ManifestColumns, read_manifest
from pipeline.planning.plan import Planner
from pipeline.planning.sinks import DryRun
from pipeline.run.records import last_job


class _Captions(DryRun):
    """Collects changed captions by slot."""

    def __init__(self) -> None:
        self.by_slot: dict[str, str] = {}

    def recaption(self, slot: str, caption: str) -> None:
        """A clip with another caption in the manifest."""
        self.by_slot[slot] = caption


def recaption(dataset: Folder, manifest: str, columns: ManifestColumns) -> int:
    """Give clips the captions of a manifest; returns the number of changed ones.

    Each part of clips is replaced atomically, so an interrupted run leaves either old or new captions. The next
    ``motif preprocess`` computes the new text states.
    """
    job = last_job(dataset)
    with WriteLock(dataset) as lock:
        finish_replacement(dataset)
        found = _Captions()
        Planner(job.recipe, Ledger.read(dataset), Sources.read(dataset), found).run(read_manifest(manifest, columns))
        if not found.by_slot:
            return 0
        return sum(_rewrite(dataset / "clips", name, found.by_slot, lock) for name in part_names(dataset / "clips"))


def _rewrite(folder: Folder, name: str, captions: dict[str, str], lock: WriteLock) -> int:
    table = read_part(folder, name)
    rows = table.select(["slot", "caption"]).to_pylist()
    changed = sum(row["slot"] in captions for row in rows)
    if changed:
        texts = [captions.get(row["slot"], row["caption"]) for row in rows]
        for column, values in (("caption", texts), ("text_id", [text_id(text) for text in texts])):
            table = table.set_column(table.column_names.index(column), column, pa.array(values, pa.string()))
        lock.check()
        write_part(folder, name, table, part_options(folder, name), part_facts(folder, name))
    return changed
