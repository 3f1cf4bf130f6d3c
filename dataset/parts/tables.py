"""Writes, lists and reads part files."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from base.storage.folder import Folder
from dataset.parts.each import apply_each
from dataset.parts.part_file import encode_part, read_footer, read_part
from dataset.parts.schema import columns_of

SOURCES = pa.schema(
    [
        ("uri", pa.string()),
        ("stamp", pa.string()),
        ("content", pa.string()),
        ("frames", pa.int64()),
        ("fps", pa.float64()),
        ("variable_rate", pa.bool_()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("turns", pa.int32()),
        ("pixel_aspect", pa.float64()),
        ("codec", pa.string()),
        ("pixel_format", pa.string()),
        ("container", pa.string()),
        ("matrix", pa.string()),
        ("colour_range", pa.string()),
        ("transfer", pa.string()),
        ("primaries", pa.string()),
        ("interlaced", pa.bool_()),
        ("times", pa.binary()),
        ("size", pa.int64()),
        ("error_class", pa.string()),
        ("message", pa.string()),
    ]
)
CLIPS = pa.schema(
    [
        ("clip_id", pa.string()),
        ("slot", pa.string()),
        ("uri", pa.string()),
        ("content", pa.string()),
        ("caption", pa.string()),
        ("text_id", pa.string()),
        ("first", pa.int64()),
        ("stride", pa.int32()),
        ("fps", pa.float64()),
        ("has_next", pa.bool_()),
        ("source_fps", pa.float64()),
        ("source_frames", pa.int64()),
        ("source_height", pa.int32()),
        ("source_width", pa.int32()),
        ("variable_rate", pa.bool_()),
        ("turns", pa.int32()),
        ("pixel_aspect", pa.float64()),
        ("codec", pa.string()),
        ("pixel_format", pa.string()),
        ("decoder", pa.string()),
    ]
)
# A clip before decoding.
PLANNED = pa.schema([field for field in CLIPS if field.name != "decoder"])
REJECTS = pa.schema(
    [
        ("slot", pa.string()),
        ("clip_id", pa.string()),
        ("uri", pa.string()),
        ("caption", pa.string()),
        ("artifact", pa.string()),
        ("outcome", pa.string()),
        ("stage", pa.string()),
        ("error_class", pa.string()),
        ("message", pa.string()),
        ("score", pa.float64()),
        ("attempts", pa.int32()),
        ("seconds", pa.float64()),
        ("run", pa.string()),
        ("part", pa.string()),
    ]
)
TEXT_KEYS = pa.schema([("text_id", pa.string()), ("caption", pa.string())])

Compression = Literal["none", "lz4", "zstd"]


@dataclass(frozen=True)
class StoreOptions:
    """Sizes and compression of parts; only affects speed and size, so it is not part of fingerprints."""

    clips_a_part: int = 256
    clips_a_row_group: int = 8
    compression: Compression = "lz4"

    def __post_init__(self) -> None:
        """Check that parts consist of whole row groups."""
        if self.clips_a_row_group < 1:
            raise ValueError(f"clips_a_row_group {self.clips_a_row_group}: must be at least 1")
        if self.clips_a_part < 1 or self.clips_a_part % self.clips_a_row_group:
            raise ValueError(
                f"clips_a_part {self.clips_a_part}: must be a multiple of clips_a_row_group {self.clips_a_row_group}, "
                "and at least that"
            )


# Tables without tensors are one row group, since many small ones are slow to read.
FACTS = StoreOptions(1 << 20, 1 << 20)


def write_part(folder: Folder, name: str, table: pa.Table, options: StoreOptions, facts: dict[str, str]) -> int:
    """Write one part atomically; ``facts`` and the name are stored as metadata. Returns its size in bytes."""
    tensors = columns_of(table.schema)
    data = encode_part(
        table.replace_schema_metadata(facts | {"part": name}),
        options.clips_a_row_group,
        compression=options.compression,
        use_dictionary=False,
        write_statistics=[name for name in table.column_names if name not in tensors],
    )
    folder.write(name, data)
    return int(data.size)


def part_facts(folder: Folder, name: str) -> dict[str, str]:
    """The metadata of a part."""
    return read_footer(folder, name).facts


def part_options(folder: Folder, name: str) -> StoreOptions:
    """The options of an existing part, for rewriting it."""
    group = read_footer(folder, name).metadata.row_group(0)
    compression = group.column(0).compression.lower()
    known: dict[str, Compression] = {"uncompressed": "none", "lz4": "lz4", "zstd": "zstd"}
    return StoreOptions(group.num_rows, group.num_rows, known.get(compression, StoreOptions.compression))


def part_names(folder: Folder) -> list[str]:
    """Names of the parts in a folder, sorted; for readers without the lock, see :mod:`dataset.parts.listing`."""
    return [entry.name for entry in folder.files(".parquet")]


def read_parts(folder: Folder, columns: list[str], names: Sequence[str] | None = None) -> pa.Table:
    """Some columns of all parts (or the named ones), concatenated in order; without columns if there are no parts."""
    names = part_names(folder) if names is None else names
    return join(read_each_part(folder, columns, names), pa.schema([]))


def read_each_part(folder: Folder, columns: list[str], names: Sequence[str]) -> list[pa.Table]:
    """Some columns of each of the named parts."""
    return apply_each(folder, lambda name: read_part(folder, name, columns), names)


def join(tables: Sequence[pa.Table], schema: pa.Schema) -> pa.Table:
    """The rows of several parts; of none, an empty table with a schema."""
    return pa.concat_tables(table.replace_schema_metadata(None) for table in tables) if tables else schema.empty_table()
