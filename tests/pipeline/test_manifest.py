import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diffusion.errors import InputError
from diffusion.storage import Folder
from pipeline.manifest import ManifestColumns, read_manifest

ROWS = [{"video": "a.mp4", "caption": "one"}, {"video": "sub/b.mp4", "caption": "two, with a comma"}]


def rows(source: Path | str, **columns: str) -> list[dict[str, object]]:
    return [row for batch in read_manifest(str(source), ManifestColumns(**columns)) for row in batch.to_pylist()]


def uris(found: list[dict[str, object]], root: Path) -> list[str]:
    return [str(Path(str(row["uri"])).relative_to(root)) for row in found]


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
        ("m.xlsx", b"x", "a folder of videos, .csv, .tsv"),
        ("m.csv", b"clip_name,words\nx,y\n", "none of its columns \\(clip_name, words\\) is known to hold the video"),
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
