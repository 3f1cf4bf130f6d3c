"""Probe: reads the properties of sources. 1:1."""

from dataclasses import asdict
from typing import Any

import pyarrow as pa

from dataset.parts.tables import SOURCES
from pipeline.video.errors import VideoError
from pipeline.video.process.worker import VideoWorker


def probe_rows(table: pa.Table, worker: VideoWorker) -> pa.Table:
    """Rows of (uri, stamp) to rows of :data:`SOURCES`; with the reason for unreadable sources."""
    return pa.Table.from_pylist([_probe(row["uri"], row["stamp"], worker) for row in table.to_pylist()], schema=SOURCES)


def _probe(uri: str, stamp: str, worker: VideoWorker) -> dict[str, Any]:
    row: dict[str, Any] = {"uri": uri, "stamp": stamp}
    try:
        facts = asdict(worker.probe(uri))
        # No clips are drawn from unusable videos: like unreadable files, they get no content.
        return row | facts | ({"content": None} if facts["error_class"] else {})
    except VideoError as error:
        return row | {"error_class": error.kind, "message": error.message}
