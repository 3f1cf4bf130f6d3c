import json
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from base.errors import InputError
from base.storage.folder import Folder
from pipeline.manifest import ManifestColumns, read_manifest
from pipeline.manifest.members import container, parse_member
from pipeline.manifest.stamps import MISSING, stamp_all
from pipeline.video.errors import VideoError
from pipeline.video.geometry import ClipShape
from pipeline.video.process.worker import DecodeLimits, VideoWorker
from pipeline.video.sampling import Span
from tests.pipeline.manifest.manifests import rows, write_tar
from tests.videos import pictures, write


def bytes_of(uri: str) -> bytes:
    member = parse_member(uri)
    with Path(container(uri)).open("rb") as file:
        file.seek(member.offset)
        return file.read(member.size)


SAMPLES = [
    ("0001.mp4", b"video one"),
    ("0001.txt", b"a cat\n"),
    ("0001.json", json.dumps({"caption": "not this one", "duration": 3}).encode()),
    ("sub/0002.json", json.dumps({"caption": "a dog", "start": 99}).encode()),
    ("sub/0002.webm", b"video two"),
    ("0003.mp4", b"video three"),
    ("0004.jpg", b"no video"),
    ("0004.txt", b"a picture"),
    ("0005.MP4", b"video five"),
    ("0005.txt", b"\xff\xfe\x00"),
]


def test_a_webdataset_shard(tmp_path: Path) -> None:
    found = rows(write_tar(tmp_path / "00000.tar", SAMPLES))
    assert [bytes_of(str(row["uri"])) for row in found] == [b"video one", b"video two", b"video three", b"video five"]
    assert [row["caption"] for row in found] == ["a cat", "a dog", None, None]
    assert [row["start_s"] for row in found] == [None] * 4  # times of a downloader count where they are named only
    assert str(found[3]["fault"]).startswith("CaptionNotText")
    spans = rows(tmp_path / "00000.tar", start="start", caption="caption")
    assert (spans[1]["start_s"], spans[0]["caption"]) == (99.0, "not this one")


@pytest.mark.parametrize(("name", "kept"), [("_a", 1), ("__b", 1), ("__c__d", 1), ("-e", 1), (".f", 0), ("__key__", 0)])
def test_of_members_only_hidden_ones_and_metadata_are_left_out(tmp_path: Path, name: str, kept: int) -> None:
    members = [(f"{name}.mp4", b"x"), (f"{name}.txt", b"words"), ("__url__", b"x")]
    found = rows(write_tar(tmp_path / "s.tar", members if name != "__key__" else [(name, b"x")]))
    assert [row["caption"] for row in found] == ["words"] * kept


SHOTS = ["shot.1.mp4", "shot.1.txt", "shot.2.mp4", "shot.2.txt", "shot.3.mp4", "shot.3.txt"]


@pytest.mark.parametrize(
    ("names", "captions"),
    [
        (SHOTS, ["shot.1.txt", "shot.2.txt", "shot.3.txt"]),
        (sorted(SHOTS, key=lambda name: name[-3:]), ["shot.1.txt", "shot.2.txt", "shot.3.txt"]),
        (["shot.1.mp4", "shot.1.txt", "shot.2.mp4"], ["shot.1.txt", None]),
        (["a.left.mp4", "a.right.mp4", "a.txt"], ["a.txt", "a.txt"]),
        (["a.left.mp4", "a.left.txt", "a.right.mp4", "a.txt"], ["a.left.txt", "a.txt"]),
        (["a.mp4", "a.caption.txt"], ["a.caption.txt"]),
        (["a.video.mp4", "a.caption.txt"], ["a.caption.txt"]),
        (["a.mp4", "a.txt", "a.de.txt"], ["a.txt"]),
        (["a.mp4", "a.mkv", "a.txt"], ["a.txt", "a.txt"]),
        (["d.v1/a.mp4", "d.v1/a.txt", "d.v1/b.mp4", "d.v1/b.txt"], ["d.v1/a.txt", "d.v1/b.txt"]),
        (["a.mp4", "a.txt", "b.mp4", "a.mp4", "a.txt"], ["a.txt", None, "a.txt"]),
        (["a.mp4", "b.mp4", "a.txt", "b.txt"], [None, None]),
    ],
)
def test_a_caption_is_that_of_the_video_with_its_name(
    tmp_path: Path, names: list[str], captions: list[str | None]
) -> None:
    """In each of these the caption says which file it comes from."""
    found = rows(write_tar(tmp_path / "s.tar", [(name, name.encode()) for name in names]))
    assert [bytes_of(str(row["uri"])).decode() for row in found] == [name for name in names if name[-3:] != "txt"]
    assert [(row["caption"], row["fault"]) for row in found] == [(caption, None) for caption in captions]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["a.mp4", "a.txt", "a.mp4", "a.txt"], "the sample holds a.mp4 2 times: give each video its own name"),
        (["a.mp4", "a.txt", "a.txt"], "the sample holds a.txt, a.txt, and one .txt is expected for a.mp4"),
        (
            ["a.mp4", "a.de.txt", "a.en.txt"],
            "unclear whether a.de.txt belongs to a.mp4: rename it after the video, a.txt",
        ),
        (
            ["a.1.mp4", "a.2.mp4", "a.3.txt"],
            "unclear whether a.3.txt belongs to a.1.mp4: rename it after the video, a.1.txt",
        ),
        (["a.1.mp4", "a.2.txt"], "unclear whether a.2.txt belongs to a.1.mp4"),
        (["a.1.mp4", "a.1.json", "a.2.mp4", "a.x.json"], "unclear whether a.x.json belongs to a.2.mp4"),
    ],
)
def test_a_caption_that_could_be_anothers_is_a_fault(tmp_path: Path, names: list[str], said: str) -> None:
    found = rows(write_tar(tmp_path / "s.tar", [(name, b"{}") for name in names]))
    assert len(found) == sum(name.endswith(".mp4") for name in names)
    assert any(said in str(row["fault"]) for row in found)
    assert all(row["caption"] is None for row in found)
    assert all(str(row["fault"]).startswith("BadRow: ") for row in found if row["fault"])


@pytest.mark.parametrize("version", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_long_and_odd_names_in_every_tar_format(tmp_path: Path, version: int) -> None:
    names = ["a" * 60 + "/" + "b" * 90 + ".mp4", "with #offset=1&size=2&member=x.mp4", "./dots/../c.mp4"]
    if version != tarfile.USTAR_FORMAT:
        names += ["über/" + "c" * 200 + ".mp4"]
    found = rows(write_tar(tmp_path / "s.tar", [(name, name.encode()) for name in names], format=version))
    assert [bytes_of(str(row["uri"])).decode() for row in found] == names
    assert [parse_member(str(row["uri"])).name for row in found] == names


def test_folders_and_patterns_of_shards(tmp_path: Path) -> None:
    for number in range(3):
        write_tar(tmp_path / f"{number:05}.tar", [(f"{number}.mp4", b"x"), (f"{number}.txt", b"words")])
        pq.write_table(pa.table({"key": ["a"], "status": ["success"]}), tmp_path / f"{number:05}.parquet")
        (tmp_path / f"{number:05}_stats.json").write_text("{}")
    everything = rows(tmp_path)
    assert [Path(container(str(row["uri"]))).name for row in everything] == ["00000.tar", "00001.tar", "00002.tar"]
    assert rows(tmp_path / "*.tar") == everything
    assert rows(tmp_path / "{00000..00002}.tar") == everything
    assert rows(tmp_path / "0000[12].tar*") == everything[1:]
    for pattern, said in (
        ("x*.tar", "no file matches it"),
        ("{00000..00003}.tar", "00003.tar"),
        ("0*", "must be all .tar"),
    ):
        with pytest.raises(InputError, match=said):
            rows(tmp_path / pattern)


def test_shards_on_s3(bucket: str, tmp_path: Path) -> None:
    write_tar(tmp_path / "0.tar", [*SAMPLES, ("9.mp4", bytes(range(256)) * 1000), ("9.txt", b"large")])
    Folder(f"{bucket}/set").put(tmp_path / "0.tar")
    found = rows(f"{bucket}/set")
    assert [row["caption"] for row in found] == ["a cat", "a dog", None, None, "large"]
    with VideoFiles() as files:
        assert files.bring(str(found[4]["uri"])) == bytes(range(256)) * 1000


class VideoFiles:
    def __enter__(self) -> "VideoFiles":
        from pipeline.video.process.member_file import MemberFile

        self.file = MemberFile()
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def bring(self, uri: str) -> bytes:
        member = parse_member(uri)
        assert member is not None
        return self.file.bring(member).read_bytes()


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


@pytest.mark.parametrize(
    ("damage", "kept", "said"),
    [
        (lambda data: data[:1700], 1, "ends within b.mp4"),
        (lambda data: data[:1400], 1, "header at byte 1024"),
        (lambda data: data[:1024], 1, "no end marker"),
        (lambda data: data[:1030], 1, "header at byte 1024"),
        (lambda data: data[:1024] + b"x" * 512 + data[1536:], 1, "header at byte 1024"),
        (lambda data: data + data, 2, "after its end marker"),
        (lambda _: b"", 0, "empty file"),
        (lambda _: b"no tar" * 1000, 0, "header"),
        (lambda _: b"\x1f\x8b" + b"no tar" * 1000, 0, "header"),
    ],
)
def test_a_damaged_shard_is_a_row_that_fails(tmp_path: Path, damage: object, kept: int, said: str) -> None:
    path = write_tar(tmp_path / "s.tar", [("a.mp4", b"one"), ("b.mp4", b"two" * 200)])
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    *good, bad = rows(path)
    assert [row["fault"] for row in good] == [None] * kept
    assert str(bad["fault"]).startswith("BadShard: ")
    assert said in str(bad["fault"])


def test_a_shard_that_changes_is_indexed_again(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "s.tar", [("a.mp4", b"one")])
    first = stamp_all([str(row["uri"]) for row in rows(path)])
    write_tar(path, [("b.mp4", b"two"), ("c.mp4", b"three")])
    found = rows(path)
    assert [bytes_of(str(row["uri"])) for row in found] == [b"two", b"three"]
    assert stamp_all([str(found[0]["uri"])]) != first
    path.unlink()
    assert stamp_all([str(found[0]["uri"])]) == [MISSING]


VIDEOS = [b"one", b"two" * 5000, None, b"four", b"five"]


@pytest.mark.parametrize("layout", ["bytes", "struct", "large"])
def test_videos_in_parquet(tmp_path: Path, layout: str) -> None:
    captions = list("abcde")
    if layout == "struct":
        column = pa.array([{"bytes": value, "path": f"{i}.mp4"} for i, value in enumerate(VIDEOS)])
    else:
        column = pa.array(VIDEOS, pa.binary() if layout == "bytes" else pa.large_binary())
    path = tmp_path / "train-00000-of-00001.parquet"
    pq.write_table(pa.table({"video": column, "caption": captions}), path, row_group_size=2)
    found = rows(path)
    assert [row["caption"] for row in found] == (captions if layout == "struct" else ["a", "b", None, "d", "e"])
    with VideoFiles() as files:
        order = [0, 1, 3, 4, 1, 0]  # forwards, and back again
        assert [files.bring(str(found[i]["uri"])) for i in order] == [VIDEOS[i] for i in order]
    if layout == "struct":
        assert found[2]["uri"] == str(tmp_path / "2.mp4")
    else:
        assert str(found[2]["fault"]).startswith("VideoMissing")


def test_a_data_set_of_hugging_face(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    import datasets

    values = {"video": [{"bytes": b"one", "path": None}, {"bytes": None, "path": "/videos/b.mp4"}], "text": ["a", "b"]}
    features = datasets.Features({"video": {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}})
    features["text"] = datasets.Value("string")
    datasets.Dataset.from_dict(values, features).to_parquet(str(tmp_path / "data" / "train-0.parquet"))
    found = rows(tmp_path / "data")
    assert [row["caption"] for row in found] == ["a", "b"]
    assert found[1]["uri"] == "/videos/b.mp4"
    with VideoFiles() as files:
        assert files.bring(str(found[0]["uri"])) == b"one"


def test_a_folder_of_parquet_with_different_columns(tmp_path: Path) -> None:
    pq.write_table(pa.table({"video": ["a.mp4"]}), tmp_path / "0.parquet")
    pq.write_table(pa.table({"video": [b"x"], "caption": ["words"]}), tmp_path / "1.parquet")
    found = rows(tmp_path)
    assert found[0]["uri"] == str(tmp_path / "a.mp4")
    assert [row["caption"] for row in found] == [None, "words"]
    assert parse_member(str(found[1]["uri"])) is not None


def test_members_that_are_not_there(tmp_path: Path) -> None:
    tar, parquet = write_tar(tmp_path / "s.tar", [("a.mp4", b"x")]), tmp_path / "p.parquet"
    pq.write_table(pa.table({"video": [b"x", None]}), parquet)
    with VideoFiles() as files:
        for uri, said in (
            (f"{tar}#offset=512&size=99999999&member=a.mp4", "the shard ends inside"),
            (f"{tmp_path}/no.tar#offset=512&size=9&member=a.mp4", "there is no file"),
            (f"{parquet}#row_group=3&row=0&column=video", "no such row"),
            (f"{parquet}#row_group=0&row=7&column=video", "no such row"),
            (f"{parquet}#row_group=0&row=1&column=video", "holds no bytes"),
        ):
            with pytest.raises(VideoError, match=said):
                files.bring(uri)


def test_a_member_decodes_as_its_file_does(tmp_path: Path) -> None:
    videos = [tmp_path / f"{number}.mp4" for number in range(3)]
    for number, path in enumerate(videos):
        write(path, pictures(8 + number, 64, 64))
    write_tar(tmp_path / "s.tar", [(path.name, path.read_bytes()) for path in videos])
    pq.write_table(pa.table({"video": [path.read_bytes() for path in videos]}), tmp_path / "p.parquet")
    uris = [str(row["uri"]) for name in ("s.tar", "p.parquet") for row in rows(tmp_path / name)]
    worker = VideoWorker(DecodeLimits())
    shape = ClipShape(4, 64, 64)
    try:
        for uri, path in zip(uris, videos * 2, strict=True):
            facts = worker.probe(uri)
            assert facts == worker.probe(str(path))
            wanted = {
                "count": shape.frames,
                "fps": facts.fps,
                "variable_rate": False,
                "turns": 0,
                "pixel_aspect": 1.0,
                "height": shape.height,
                "width": shape.width,
            }
            _, ours = worker.decode(uri, Span(1, 2), wanted)
            ours = ours.copy()
            _, theirs = worker.decode(str(path), Span(1, 2), wanted)
            assert (ours == theirs).all()
    finally:
        worker.close()


def test_reading_is_lazy(tmp_path: Path) -> None:
    write_tar(tmp_path / "0.tar", [("a.mp4", b"x")])
    assert next(read_manifest(str(tmp_path), ManifestColumns())).num_rows == 1
