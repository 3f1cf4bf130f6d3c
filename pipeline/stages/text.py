"""Text: encodes captions and writes their states as one part."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from base.storage.folder import Folder
from base.torch_types import Device
from dataset.identity import part_name
from dataset.lock import Fence
from dataset.parts.footers import digest_ids
from dataset.parts.schema import Column
from dataset.parts.tables import TEXT_KEYS, StoreOptions, write_part
from pipeline.featurizers.base import TextFeature


@dataclass(frozen=True)
class TextTarget:
    """The target of text states: the artifact's folder, columns and part metadata."""

    dataset: Folder
    folder: str
    columns: tuple[Column, ...]
    store: StoreOptions
    label: Mapping[str, str] = field(hash=False)
    fence: Fence | None = None


class TextEncoding:
    """A text feature loaded on a device."""

    def __init__(self, feature: TextFeature, target: TextTarget, device: Device) -> None:
        self.function = feature.load(device)
        self.target = target

    def __call__(self, table: pa.Table) -> None:
        """Encode and write the captions of a table (rows as :data:`TEXT_KEYS`)."""
        target = self.target
        values = self.function(table.column("caption").to_pylist())
        fields = [*TEXT_KEYS, *(column.field() for column in target.columns)]
        arrays = [table.column("text_id"), table.column("caption")]
        arrays += [column.to_arrow(values[column.name]) for column in target.columns]
        ids = table.column("text_id").to_pylist()
        name = part_name(target.label["fingerprint"], ids)
        part = pa.table(arrays, schema=pa.schema(fields))
        if target.fence is not None:
            target.fence.check()
        facts = dict(target.label) | {"ids": digest_ids(ids)}
        write_part(target.dataset / target.folder, name, part, target.store, facts)
