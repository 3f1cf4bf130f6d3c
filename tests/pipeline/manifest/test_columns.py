"""Rows that are mapped many at once are those that are mapped one by one."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.manifest.columns import ROWS, ColumnMapping, ManifestColumns, RawColumns, storable
from tests.pipeline.manifest.manifests import rows

NAMES = [
    *(
        "a.mp4",
        "/data/a.mp4",
        "/data//a.mp4",
        "/data/./a.mp4",
        "/data/../a.mp4",
        "/data/..a/a.mp4",
        "/data/a/",
        "/",
        "",
    ),
    *("~/a.mp4", "file:///a.mp4", "FILE:///a.mp4", "s3://b/a.mp4", "S3://b/a", "gs://b/a", "http://x.org/a.mp4", "./a"),
    *(
        "a#offset=1&size=2&member=a.mp4",
        "/t.tar#offset=1&size=2&member=a.mp4",
        "/data/a#b.mp4",
        "a\0b.mp4",
        "\ud800.mp4",
    ),
]
TIMES = ["", "1.5", "0:00:02", None, 3, "x", -1, float("inf"), "1:70"]
CAPTIONS = ["a cat", " two\n", "", None, ["first", "second"], 7, "\ud800", "\x1cwalks\x85"]
ROW = st.tuples(*(st.sampled_from(values) for values in (NAMES, CAPTIONS, TIMES, TIMES)))


@given(st.lists(ROW, min_size=1, max_size=4), st.sampled_from(["", "/root", "s3://bucket/videos/"]))
def test_columns_are_the_rows(raw: list[tuple[object, ...]], root: str) -> None:
    """Unless a row of them needs a look of its own: then there are no columns."""
    names = ["video", "caption", "start", "end"]
    mapping = ColumnMapping(ManifestColumns(root=root or None), names, "/data/m.jsonl", [])
    block = RawColumns(dict(zip(names, zip(*raw, strict=True), strict=True)), len(raw))
    batch = mapping.columns(block)
    found = [storable(row) for one in block.rows() for row in mapping.rows(one)]
    easy = all(video not in ("", NAMES[-2], NAMES[-1]) and caption != CAPTIONS[-2] for video, caption, *_ in raw)
    easy &= not any(time in TIMES[-4:] for *_, start, end in raw for time in (start, end))
    assert (batch is not None) == easy
    if batch is not None:
        assert [tuple(row[name] for name in ROWS.names) for row in batch.to_pylist()] == found


def test_rows_of_both_kinds_stay_in_order(tmp_path: Path) -> None:
    """A line with too few fields sends its block the long way, and no other."""
    lines = [f"{number}.mp4,clip {number}" for number in range(150_000)]
    lines[70_000] = "short.mp4"
    (tmp_path / "m.csv").write_text("\n".join(["video,caption", *lines]))
    found = rows(tmp_path / "m.csv")
    assert [row["caption"] for row in found[:70_000]] == [f"clip {number}" for number in range(70_000)]
    assert found[70_000]["fault"] == "BadRow: 1 fields but 2 columns"
    assert found[70_000]["uri"] == f"{tmp_path}/m.csv#70002"
    assert [row["caption"] for row in found[70_001:]] == [f"clip {number}" for number in range(70_001, 150_000)]


@pytest.mark.parametrize("count", [1, 99, 100, 101, 70_000])
def test_every_row_of_a_parquet_file(tmp_path: Path, count: int) -> None:
    videos = [f"/videos/{number}.mp4" for number in range(count)]
    pq.write_table(pa.table({"video": videos, "caption": videos}), tmp_path / "m.parquet", row_group_size=66_000)
    assert [row["uri"] for row in rows(tmp_path / "m.parquet")] == videos


def test_a_column_without_a_name_is_no_caption(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("video,\na.mp4,1\n")
    assert [(row["caption"], row["start_s"]) for row in rows(tmp_path / "m.csv")] == [(None, None)]
