"""Manifests: lists of videos and captions, streamed in batches from common layouts.

``read`` picks the reader by path; ``tables`` (CSV, TSV, JSON, Parquet), ``folders`` (videos with
sidecar captions) and ``shards`` (WebDataset tar files) are the readers; ``columns`` assigns columns;
``segments`` reads times; ``values`` reads what else a row has; ``layouts`` explains unsupported files.
"""

from pipeline.manifest.columns import ROWS, ManifestColumns
from pipeline.manifest.read import read_manifest

__all__ = ["ROWS", "ManifestColumns", "read_manifest"]
