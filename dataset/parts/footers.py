"""Checks whether a part is intact by its footer: the metadata of parts, and how it is read and compared.

A part describes itself in its metadata (since schema version 2): ``part`` (its own name), ``kind`` ("clips",
"sources", "rejects", or the artifact's kind), ``fingerprint``, ``identity`` and ``facts`` (JSON: the configuration),
and ``ids`` (a digest of the ids of its clips or captions, in order, including failed clips). So a
truncated, overwritten, renamed or swapped file is recognised by its footer, and dataset.json can be rebuilt.

    read_footer(folder, name)         the footer of one part; DamagedFile if the file is not intact
    read_footers(folder, names)       the footers of parts of a folder, and the damage of others
    footer.check(folder, ...)         DamagedFile if the part does not belong in its place

Pages are not read here.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from base.errors import DamagedFile
from base.storage.damage import named_damage
from base.storage.errors import explained
from base.storage.folder import Folder
from dataset.identity import digest, fingerprint
from dataset.parts import part_file
from dataset.parts.each import apply_each

_MAGIC = b"PAR1"
CLIPS, SOURCES, REJECTS = "clips", "sources", "rejects"


def make_label(kind: str, identity: Mapping[str, Any], facts: Mapping[str, Any] | None = None) -> dict[str, str]:
    """The configuration of a part of clips or of an artifact, for its metadata."""
    label = {"kind": kind, "fingerprint": fingerprint(dict(identity)), "identity": json.dumps(identity)}
    return label | ({} if facts is None else {"facts": json.dumps(facts)})


def digest_ids(ids: Iterable[str]) -> str:
    """A digest of the ids of a part's rows, in order, for its metadata."""
    return digest("ids", *ids)


@dataclass(frozen=True)
class Footer:
    """The footer of a part: its rows, how many have no id (failed clips), and its metadata."""

    name: str
    rows: int
    nulls: int
    facts: Mapping[str, str]

    def check(self, folder: Folder, kind: str, fingerprint: str | None = None, beside: "Footer | None" = None) -> None:
        """DamagedFile if the part does not belong in its place.

        ``beside``: the part of clips whose rows it must match. Metadata that version 1 parts lack is not checked.
        """
        expected = {"part": self.name, "kind": kind} | ({"fingerprint": fingerprint} if fingerprint else {})
        if beside is not None and "ids" in beside.facts:
            expected["ids"] = beside.facts["ids"]
        for key, value in expected.items():
            if self.facts.get(key, value) != value:
                raise DamagedFile(folder.file(self.name), f"it is another part: {key} {self.facts[key]}, not {value}")
        if beside is not None and self.rows != beside.rows:
            raise DamagedFile(folder.file(self.name), f"it has {self.rows:,} rows, the clips have {beside.rows:,}")


def read_footer(folder: Folder, name: str) -> Footer:
    """Read one footer. DamagedFile if it is truncated or not Parquet."""
    with explained(folder.file(name)), named_damage(folder.file(name)), part_file.open_source(folder, name) as file:
        size = file.size()
        if file.read_at(len(_MAGIC), 0) != _MAGIC:
            raise DamagedFile(folder.file(name), "it does not begin as a Parquet file" if size else "it has no bytes")
        sealed = part_file.footer_of(file, folder, name)
        metadata = sealed.metadata
    if _end(metadata) > size - metadata.serialized_size - 2 * len(_MAGIC):
        raise DamagedFile(folder.file(name), "bytes are missing from its middle")
    return Footer(name, metadata.num_rows, _nulls(metadata), sealed.facts)


def read_footers(folder: Folder, names: Sequence[str]) -> tuple[dict[str, Footer], dict[str, DamagedFile]]:
    """The footers of these parts of a folder, by name, and the damage of the others."""

    def read(name: str) -> Footer | DamagedFile:
        try:
            return read_footer(folder, name)
        except DamagedFile as damage:
            return damage

    found = dict(zip(names, apply_each(folder, read, names), strict=True))
    whole = {name: footer for name, footer in found.items() if isinstance(footer, Footer)}
    return whole, {name: damage for name, damage in found.items() if isinstance(damage, DamagedFile)}


def _end(metadata: pq.FileMetaData) -> int:
    """The end of the last column's pages, after which the footer begins."""
    if not metadata.num_row_groups:
        return 0
    group = metadata.row_group(metadata.num_row_groups - 1)
    columns = (group.column(number) for number in range(group.num_columns))
    return max(
        int(
            column.total_compressed_size
            + min(offset for offset in (column.data_page_offset, column.dictionary_page_offset) if offset is not None)
        )
        for column in columns
    )


def _nulls(metadata: pq.FileMetaData) -> int:
    """Null rows of the first column, from its statistics."""
    found = 0
    for number in range(metadata.num_row_groups):
        statistics = metadata.row_group(number).column(0).statistics
        found += (statistics.null_count or 0) if statistics is not None else 0
    return found
