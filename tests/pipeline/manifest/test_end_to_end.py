import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.manifest import ManifestColumns, read_manifest
from pipeline.run.accounting import Account
from tests.pipeline.manifest.manifests import write_tar


@pytest.mark.parametrize("layout", ["tar", "parquet"])
def test_shards_give_the_clips_that_files_give(
    layout: str,
    sprites_folder: Path,
    sprites_dataset: Path,
    preprocess: Callable[..., Account],
    tmp_path: Path,
) -> None:
    """Clips are named by content: the same videos are the same clips, wherever they lie."""
    manifest = str(sprites_folder / "manifest.csv")
    found = [row for batch in read_manifest(manifest, ManifestColumns()) for row in batch.to_pylist()]
    videos = [(Path(row["uri"]).read_bytes(), row["caption"]) for row in found]
    if layout == "tar":
        members = [
            (f"{number:04}.{suffix}", data)
            for number, (video, caption) in enumerate(videos)
            for suffix, data in (("mp4", video), ("json", json.dumps({"caption": caption}).encode()))
        ]
        write_tar(tmp_path / "shard.tar", members)
    else:
        columns = {"video": [{"bytes": v} for v, _ in videos], "caption": [c for _, c in videos]}
        pq.write_table(pa.table(columns), tmp_path / "shard.parquet", row_group_size=5)
    account = preprocess(tmp_path / f"shard.{layout}", tmp_path / "dataset")
    assert (account.written, account.failed, account.complete) == (16, 0, True)
    ours, theirs = (
        pq.read_table(folder / "clips", columns=["clip_id", "caption"]).sort_by("clip_id").to_pydict()
        for folder in (tmp_path / "dataset", sprites_dataset)
    )
    assert ours == theirs
