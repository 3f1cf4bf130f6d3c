import csv
import json
from datetime import time, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.errors import InputError
from pipeline.manifest.segments import captions_of, read_segments, seconds
from tests.pipeline.manifest.manifests import rows


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (None, None),
        ("", None),
        (0, 0.0),
        ("12.5", 12.5),
        ("0:00:17.683", 17.683),
        ("00:01:02,5", 62.5),
        ("2:11", 131.0),
        ("90:00", 5400.0),
        (timedelta(minutes=1), 60.0),
        (time(0, 1, 2, 500000), 62.5),
    ],
)
def test_times(value: object, found: float | None) -> None:
    assert seconds(value) == pytest.approx(found)


@pytest.mark.parametrize("value", ["x", "-1", -0.5, "nan", "inf", "0:61:00", "1:75", True, [1], {}, "0:-1"])
def test_what_is_no_time(value: object) -> None:
    with pytest.raises(ValueError, match=r"time|seconds"):
        seconds(value)


@given(st.integers(0, 10**8))
def test_clock_times_are_seconds(milliseconds: int) -> None:
    whole, rest = divmod(milliseconds, 1000)
    text = f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}.{rest:03}"
    assert seconds(text) == pytest.approx(milliseconds / 1000, abs=1e-9)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("[['0:00:17.683', '0:00:23.022'], ['0:00:23.022', '0:00:30.1']]", [(17.683, 23.022), (23.022, 30.1)]),
        ("['0:00:17.683', '0:00:23.022']", [(17.683, 23.022)]),
        ("[[0, 4.5], [4.5, 9]]", [(0.0, 4.5), (4.5, 9.0)]),
        ([[1, 2]], [(1.0, 2.0)]),
        ([1, 2], [(1.0, 2.0)]),
        ("((1, 2), (3, 4))", [(1.0, 2.0), (3.0, 4.0)]),
        ([{"start": 1, "end": "0:02"}], [(1.0, 2.0)]),
        ([{"start_time": 1}], [(1.0, None)]),
        ("[]", []),
    ],
)
def test_segments(value: object, found: list[tuple[float, float | None]]) -> None:
    assert read_segments(value) == found


@pytest.mark.parametrize(
    "value", ["[1, 2, 3]", "[", "[[1]]", "[['a', 'b']]", 7, "__import__('os')", [{"x": 1}], [None, None]]
)
def test_what_is_no_list_of_segments(value: object) -> None:
    with pytest.raises(ValueError, match=r"segment|time|seconds|end"):
        read_segments(value)


def test_captions_of_segments() -> None:
    assert captions_of("['a', 'b']", 2) == ["a", "b"]
    assert captions_of(["a", "b"], 2) == ["a", "b"]
    assert captions_of("one for all", 3) == ["one for all"] * 3
    assert captions_of("[sic] a cat", 1) == ["[sic] a cat"]
    assert captions_of("['a cat']", 1) == ["a cat"]
    assert captions_of(None, 2) == [None, None]
    assert captions_of(["a"], 2) == ["a", "a"]
    with pytest.raises(ValueError, match="3 captions for 2 segments"):
        captions_of("['a', 'b', 'c']", 2)


EMPTY = 150
"""Rows without a value before the first one that has one: more than are looked at before the columns are chosen."""


def late(folder: Path, kind: str, name: str, values: list[object]) -> Path:
    """A manifest whose column ``name`` is empty in its first rows."""
    path = folder / f"late.{kind}"
    found = [{"video": f"{n}.mp4", "caption": "c", name: None} for n in range(EMPTY)]
    found += [{"video": "late.mp4", "caption": "c", name: value} for value in values]
    if kind == "csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, ["video", "caption", name])
            writer.writeheader()
            writer.writerows(found)
    elif kind == "jsonl":
        path.write_text("\n".join(json.dumps(row) for row in found))
    else:
        pq.write_table(pa.Table.from_pylist(found), path)
    return path


@pytest.mark.parametrize("name", ["segments", "timestamp", "timestamps"])
@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_segments_that_come_late_count(tmp_path: Path, kind: str, name: str) -> None:
    found = rows(late(tmp_path, kind, name, [[[0, 1], [2, 3]]]))
    assert [(row["start_s"], row["end_s"]) for row in found] == [(None, None)] * EMPTY + [(0.0, 1.0), (2.0, 3.0)]
    assert [row["fault"] for row in found] == [None] * (EMPTY + 2)


def test_a_list_among_moments_is_refused_and_not_left_out(tmp_path: Path) -> None:
    path = late(tmp_path, "csv", "timestamp", ["2021-05-04", None, [[0, 1]]])
    said = r"column 'timestamp' has a list in row 153 but not in row 151.*--columns.segments timestamp"
    with pytest.raises(InputError, match=said):
        rows(path)
    found = rows(path, segments="timestamp")
    assert [str(row["fault"]).split(":")[0] for row in found[-3:]] == ["BadRow", "None", "None"]
    assert found[-1]["end_s"] == 1.0


def test_a_column_named_segments_holds_segments(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("video,caption,segments\na.mp4,one,3\n")
    assert str(rows(path)[0]["fault"]).startswith("BadRow: '3' is not a list of segments")
    assert rows(path, segments="")[0]["fault"] is None


def test_segments_of_the_first_column_that_has_any(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text('{"video": "a.mp4", "timestamp": "2021-05-04", "timestamps": [[0, 1]]}\n')
    assert rows(path)[0]["end_s"] == 1.0


def test_panda_70m_whose_first_rows_have_no_segments(tmp_path: Path) -> None:
    path = tmp_path / "panda.csv"
    path.write_text("videoID,url,timestamp,caption\n" + "a,https://x/a,,c\n" * EMPTY + 'b,https://x/b,"[[0, 1]]",c\n')
    found = rows(path)
    assert {str(row["uri"]) for row in found} == {str(tmp_path / "a.mp4"), str(tmp_path / "b.mp4")}
    assert found[-1]["end_s"] == 1.0
