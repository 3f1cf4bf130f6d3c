"""Rows that are mapped many at once are those that are mapped one by one."""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.manifest.columns import ROWS, ColumnMapping, ManifestColumns, RawColumns, storable
from pipeline.manifest.values import text_of, texts_of
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
    ),
]
# Columns of the types that Parquet and CSV have, by values of which some need a look of their own.
CAPTIONS = [
    (pa.string(), ["a cat", " two\n", "", None, "\x1cwalks\x85"]),
    (pa.large_string(), ["a cat", " two\u3000", None]),
    (pa.dictionary(pa.int32(), pa.string()), ["a cat ", "a dog", None]),
    (pa.list_(pa.string()), [["first ", "second"], [], None]),
    (pa.int64(), [7, None]),
    (pa.null(), [None]),
]
TIMES = [
    (pa.string(), ["", "1.5", "0:00:02", None, "x", "1:70", "-1"]),
    (pa.float64(), [1.5, 3.0, None, -1.0, float("inf"), float("nan")]),
    (pa.int32(), [1, 2, None, -1]),
    (pa.null(), [None]),
]
BAD_NAMES = (None, "", "a\0b.mp4")
BAD_TIMES = ("x", "1:70", "-1", -1, float("inf"))


def columns_of(kinds: list[tuple[pa.DataType, list[Any]]], count: int) -> st.SearchStrategy[pa.Array]:
    """A column of one of these kinds."""
    some = [
        st.lists(st.sampled_from(values), min_size=count, max_size=count).map(partial(pa.array, type=kind))
        for kind, values in kinds
    ]
    return st.one_of(some)


def blocks(count: int) -> st.SearchStrategy[RawColumns]:
    video = columns_of([(pa.string(), [*NAMES, None]), (pa.large_string(), NAMES)], count)
    some = st.tuples(video, columns_of(CAPTIONS, count), *[columns_of(TIMES, count)] * 2)
    return some.map(lambda columns: RawColumns(dict(zip(COLUMNS, columns, strict=True)), count))


COLUMNS = ["video", "caption", "start", "end"]


@given(st.integers(1, 4).flatmap(blocks), st.sampled_from(["", "/root", "s3://bucket/videos/"]))
def test_columns_are_the_rows(block: RawColumns, root: str) -> None:
    """Unless a row of them needs a look of its own: then there are no columns."""
    mapping = ColumnMapping(ManifestColumns(root=root or None), COLUMNS, "/data/m.parquet", [])
    batch = mapping.columns(block)
    found = [storable(row) for one in block.rows() for row in mapping.rows(one)]
    videos, _, starts, ends = (block.values[name].to_pylist() for name in COLUMNS)
    easy = not any(video in BAD_NAMES for video in videos)
    easy &= not any(time in BAD_TIMES or time != time for time in starts + ends)
    assert (batch is not None) == easy
    if batch is not None:
        assert [tuple(row[name] for name in ROWS.names) for row in batch.to_pylist()] == found


def test_blanks_around_captions_are_those_of_python() -> None:
    """Of every character there is."""
    characters = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code <= 0xDFFF]
    captions = [f"{one}a{one}b{one}" for one in characters]
    assert texts_of(pa.array(captions)).to_pylist() == [text_of(caption) for caption in captions]


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
