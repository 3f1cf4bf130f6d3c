from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from base.errors import Incomplete, StorageError
from base.storage.folder import Folder
from dataset.ledger import Ledger
from dataset.lock import WriteLock
from dataset.parts.part_file import read_part
from dataset.parts.schema import Column
from dataset.parts.tables import StoreOptions, part_names
from dataset.rejects import read_rejects
from dataset.rules import Rule
from pipeline.featurizers.base import ClipFeature
from pipeline.stages.columns import FAILURE, WORK, Failure, read_failures
from pipeline.stages.decode import FRAMES, clip_bytes, decode_rows, read_frames
from pipeline.stages.featurize import FeaturizeStage
from pipeline.stages.probe import probe_rows
from pipeline.stages.write import STATUS, PartWriter
from pipeline.video.decoders import Request, decode_with_pyav
from pipeline.video.geometry import ClipShape
from pipeline.video.probe import content_hash
from pipeline.video.process.worker import DecodeLimits, VideoWorker
from pipeline.video.sampling import Span
from tests.pipeline.datasets import clip
from tests.pipeline.features import Brightness, Moody
from tests.videos import number_of, pictures, write

SHAPE = ClipShape(4, 64, 64)
CPU = torch.device("cpu")
PART = "part-p.parquet"
LEVELS = (40, 80, 120, 160)  # brightness of the clips


@pytest.fixture(scope="module")
def worker() -> Iterator[VideoWorker]:
    worker = VideoWorker(DecodeLimits())
    yield worker
    worker.close()


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve numbered frames, a file that is no video, and four videos of one brightness each."""
    folder = tmp_path_factory.mktemp("videos")
    write(folder / "numbers.mp4", pictures(12, 96, 128))
    (folder / "text.mp4").write_text("no video")
    for level in LEVELS:
        write(folder / f"grey{level}.mp4", np.full((6, 64, 64, 3), level, np.uint8))
    return folder


def work(*rows: dict[str, Any], blanks: int = 0) -> pa.Table:
    """Planned clips, and blank rows that fill up the part."""
    planned = [{"part": PART, "row": number, "source_fps": 25.0} | row for number, row in enumerate(rows)]
    return pa.Table.from_pylist([*planned, *[{}] * blanks], schema=WORK)


def planned(number: int, uri: Path, **more: Any) -> dict[str, Any]:
    frames = 12 if uri.name == "numbers.mp4" else 6
    row = clip(number, uri=str(uri), first=0, source_fps=25.0, source_frames=frames)
    if uri.exists():
        row["content"] = content_hash(uri)
    del row["decoder"]
    return row | more


# -- probe -------------------------------------------------------------------------------------------------------------


def test_a_probe_answers_for_every_source(worker: VideoWorker, videos: Path) -> None:
    uris = [str(videos / name) for name in ("numbers.mp4", "text.mp4", "none.mp4")]
    good, text, none = probe_rows(pa.table({"uri": uris, "stamp": ["1", "2", "3"]}), worker).to_pylist()
    assert {name: good[name] for name in asdict(worker.probe(uris[0]))} == asdict(worker.probe(uris[0]))
    assert (good["uri"], good["stamp"], good["frames"], good["error_class"]) == (uris[0], "1", 12, None)
    assert (text["uri"], text["stamp"], text["frames"], text["error_class"]) == (uris[1], "2", None, "NotAVideo")
    assert (none["error_class"], none["content"]) == ("MissingFile", None)


# -- decode ------------------------------------------------------------------------------------------------------------


def mixed(videos: Path) -> pa.Table:
    """Good ones between those that fail in every way, and two blank rows."""
    return work(
        planned(0, videos / "text.mp4"),
        planned(1, videos / "numbers.mp4", first=2, stride=2),
        planned(2, videos / "none.mp4"),
        planned(3, videos / "numbers.mp4", first=8, stride=1, has_next=False),
        planned(4, videos / "numbers.mp4"),
        planned(5, videos / "numbers.mp4", first=10),
        planned(6, videos / "numbers.mp4", first=1),
        blanks=2,
    )


def test_every_row_comes_out_done_or_failed(worker: VideoWorker, videos: Path) -> None:
    table = mixed(videos)
    result = decode_rows(table, worker, SHAPE, poison=frozenset({"slot04"}))
    assert result.column_names == [*WORK.names, "decoder", FRAMES, *FAILURE.names, "seconds"]
    assert result.select(WORK.names) == table
    assert [(f.stage, f.error_class) if f else None for f in read_failures(result)] == [
        ("decode", "NotAVideo"),
        None,
        ("decode", "MissingFile"),
        None,
        ("featurize", "WorkerDied"),
        ("decode", "FramesMissing"),
        None,
        None,
        None,
    ]
    done = [False, True, False, True, False, False, True, False, False]
    assert result.column(FRAMES).is_valid().to_pylist() == done
    assert result.column("decoder").to_pylist() == ["pyav" if good else None for good in done]
    assert min(result.column("seconds").to_pylist()) >= 0


def test_pixels_are_those_of_the_decoder(worker: VideoWorker, videos: Path) -> None:
    result = decode_rows(mixed(videos), worker, SHAPE)
    good = [row for row in result.to_pylist() if row[FRAMES] is not None]
    assert [row["slot"] for row in good] == ["slot01", "slot03", "slot04", "slot06"]
    pixels = read_frames(result, SHAPE)
    assert pixels.shape == (4, 5, 64, 64, 3)
    for row, found in zip(good, pixels, strict=True):
        count = 4 + row["has_next"]
        direct = np.empty((count, 64, 64, 3), np.uint8)
        span = Span(row["first"], row["stride"])
        decode_with_pyav(Request(Path(row["uri"]), span, count, 25.0, False, 0, 1.0, 64, 64), direct)
        np.testing.assert_array_equal(found[:count], direct)
        assert found.tobytes() == row[FRAMES]
    assert [number_of(frame) for frame in pixels[0]] == [2, 4, 6, 8, 10]


def test_without_a_next_frame_the_last_is_repeated(worker: VideoWorker, videos: Path) -> None:
    (pixels,) = read_frames(decode_rows(mixed(videos).slice(3, 1), worker, SHAPE), SHAPE)
    assert [number_of(frame) for frame in pixels] == [8, 9, 10, 11, 11]
    np.testing.assert_array_equal(pixels[4], pixels[3])


def test_pixels_are_found_however_the_table_was_cut(worker: VideoWorker, videos: Path) -> None:
    result = decode_rows(mixed(videos), worker, SHAPE)
    whole = read_frames(result, SHAPE)
    np.testing.assert_array_equal(read_frames(result.slice(2, 5), SHAPE), whole[1:])
    np.testing.assert_array_equal(read_frames(result.slice(0, 2), SHAPE), whole[:1])
    pieces = pa.concat_tables([result.slice(0, 4), result.slice(4, 1), result.slice(5, 4)])
    np.testing.assert_array_equal(read_frames(pieces, SHAPE), whole)
    assert read_frames(result.slice(7, 2), SHAPE).shape == (0, 5, 64, 64, 3)
    assert np.shares_memory(read_frames(result, SHAPE), whole)


@pytest.mark.parametrize("rows", [slice(0, 1), slice(7, 9)], ids=["failed", "blank"])
def test_a_block_without_pixels(worker: VideoWorker, videos: Path, rows: slice) -> None:
    table = mixed(videos).slice(rows.start, rows.stop - rows.start)
    result = decode_rows(table, worker, SHAPE)
    assert result.num_rows == table.num_rows
    assert read_frames(result, SHAPE).shape == (0, 5, 64, 64, 3)
    assert result.column(FRAMES).null_count == table.num_rows


def test_the_bytes_of_a_clip_are_those_of_its_frames(worker: VideoWorker, videos: Path) -> None:
    result = decode_rows(mixed(videos).slice(1, 1), worker, SHAPE)
    assert len(result.column(FRAMES)[0].as_py()) == clip_bytes(SHAPE)


# -- featurize ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def decoded(worker: VideoWorker, videos: Path) -> pa.Table:
    """Four clips of different brightness, one that could not be decoded among them, and a blank row."""
    rows = [planned(n, videos / f"grey{level}.mp4") for n, level in enumerate(LEVELS)]
    rows.insert(2, planned(9, videos / "text.mp4"))
    return decode_rows(work(*rows, blanks=1), worker, SHAPE)


GOOD = [0, 1, 3, 4]  # the rows of those four


def featurize(table: pa.Table, **features: ClipFeature) -> pa.Table:
    return FeaturizeStage(features, SHAPE, CPU)(table)


def moody(mood: str, level: int = 80) -> Moody:
    """Takes exception to the clip of this brightness."""
    return Moody(mood=mood, low=level - 10, high=level + 10)


def test_features_stand_in_the_place_of_pixels(decoded: pa.Table) -> None:
    result = featurize(decoded, first=Brightness(), second=Brightness(scale=2.0))
    added = ["first/frames", "first/brightness", "second/frames", "second/brightness"]
    assert result.column_names == [*[name for name in decoded.column_names if name != FRAMES], *added]
    assert [f and f.stage for f in read_failures(result)] == [None, None, "decode", None, None, None]
    for name in added:
        assert [i for i, there in enumerate(result.column(name).is_valid().to_pylist()) if there] == GOOD
    brightness = [result.column("first/brightness")[row].as_py() for row in GOOD]
    np.testing.assert_allclose(brightness, LEVELS, atol=4)
    assert [result.column("second/brightness")[row].as_py() for row in GOOD] == [2 * b for b in brightness]
    column = Column.of(result.schema.field("first/frames"))
    assert replace(column, name="frames") == Brightness().columns(SHAPE)[0]
    frames = column.to_numpy(result.column("first/frames"))
    np.testing.assert_allclose(frames[GOOD].mean(axis=1), brightness, rtol=1e-6)
    spent = np.subtract(result.column("seconds").to_pylist(), decoded.column("seconds").to_pylist())
    assert [i for i, seconds in enumerate(spent) if seconds > 0] == GOOD


@pytest.mark.parametrize(
    ("mood", "error", "message"),
    [
        ("raises", "RuntimeError", "this clip is too bright"),
        ("nan", "NotFinite", "frames has infinite or NaN values"),
    ],
)
def test_a_bad_clip_fails_alone(decoded: pa.Table, mood: str, error: str, message: str) -> None:
    plain = featurize(decoded, moody=Brightness())
    result = featurize(decoded, moody=moody(mood))
    failures = read_failures(result)
    assert failures[1] == Failure("featurize:moody", error, message)
    assert [i for i, failure in enumerate(failures) if failure] == [1, 2]
    for name in ("moody/frames", "moody/brightness"):
        found, expected = result.column(name).to_pylist(), plain.column(name).to_pylist()
        assert found[1] is None
        assert [found[row] for row in (0, 2, 3, 4, 5)] == [expected[row] for row in (0, 2, 3, 4, 5)]


@pytest.mark.parametrize(("mood", "error"), [("raises", "RuntimeError"), ("nan", "NotFinite")])
def test_a_bad_clip_alone_in_its_batch_and_a_batch_of_bad_clips(decoded: pa.Table, mood: str, error: str) -> None:
    (failure,) = read_failures(featurize(decoded.slice(1, 1), moody=moody(mood)))
    assert failure is not None
    assert failure.error_class == error
    everywhere = Moody(mood=mood, low=0, high=256)
    result = featurize(decoded, moody=everywhere)
    assert [f and f.error_class for f in read_failures(result)] == [error, error, "NotAVideo", error, error, None]
    assert result.column("moody/frames").null_count == 6


def test_the_first_feature_that_fails_is_named(decoded: pa.Table) -> None:
    features = {"a": moody("nan", 40), "b": moody("raises", 40), "c": moody("nan", 160)}
    result = featurize(decoded, **features)
    told = [f and (f.stage, f.error_class) for f in read_failures(result)]
    assert told[0] == ("featurize:a", "NotFinite")
    assert told[4] == ("featurize:c", "NotFinite")
    assert (told[1], told[3]) == (None, None)


@pytest.mark.parametrize("row", [2, 5], ids=["failed", "blank"])
def test_a_batch_without_pixels_passes_untouched(decoded: pa.Table, row: int) -> None:
    one = decoded.slice(row, 1)
    result = featurize(one, brightness=Brightness())
    assert result.drop_columns(["brightness/frames", "brightness/brightness"]) == one.drop_columns([FRAMES])
    assert result.column("brightness/frames").null_count == 1


# -- write -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def dataset(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "d"))


def writer(dataset: Folder, features: Mapping[str, ClipFeature], **more: Any) -> PartWriter:
    artifacts = {
        name: (feature.columns(SHAPE), {"fingerprint": f"print of {name}"}) for name, feature in features.items()
    }
    given: dict[str, Any] = {"store": StoreOptions(8, 2), "rules": (), "run": "run1", "attempts": {"slot09": 4}} | more
    return PartWriter(dataset, {"fingerprint": "print of clips"}, artifacts, **given)


def compute(dataset: Folder, table: pa.Table, features: Mapping[str, ClipFeature], **more: Any) -> pa.Table:
    return writer(dataset, features, **more)(featurize(table, **features))


def column(dataset: Folder, folder: str, name: str = "clip_id") -> list[Any]:
    (part,) = part_names(dataset / folder)
    return list(read_part(dataset / folder, part)[name].to_pylist())


BRIGHTNESS = {"brightness": Brightness()}


def test_a_part_is_written_and_every_clip_answered_for(dataset: Folder, decoded: pa.Table) -> None:
    status = compute(dataset, decoded, BRIGHTNESS)
    assert status.schema == STATUS
    assert status.column("outcome").to_pylist() == ["written", "written", "failed", "written", "written"]
    assert set(status.column("part").to_pylist()) == {PART}
    assert status.column("error_class").to_pylist() == [None, None, "NotAVideo", None, None]
    for folder in ("clips", "brightness", "rejects"):
        assert part_names(dataset / folder) == [PART]
    ids = [f"clip{n:02}" for n in range(4)]
    assert column(dataset, "clips") == column(dataset, "brightness") == ids
    assert column(dataset, "clips", "decoder") == ["pyav"] * 4
    np.testing.assert_allclose(column(dataset, "brightness", "brightness"), LEVELS, atol=4)
    assert pq.read_schema(dataset.path / "clips" / PART).metadata[b"fingerprint"] == b"print of clips"
    assert pq.read_schema(dataset.path / "brightness" / PART).metadata[b"fingerprint"] == b"print of brightness"


def test_clips_are_written_in_their_rows_however_they_were_decoded(dataset: Folder, decoded: pa.Table) -> None:
    rows = decoded.column("row").to_pylist()
    backwards = decoded.take(pa.array(range(decoded.num_rows - 2, -1, -1)))
    assert backwards.column("row").to_pylist() == rows[-2::-1]
    compute(dataset, backwards, BRIGHTNESS)
    for folder in ("clips", "brightness"):
        assert column(dataset, folder) == [f"clip{n:02}" for n in range(4)]
    np.testing.assert_allclose(column(dataset, "brightness", "brightness"), LEVELS, atol=4)


def test_a_run_that_lost_its_lock_writes_no_part(dataset: Folder, decoded: pa.Table) -> None:
    with WriteLock(dataset) as lock:
        compute(dataset, decoded, BRIGHTNESS, fence=lock.fence)
        before = {path: path.read_bytes() for path in dataset.path.rglob("*.parquet")}
        (dataset / "runs").delete("lock.json")
        with pytest.raises(Incomplete, match=r"lost its lock of the dataset \(it was removed\), so it stops writing"):
            compute(dataset, decoded.slice(0, 2), {"moody": moody("nan")}, fence=lock.fence)
    assert {path: path.read_bytes() for path in dataset.path.rglob("*.parquet")} == before


def test_what_failed_is_told_in_the_rejects(dataset: Folder, decoded: pa.Table) -> None:
    compute(dataset, decoded, {"moody": moody("nan")})
    rows = {row["slot"]: row for row in read_rejects(dataset).to_pylist()}
    assert set(rows) == {"slot01", "slot09"}
    decode, feature = rows["slot09"], rows["slot01"]
    assert (decode["stage"], decode["error_class"], decode["outcome"]) == ("decode", "NotAVideo", "failed")
    assert (decode["attempts"], decode["run"], decode["artifact"], decode["score"]) == (5, "run1", "", None)
    assert decode["uri"].endswith("text.mp4")
    assert decode["caption"] == "caption 9"
    assert (feature["stage"], feature["error_class"], feature["attempts"]) == ("featurize:moody", "NotFinite", 1)
    assert (feature["clip_id"], feature["message"]) == ("clip01", "frames has infinite or NaN values")


def test_a_filtered_clip_keeps_its_score_and_names_the_rule(dataset: Folder, decoded: pa.Table) -> None:
    rules = (Rule("source_height", ">=", 1000), Rule("brightness", ">=", 100), Rule("brightness", "<", 150))
    status = compute(dataset, decoded, BRIGHTNESS, rules=rules)
    assert status.column("outcome").to_pylist() == ["filtered", "filtered", "failed", "written", "filtered"]
    assert column(dataset, "clips") == column(dataset, "brightness") == ["clip02"]
    rows = {row["slot"]: row for row in read_rejects(dataset).to_pylist()}
    for slot, level, rule in [("slot00", 40, ">=100"), ("slot01", 80, ">=100"), ("slot03", 160, "<150")]:
        row = rows[slot]
        assert (row["outcome"], row["stage"], row["error_class"]) == ("filtered", "filter", f"brightness{rule}")
        assert row["score"] == pytest.approx(level, abs=4)
        assert row["message"] == f"brightness is {row['score']:g}"
    assert rows["slot09"]["outcome"] == "failed"
    assert Ledger.read(dataset).rejected["slot03"] == ("filtered", "brightness<150")


def test_a_part_of_which_nothing_is_kept_writes_rejects_alone(dataset: Folder, decoded: pa.Table) -> None:
    compute(dataset, decoded, BRIGHTNESS, rules=(Rule("brightness", ">", 255),))
    assert [path.name for path in dataset.path.iterdir()] == ["rejects"]
    assert len(Ledger.read(dataset).rejected) == 5


@pytest.mark.parametrize(
    ("full", "there"),
    [("clips", ["brightness", "rejects"]), ("rejects", ["brightness"]), ("brightness", [])],
)
def test_the_clips_are_written_last(dataset: Folder, decoded: pa.Table, full: str, there: list[str]) -> None:
    """Whatever cannot be written, nothing after it is, and nothing of the part counts."""
    dataset.path.mkdir()
    (dataset.path / full).write_text("a file in the place of the folder")
    with pytest.raises((StorageError, OSError)):
        compute(dataset, decoded, BRIGHTNESS)
    assert sorted(path.name for path in dataset.path.iterdir() if path.is_dir()) == there
    (dataset.path / full).unlink()
    ledger = Ledger.read(dataset)
    assert (len(ledger.written), ledger.rows, ledger.rejected, ledger.clip_parts) == (0, 0, {}, [])
    compute(dataset, decoded, BRIGHTNESS)
    assert len(Ledger.read(dataset).written) == 4


def test_the_same_part_is_the_same_bytes(dataset: Folder, decoded: pa.Table) -> None:
    compute(dataset, decoded, BRIGHTNESS)
    first = {path: path.read_bytes() for path in dataset.path.rglob(PART) if path.parent.name != "rejects"}
    pieces = pa.concat_tables([decoded.slice(0, 1), decoded.slice(1, 3), decoded.slice(4, 2)])
    compute(dataset, pieces, BRIGHTNESS)
    assert len(first) == 2
    assert {path: path.read_bytes() for path in first} == first


def test_an_artifact_is_added_beside_the_clips_with_nulls_for_what_fails(dataset: Folder, decoded: pa.Table) -> None:
    good = decoded.take(GOOD)
    compute(dataset, good, BRIGHTNESS)
    before = {path: path.read_bytes() for path in dataset.path.rglob(PART)}
    rules = (Rule("brightness", ">", 255),)
    status = compute(dataset, good, {"moody": moody("raises")}, adds_to_clips=True, rules=rules, run="run2")
    assert status.column("outcome").to_pylist() == ["written", "failed", "written", "written"]
    assert {path: path.read_bytes() for path in before} == before
    assert column(dataset, "moody") == ["clip00", None, "clip02", "clip03"]
    assert [row is None for row in column(dataset, "moody", "frames")] == [False, True, False, False]
    (row,) = read_rejects(dataset).to_pylist()
    assert (row["clip_id"], row["artifact"], row["stage"]) == ("clip01", "moody", "featurize:moody")
    assert Ledger.read(dataset).rejected == {}
    assert len(Ledger.read(dataset).written) == 4


def test_an_artifact_of_which_all_clips_fail_is_rows_of_nulls(dataset: Folder, decoded: pa.Table) -> None:
    good = decoded.take(GOOD)
    compute(dataset, good, BRIGHTNESS)
    compute(dataset, good, {"moody": Moody(mood="nan", low=0, high=256)}, adds_to_clips=True)
    assert column(dataset, "moody") == column(dataset, "moody", "frames") == [None] * 4


def test_a_row_of_nulls_is_null_in_every_artifact_of_the_run(dataset: Folder, decoded: pa.Table) -> None:
    """Also in those that were computed before the one that failed."""
    good = decoded.take(GOOD)
    compute(dataset, good, BRIGHTNESS)
    both = {"fine": Brightness(scale=2.0), "moody": moody("nan")}
    compute(dataset, good, both, adds_to_clips=True)
    for folder in both:
        for name in ("clip_id", "frames", "brightness"):
            assert [value is None for value in column(dataset, folder, name)] == [False, True, False, False]


def test_what_fails_beside_the_clips_is_told_before_it_counts(dataset: Folder, decoded: pa.Table) -> None:
    """A kill in between must not leave rows of nulls that no reject explains and no retry finds."""
    good = decoded.take(GOOD)
    compute(dataset, good, BRIGHTNESS)
    (dataset.path / "rejects").write_text("a file in the place of the folder")
    with pytest.raises((StorageError, OSError)):
        compute(dataset, good, {"moody": moody("nan")}, adds_to_clips=True)
    assert part_names(dataset / "moody") == []
