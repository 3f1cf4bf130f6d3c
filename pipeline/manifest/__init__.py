"""Manifests: which videos there are and what is said of them, streamed in batches from the layouts that people have.

``read`` picks the reader by what the path is; ``tables`` (CSV, TSV, JSON, Parquet), ``folders`` (videos with captions
beside them) and ``shards`` (WebDataset tar files) are the readers; ``columns`` says which column means what;
``segments`` reads times; ``layouts`` names what cannot be read, and says what to do.
"""

from pipeline.manifest.columns import ROWS, ManifestColumns
from pipeline.manifest.read import read_manifest

__all__ = ["ROWS", "ManifestColumns", "read_manifest"]
