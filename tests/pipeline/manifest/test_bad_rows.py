"""What is wrong with one row fails that row; what is wrong with the file is told in one sentence."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from base.errors import InputError
from base.storage.uri import local_path
from pipeline.manifest.segments import read_segments, seconds
from tests.pipeline.manifest.manifests import rows, uris, write_tar

GOOD = {"video": "good.mp4", "caption": "good"}
DIGITS = "9" * 400
# A row of JSON, and what its fault says.
BAD: dict[str, tuple[str, str]] = {
    "half a character in the caption": ('{"video": "a.mp4", "caption": "bad \\ud800"}', "has U+D800, half of a"),
    "half a character in the path": ('{"video": "a\\udc80.mp4", "caption": "x"}', "has U+DC80, half of a"),
    "a zero byte in the path": ('{"video": "a\\u0000b.mp4", "caption": "x"}', "its path has a zero byte"),
    "a time of 400 digits": (
        f'{{"video": "a.mp4", "caption": "x", "start": {DIGITS}}}',
        "must be finite and not negative",
    ),
    "a clock of 400 digits": (f'{{"video": "a.mp4", "caption": "x", "start": "{DIGITS}:00"}}', "must be finite"),
    "segments of 400 digits": (f'{{"video": "a.mp4", "segments": [[0, {DIGITS}]]}}', "must be finite and not negative"),
    "a number of 5000 digits": (f'{{"video": "a.mp4", "start": {"9" * 5000}}}', "not JSON"),
    "a clock of 5000 digits": (f'{{"video": "a.mp4", "start": "{"9" * 5000}:00"}}', "digits"),
    "deep lists": ('{"video": "a.mp4", "caption": ' + "[" * 100_000 + "}", "not JSON"),
    "deep segments": ('{"video": "a.mp4", "segments": ' + "[" * 700 + "]" * 700 + "}", "is not a segment"),
    "deep segments as text": ('{"video": "a.mp4", "segments": "' + "[" * 100_000 + '"}', "is not a list of segments"),
}


@pytest.mark.parametrize("name", BAD)
def test_one_bad_row_of_json_lines_is_one_row_that_fails(tmp_path: Path, name: str) -> None:
    line, said = BAD[name]
    path = tmp_path / "m.jsonl"
    first = json.dumps(GOOD | {"start": None, "segments": None})
    path.write_text(f"{first}\n{line}\n{json.dumps(GOOD)}\n")
    found = rows(path)
    assert [row["fault"] is None for row in found] == [True, False, True]
    assert str(found[1]["fault"]).startswith("BadRow: ")
    assert said in str(found[1]["fault"])
    assert len(str(found[1]["fault"])) < 300
    assert [row["caption"] for row in found[::2]] == ["good", "good"]


def test_names_that_begin_with_a_tilde_are_names(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("video,caption\n~x.mp4,one\n~/x.mp4,two\n")
    found = rows(path)
    assert uris(found[:1], tmp_path) == ["~x.mp4"]
    assert found[1]["uri"] == str(Path.home() / "x.mp4")
    assert local_path("~nobody-of-that-name/x") == Path.cwd() / "~nobody-of-that-name/x"


@pytest.mark.parametrize("where", ["folder", "shard"])
def test_bad_files_beside_videos_are_rows_that_fail(tmp_path: Path, where: str) -> None:
    facts = {
        "deep": "[" * 100_000,
        "digits": '{"caption": ' + "9" * 5000 + "}",
        "good": '{"caption": "good"}',
        "half": '{"caption": "bad \\ud800"}',
        "late": f'{{"caption": "x", "start": {DIGITS}}}',
    }
    members = [(f"{n}.{kind}", text.encode()) for n, text in facts.items() for kind in ("mp4", "json")]
    place = tmp_path / where
    if where == "shard":
        place = write_tar(tmp_path / "s.tar", members)
    else:
        place.mkdir()
        for name, data in members:
            (place / name).write_bytes(data)
    found = rows(place, start="start")
    assert [str(row["fault"]).split(":")[0] for row in found] == ["BadRow", "BadRow", "None", "BadRow", "BadRow"]
    assert found[2]["caption"] == "good"


def test_members_whose_names_are_not_unicode(tmp_path: Path) -> None:
    found = rows(write_tar(tmp_path / "s.tar", [("a\udce9.mp4", b"x"), ("b.mp4", b"x")]))
    assert "half of a surrogate pair" in str(found[0]["fault"])
    assert found[1]["fault"] is None


@pytest.mark.parametrize(
    ("text", "said"),
    [("[" * 100_000, "it is nested too deeply"), ('[{"video": ' + "9" * 5000 + "}]", "has thousands of digits")],
)
def test_a_json_file_that_cannot_be_read_is_told(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(InputError, match=f"m.json' is not readable JSON: .*{said}.*write JSON lines"):
        rows(tmp_path / "m.json")


@pytest.mark.parametrize("value", [int(DIGITS), DIGITS, f"{DIGITS}:00", f"0:00:00.{DIGITS}x", "9" * 5000 + ":00"])
def test_times_of_any_length_are_refused_shortly(value: object) -> None:
    with pytest.raises(ValueError, match=r"time|seconds|digits") as caught:
        seconds(value)
    assert len(str(caught.value)) < 200
    with pytest.raises(ValueError, match=r"."):
        read_segments([[0, value]])


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet"])
def test_two_columns_of_one_name_are_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"m.{kind}"
    if kind == "parquet":
        columns = [pa.array(["a.mp4"]), pa.array(["one"]), pa.array(["two"])]
        pq.write_table(pa.table(columns, names=["video", "caption", "caption"]), path)
    else:
        mark = "\t" if kind == "tsv" else ","
        path.write_text(f"video{mark}caption{mark}caption\na.mp4{mark}one{mark}two\n")
    with pytest.raises(InputError, match=f"m.{kind}': 2 columns are named 'caption'.*Rename or remove"):
        rows(path)


def test_columns_without_a_name_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("video,caption,,\na.mp4,one,,\n")
    assert rows(path)[0]["caption"] == "one"
