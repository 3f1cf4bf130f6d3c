"""Whether a part is whole, from its footer alone: what a part says of itself, and how that is read and compared.

A part carries in its metadata what it is (since schema version 2): ``part`` (its own name), ``kind`` ("clips",
"sources", "rejects", or the artifact's kind), ``fingerprint``, ``identity`` and ``facts`` (JSON: the configuration),
and ``ids`` (a digest of the ids of its clips or captions, in order, those of failed clips counted in). So a file that
was cut short, overwritten, renamed or swapped with another is known by its footer, and dataset.json can be made again.

    read_footer(folder, name)         the footer of one part; DamagedFile where the file is not whole
    read_footers(folder)              those of all parts of a folder, read in parallel, and what is wrong with others
    footer.check(folder, ...)         DamagedFile where the part is not what its place asks for

What lies between head and footer (the pages) is not read here.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from base.errors import DamagedFile
from base.storage.damage import named_damage
from base.storage.errors import explained
from base.storage.folder import Entry, Folder
from base.storage.uri import split
from dataset.identity import digest, fingerprint
from dataset.parts import part_file
from dataset.parts.each import read_each

_MAGIC = b"PAR1"
CLIPS, SOURCES, REJECTS = "clips", "sources", "rejects"


def make_label(kind: str, identity: Mapping[str, Any], facts: Mapping[str, Any] | None = None) -> dict[str, str]:
    """What a part of clips or of an artifact says of its configuration, for its metadata."""
    label = {"kind": kind, "fingerprint": fingerprint(dict(identity)), "identity": json.dumps(identity)}
    return label | ({} if facts is None else {"facts": json.dumps(facts)})


def digest_ids(ids: Iterable[str]) -> str:
    """The ids of a part's rows, in order, as one value for its metadata."""
    return digest("ids", *ids)


@dataclass(frozen=True)
class Footer:
    """What the footer of a part tells: its rows, how many have no id (clips that failed), and its metadata."""

    name: str
    rows: int
    nulls: int
    facts: Mapping[str, str]

    def check(self, folder: Folder, kind: str, fingerprint: str | None = None, beside: "Footer | None" = None) -> None:
        """DamagedFile where the part is another one than its place says.

        ``beside``: the part of clips whose rows it must have. What a part of version 1 does not say is not checked.
        """
        expected = {"part": self.name, "kind": kind} | ({"fingerprint": fingerprint} if fingerprint else {})
        if beside is not None and "ids" in beside.facts:
            expected["ids"] = beside.facts["ids"]
        for key, value in expected.items():
            if self.facts.get(key, value) != value:
                raise DamagedFile(
                    folder.file(self.name), f"it holds another part: {key} {self.facts[key]}, not {value}"
                )
        if beside is not None and self.rows != beside.rows:
            raise DamagedFile(folder.file(self.name), f"it has {self.rows:,} rows, the clips have {beside.rows:,}")


def read_footer(folder: Folder, name: str, size: int | None = None) -> Footer:
    """Read one footer; ``size`` in bytes spares asking for it. DamagedFile where it is cut short or no Parquet."""
    fs, path = split(folder.file(name))
    with explained(folder.file(name)), named_damage(folder.file(name)), fs.open_input_file(path) as file:
        size = file.size() if size is None else size
        if file.read_at(len(_MAGIC), 0) != _MAGIC:
            raise DamagedFile(folder.file(name), "it does not begin as a Parquet file" if size else "it has no bytes")
        sealed = part_file.footer_of(file, folder, name)
        metadata = sealed.metadata
    if _end(metadata) > size - metadata.serialized_size - 2 * len(_MAGIC):
        raise DamagedFile(folder.file(name), "bytes are missing from its middle")
    return Footer(name, metadata.num_rows, _nulls(metadata), sealed.facts)


def read_footers(folder: Folder) -> tuple[dict[str, Footer], dict[str, DamagedFile]]:
    """The footers of all parts of a folder, by name, and the damage of those that have none."""

    def read(entry: Entry) -> Footer | DamagedFile:
        try:
            return read_footer(folder, entry.name, entry.size)
        except DamagedFile as damage:
            return damage

    entries = folder.files(".parquet")
    found = dict(zip((entry.name for entry in entries), read_each(folder, read, entries), strict=True))
    whole = {name: footer for name, footer in found.items() if isinstance(footer, Footer)}
    return whole, {name: damage for name, damage in found.items() if isinstance(damage, DamagedFile)}


def _end(metadata: pq.FileMetaData) -> int:
    """Where the last column's pages end; the footer comes after them."""
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
    """Rows without a value in the first column, by its statistics."""
    found = 0
    for number in range(metadata.num_row_groups):
        statistics = metadata.row_group(number).column(0).statistics
        found += (statistics.null_count or 0) if statistics is not None else 0
    return found
