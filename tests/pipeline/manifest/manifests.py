"""Manifests of every layout, written and read."""

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

from pipeline.manifest import ManifestColumns, read_manifest


def rows(source: Path | str, **columns: str) -> list[dict[str, object]]:
    return [row for batch in read_manifest(str(source), ManifestColumns(**columns)) for row in batch.to_pylist()]


def write_tar(path: Path, members: Iterable[tuple[str, bytes]], **options: object) -> Path:
    with tarfile.open(path, "w", **options) as tar:
        for name, data in members:
            facts = tarfile.TarInfo(name)
            facts.size = len(data)
            tar.addfile(facts, io.BytesIO(data))
    return path


def uris(found: list[dict[str, object]], root: Path) -> list[str]:
    return [str(Path(str(row["uri"])).relative_to(root)) for row in found]
