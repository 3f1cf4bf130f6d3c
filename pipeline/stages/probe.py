"""Probe: sources in, their facts out. 1:1."""

from dataclasses import asdict
from typing import Any

import pyarrow as pa

from dataset.parts.tables import SOURCES
from pipeline.video.errors import VideoError
from pipeline.video.process.worker import VideoWorker


def probe_rows(table: pa.Table, worker: VideoWorker) -> pa.Table:
    """Rows of (uri, stamp) to rows of :data:`SOURCES`; a source that cannot be read says why."""
    return pa.Table.from_pylist([_probe(row["uri"], row["stamp"], worker) for row in table.to_pylist()], schema=SOURCES)


def _probe(uri: str, stamp: str, worker: VideoWorker) -> dict[str, Any]:
    row: dict[str, Any] = {"uri": uri, "stamp": stamp}
    try:
        facts = asdict(worker.probe(uri))
        # Of what is not used no clip is drawn: it has no content, as a file that cannot be read has none.
        return row | facts | ({"content": None} if facts["error_class"] else {})
    except VideoError as error:
        return row | {"error_class": error.kind, "message": error.message}
