import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from base.errors import InputError, MotifError
from base.storage.folder import Folder
from tests.pipeline.manifest.manifests import rows, uris, write_tar

ROWS = [{"video": "a.mp4", "caption": "one"}, {"video": "sub/b.mp4", "caption": "two, with a comma"}]


@pytest.fixture(params=["csv", "tsv", "jsonl", "parquet"])
def manifest(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"m.{request.param}"
    if request.param == "jsonl":
        path.write_text("\n".join(json.dumps(row) for row in ROWS) + "\n\n")
    elif request.param == "parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    else:
        mark = "\t" if request.param == "tsv" else ","
        quote = '"' if mark == "," else ""
        lines = [mark.join(["video", "caption"])]
        lines += [f"{row['video']}{mark}{quote}{row['caption']}{quote}" for row in ROWS]
        path.write_text("\n".join(lines))
    return path


def test_every_format(manifest: Path, tmp_path: Path) -> None:
    found = rows(manifest)
    assert uris(found, tmp_path) == ["a.mp4", "sub/b.mp4"]
    assert [row["caption"] for row in found] == ["one", "two, with a comma"]
    assert [row["fault"] for row in found] == [None, None]


def test_a_folder_with_captions_beside(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("b.mp4", "sub/a.webm", "c.MKV", "notes.md"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "b.txt").write_text(" a cat \n")
    (tmp_path / "c.txt").write_bytes(b"\xff\xfe\x00")
    found = rows(tmp_path)
    assert uris(found, tmp_path) == ["b.mp4", "c.MKV", "sub/a.webm"]
    assert [row["caption"] for row in found] == ["a cat", None, None]
    assert str(found[1]["fault"]).startswith("CaptionNotText")


def test_names_of_videos_may_begin_with_anything_but_a_dot(tmp_path: Path) -> None:
    """Ids of YouTube begin with _ and - often."""
    stems = ["-def", "__g__x", "__h", "_abc", "plain"]
    for stem in stems:
        (tmp_path / f"{stem}.mp4").write_bytes(b"x")
        (tmp_path / f"{stem}.txt").write_text(stem)
    (tmp_path / ".hidden.mp4").write_bytes(b"x")
    (tmp_path / "_SUCCESS").write_bytes(b"")
    found = rows(tmp_path)
    assert [(Path(str(row["uri"])).name, row["caption"]) for row in found] == [(f"{stem}.mp4", stem) for stem in stems]


def test_shards_may_begin_with_an_underscore_and_tables_without_rows_do(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    write_tar(tmp_path / "t" / "_0.tar", [("_a.mp4", b"x"), ("_a.txt", b"words")])
    assert [row["caption"] for row in rows(tmp_path / "t")] == ["words"]
    (tmp_path / "p").mkdir()
    pq.write_table(pa.table({"video": ["a.mp4"], "caption": ["words"]}), tmp_path / "p" / "part-0.parquet")
    (tmp_path / "p" / "_metadata.parquet").write_bytes(b"no rows")
    assert [row["caption"] for row in rows(tmp_path / "p")] == ["words"]


def test_on_s3(bucket: str) -> None:
    Folder(f"{bucket}/set").write("m.csv", b"video,caption\na.mp4,one\ns3://other/b.mp4,two\n")
    Folder(f"{bucket}/videos").write("x.mp4", b"x")
    Folder(f"{bucket}/videos").write("x.txt", b"words")
    assert [row["uri"] for row in rows(f"{bucket}/set/m.csv")] == [f"{bucket}/set/a.mp4", "s3://other/b.mp4"]
    assert [(row["uri"], row["caption"]) for row in rows(f"{bucket}/videos")] == [(f"{bucket}/videos/x.mp4", "words")]


def test_a_webvid_csv(tmp_path: Path) -> None:
    path = tmp_path / "results_10M_train.csv"
    names = "videoid,contentUrl,duration,page_dir,name"
    path.write_text(f"{names}\n21179416,https://ak.picdn.net/x.mp4,PT00H00M11S,006001_006050,Aerial shot\n")
    found = rows(path, root=str(tmp_path / "videos"))
    assert uris(found, tmp_path) == ["videos/006001_006050/21179416.mp4"]
    assert found[0]["caption"] == "Aerial shot"


def test_columns_by_option_and_spans(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("id,dir,words,from,to\n7,d,hello,1.5,4\n8,d,there,,\n9,d,back,4,2\n9,d,no,x,2\n")
    found = rows(path, video="{dir}/{id}.mp4", caption="words", start="from", end="to")
    assert uris(found, tmp_path)[0] == "d/7.mp4"
    assert [(row["start_s"], row["end_s"]) for row in found][:2] == [(1.5, 4.0), (None, None)]
    assert "BadSpan" in str(found[2]["fault"])
    assert "BadRow" in str(found[3]["fault"])


def test_rows_that_cannot_be_used_are_kept_with_their_fault(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text('video,caption\na.mp4,one,too many\n,no video\nhttp://x/y.mp4,web\nb.mp4,"two\nlines"\n')
    faults = [str(row["fault"]).split(":")[0] for row in rows(path)]
    assert faults == ["BadRow", "VideoMissing", "NotFetched", "None"]
    lines = tmp_path / "m.jsonl"
    lines.write_text('{"video": "a.mp4", "caption": "x"}\nnot json\n[1]\n{"caption": "y"}\n')
    assert [str(row["fault"]).split(":")[0] for row in rows(lines)] == ["None", "BadRow", "BadRow", "VideoMissing"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("none.csv", None, "there is no such file or folder"),
        ("m.xlsx", b"x", "It looks like a spreadsheet: save it as CSV"),
        (
            "m.csv",
            b"clip_name,words\nx,y\n",
            "none of its columns \\(clip_name, words\\) has a usual name for the video",
        ),
        ("m.csv", b"", "none of its columns"),
        ("m.parquet", b"not parquet", "is not a Parquet file"),
        ("m.csv", b"video,caption\na.mp4,caf\xe9\n", "is not UTF-8"),
    ],
)
def test_manifests_that_cannot_be_read(tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=said):
        rows(tmp_path / name)


def test_an_option_that_names_no_column(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("video,words\na,b\n")
    with pytest.raises(InputError, match="no column 'text' for --columns.caption. Columns: video, words"):
        rows(tmp_path / "m.csv", caption="text")


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no videos"):
        rows(tmp_path)


@pytest.mark.parametrize("packing", ["gz", "bz2", "zst"])
@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "json"])
def test_packed_text(tmp_path: Path, kind: str, packing: str) -> None:
    mark = "\t" if kind == "tsv" else ","
    text = {
        "jsonl": '{"video": "a.mp4", "caption": "one"}\n',
        "json": '[{"video": "a.mp4", "caption": "one"}]',
    }.get(kind, f"video{mark}caption\na.mp4{mark}one\n")
    path = tmp_path / f"m.{kind}.{packing}"
    with pa.output_stream(str(path)) as stream:  # packs as the name says
        stream.write(text.encode())
    assert path.read_bytes() != text.encode()
    found = rows(path)
    assert uris(found, tmp_path) == ["a.mp4"]
    assert found[0]["caption"] == "one"


@pytest.mark.parametrize("packing", ["gz", "bz2", "zst"])
def test_packed_text_that_was_cut_off(tmp_path: Path, packing: str) -> None:
    path = tmp_path / f"m.csv.{packing}"
    text = "video,caption\n" + "".join(f"{number}.mp4,{number * 7919}\n" for number in range(50_000))
    with pa.output_stream(str(path)) as stream:
        stream.write(text.encode())
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="is damaged, or not packed as its name says"):
        rows(path)


def test_json_captions_beside_videos(tmp_path: Path) -> None:
    for name, facts in {"a": '{"caption": " a cat "}', "b": '{"cap": ["a dog", "another"]}', "c": "[1]"}.items():
        (tmp_path / f"{name}.mp4").write_bytes(b"x")
        (tmp_path / f"{name}.json").write_text(facts)
    found = rows(tmp_path)
    assert [row["caption"] for row in found] == ["a cat", "a dog", None]
    assert "not a JSON object" in str(found[2]["fault"])
    assert rows(tmp_path, caption="words")[0]["caption"] is None


def test_a_folder_with_its_captions_in_metadata(tmp_path: Path) -> None:
    """The `videofolder` layout of Hugging Face."""
    (tmp_path / "a.mp4").write_bytes(b"x")
    (tmp_path / "metadata.csv").write_text("file_name,text\na.mp4,a cat\n")
    found = rows(tmp_path)
    assert uris(found, tmp_path) == ["a.mp4"]
    assert found[0]["caption"] == "a cat"


@pytest.mark.parametrize("wrapped", ["[%s]", '{"info": "x", "videos": [%s]}', "%s"])
def test_json(tmp_path: Path, wrapped: str) -> None:
    row = '{"path": "a.mp4", "cap": ["a cat", "another"]}'
    (tmp_path / "m.json").write_text(wrapped % (row if wrapped != "%s" else f"{row}\n{row}"))
    found = rows(tmp_path / "m.json")
    assert {row["caption"] for row in found} == {"a cat"}


def test_segments_as_panda_70m_and_koala_36m_write_them(tmp_path: Path) -> None:
    path = tmp_path / "panda.csv"
    path.write_text(
        "videoID,url,timestamp,caption,matching_score\n"
        "abc,https://www.youtube.com/watch?v=abc,\"[['0:00:17.683', '0:00:23.022'], ['0:01:00.5', '0:01:04']]\","
        '"[\'A cat jumps, slowly.\', \'It ""sleeps"".\']","[0.4, 0.5]"\n'
        "def,https://www.youtube.com/watch?v=def,\"[['0:00:01.0', '0:00:02.0']]\",\"['A dog.']\",\"[0.4]\"\n"
        "ghi,https://www.youtube.com/watch?v=ghi,\"[['0:00:01.0', '0:00:02.0']]\",\"['A', 'B']\",\"[0.4]\"\n"
    )
    found = rows(path, root=str(tmp_path / "videos"))
    assert uris(found[:3], tmp_path) == ["videos/abc.mp4", "videos/abc.mp4", "videos/def.mp4"]
    assert [(row["start_s"], row["end_s"]) for row in found[:3]] == [(17.683, 23.022), (60.5, 64.0), (1.0, 2.0)]
    assert [row["caption"] for row in found[:3]] == ["A cat jumps, slowly.", 'It "sleeps".', "A dog."]
    assert found[3]["fault"] == "BadRow: 2 captions for 1 segments"
    koala = tmp_path / "koala.csv"
    koala.write_text("videoID,timestamp,caption\nabc,\"['0:00:17.683', '0:00:23.022']\",A [blue] cat\n")
    assert [(row["start_s"], row["end_s"], row["caption"]) for row in rows(koala)] == [(17.683, 23.022, "A [blue] cat")]


def test_segments_in_other_layouts(tmp_path: Path) -> None:
    lines = tmp_path / "m.jsonl"
    lines.write_text(
        '{"video": "a.mp4", "segments": [[0, 2], [2, 4.5]], "caption": ["one", "two"]}\n'
        '{"video": "b.mp4", "segments": null, "caption": "whole"}\n'
        '{"video": "c.mp4", "segments": [], "caption": "none"}\n'
        '{"video": "d.mp4", "segments": "x", "caption": "none"}\n'
    )
    found = rows(lines)
    assert [(row["start_s"], row["end_s"], row["caption"]) for row in found[:3]] == [
        (0, 2, "one"),
        (2, 4.5, "two"),
        (None, None, "whole"),
    ]
    assert [str(row["fault"]).split(":")[0] for row in found[3:]] == ["BadRow", "BadRow"]
    clocks = tmp_path / "m.csv"
    clocks.write_text("video,start,end\na.mp4,0:00:01.5,0:00:04\nb.mp4,,0:00\n")
    found = rows(clocks)
    assert (found[0]["start_s"], found[0]["end_s"]) == (1.5, 4.0)
    assert "BadSpan" in str(found[1]["fault"])
    table = tmp_path / "m.parquet"
    pq.write_table(pa.table({"video": ["a.mp4"], "timestamps": [[[0.0, 1.0], [1.0, 2.0]]], "caption": ["x"]}), table)
    assert [(row["end_s"], row["caption"]) for row in rows(table)] == [(1.0, "x"), (2.0, "x")]


def test_a_time_stamp_that_holds_no_segments_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("video,caption,timestamp\na.mp4,one,2021-05-04T03:02:01\n")
    assert [(row["start_s"], row["fault"]) for row in rows(tmp_path / "m.csv")] == [(None, None)]
    assert "BadRow" in str(rows(tmp_path / "m.csv", segments="timestamp")[0]["fault"])


def test_json_lines_whose_first_row_lacks_a_field(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text('{"video": "a.mp4"}\n{"video": "b.mp4", "caption": "two"}\n')
    assert [row["caption"] for row in rows(path)] == [None, "two"]
    path.write_text('{"video": "a.mp4"}\n' * 10_001 + '{"video": "b.mp4", "caption": "two"}\n')
    with pytest.raises(InputError, match="row 10002 has the field 'caption', which none of the first 10,000 rows has"):
        rows(path)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["a.mp4", "0.tar"], "1 videos and 1 tar shards. Give one of the two"),
        (["0.tar.gz"], "compressed tar files"),
        (["a/0001.jpg", "a/0002.jpg"], "frames as pictures"),
        (["dataset_info.json", "data-00000-of-00001.arrow"], "Dataset.to_parquet"),
        (["index.json", "shard.00000.mds"], "MosaicML"),
        (["train.csv", "readme.md"], "It holds train.csv: give that file"),
        (["videos.zip"], "archives"),
        ([".hidden.mp4", "_SUCCESS", "_metadata.parquet"], "holds no videos, tar shards"),
    ],
)
def test_a_folder_that_is_no_manifest_says_what_it_looks_like(tmp_path: Path, files: list[str], said: str) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(InputError, match=said):
        rows(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("m.tar.gz", b"x", "compressed tar"),
        ("m.txt", b"a.mp4\n", "add 'video' as its first line"),
        ("m.csv", b"a.mp4,a cat\nb.mp4,a dog\n", "Its first line looks like a row"),
        ("m.csv", b"video;caption\na.mp4;x\n", "separated by ';'"),
        ("m.json", b'{"videos": [{"id": 1}], "sentences": [{"id": 1}]}', "an object with the fields videos, sentences"),
        ("m.json", b"[1, 2]", "it must be a list of objects"),
        ("m.json", b"{", "is not readable JSON"),
        ("m.json", b"", "is not readable JSON"),
        ("m.jsonl", b"", "none of its columns"),
        ("m.csv.gz", b"not packed", "m.csv.gz"),
        ("m.parquet.gz", b"x", "expected is"),
    ],
)
def test_a_file_that_is_no_manifest_says_what_it_looks_like(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MotifError, match=said):
        rows(tmp_path / name)


@pytest.mark.parametrize("template", ["{", "}", "{}", "{0}", "{video!x}", "{video.a}", "{video[0]}", "a{b"])
def test_a_template_that_is_none(tmp_path: Path, template: str) -> None:
    (tmp_path / "m.csv").write_text("video,caption\na.mp4,x\n")
    with pytest.raises(InputError, match=r"--columns.video( '.*'|\. Columns)"):
        rows(tmp_path / "m.csv", video=template)
