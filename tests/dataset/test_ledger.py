from pathlib import Path

import pyarrow as pa
import pytest

from base.keys import hashes_of_texts, keys_of
from base.storage.folder import Folder
from dataset.identity import text_id
from dataset.ledger import PLANNING_FACTS, Ledger, Sources, committed_reject_parts, next_source_order
from dataset.parts.tables import SOURCES, part_names
from tests.pipeline.datasets import clip, reject, source, write_clips, write_rejects, write_sources


@pytest.fixture
def dataset(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "d"))


def test_a_folder_without_parts_is_an_empty_ledger(dataset: Folder) -> None:
    ledger = Ledger.read(dataset)
    assert (len(ledger.written), len(ledger.captions), len(ledger.clip_ids), ledger.clip_parts, ledger.rows) == (
        0,
        0,
        0,
        [],
        0,
    )
    assert (ledger.rejected, ledger.attempts) == ({}, {})


def has_caption(ledger: Ledger, slot: str, caption: str) -> bool:
    (at,) = ledger.written.find(keys_of([slot]))
    assert at >= 0
    return bool(ledger.captions[at] == hashes_of_texts([caption])[0])


def test_what_is_written_is_known_by_slot_and_by_clip(dataset: Folder) -> None:
    write_clips(dataset, "part-b.parquet", [clip(2)])
    write_clips(dataset, "part-a.parquet", [clip(0), clip(1, caption="other", text_id=text_id("other"))])
    ledger = Ledger.read(dataset)
    for slot, caption in (("slot00", "caption 0"), ("slot01", "other"), ("slot02", "caption 2")):
        assert has_caption(ledger, slot, caption)
        assert not has_caption(ledger, slot, "")
    assert len(ledger.written) == len(ledger.clip_ids) == 3
    assert all(clip_id in ledger.clip_ids for clip_id in ("clip00", "clip01", "clip02"))
    assert "slot03" not in ledger.written
    assert ledger.clip_parts == ["part-a.parquet", "part-b.parquet"]
    assert (ledger.rows, ledger.rejected, ledger.attempts) == (3, {}, {})


def test_a_clip_that_is_there_twice_makes_more_rows_than_ids(dataset: Folder) -> None:
    write_clips(dataset, "part-a.parquet", [clip(0), clip(1)])
    write_clips(dataset, "part-b.parquet", [clip(1), clip(2)])
    ledger = Ledger.read(dataset)
    assert (ledger.rows, len(ledger.clip_ids), len(ledger.written)) == (4, 3, 3)


def test_rejects_keep_outcome_class_and_attempts(dataset: Folder) -> None:
    rows = [
        reject("slot07", attempts=3),
        reject("slot08", outcome="filtered", stage="filter", error_class="brightness>=9"),
    ]
    write_rejects(dataset, "part-a.parquet", rows)
    ledger = Ledger.read(dataset)
    assert ledger.rejected == {"slot07": ("failed", "Timeout"), "slot08": ("filtered", "brightness>=9")}
    assert ledger.attempts == {"slot07": 3, "slot08": 1}


def test_a_slot_that_is_written_is_not_rejected_any_more(dataset: Folder) -> None:
    write_clips(dataset, "part-a.parquet", [clip(0)])
    write_rejects(dataset, "part-r.parquet", [reject("slot00"), reject("slot01")])
    ledger = Ledger.read(dataset)
    assert set(ledger.rejected) == set(ledger.attempts) == {"slot01"}


def test_a_clip_that_lacks_an_artifact_is_no_rejected_slot(dataset: Folder) -> None:
    write_rejects(dataset, "part-a.parquet", [reject("slot00", artifact="heatmaps"), reject("slot01")])
    assert set(Ledger.read(dataset).rejected) == {"slot01"}


def test_rejects_count_once_the_clips_beside_them_are_there(dataset: Folder) -> None:
    write_rejects(dataset, "part-a.parquet", [reject("slot00")], clips_part="part-a.parquet")
    write_rejects(dataset, "part-b.parquet", [reject("slot01")], clips_part="part-b.parquet")
    write_rejects(dataset, "part-p.parquet", [reject("slot02", stage="manifest")])
    names = part_names(dataset / "rejects")
    assert committed_reject_parts(dataset, set(), names) == ["part-p.parquet"]
    assert committed_reject_parts(dataset, {"part-b.parquet"}, names) == ["part-b.parquet", "part-p.parquet"]
    assert set(Ledger.read(dataset).rejected) == {"slot02"}
    write_clips(dataset, "part-b.parquet", [clip(5)])
    assert set(Ledger.read(dataset).rejected) == {"slot01", "slot02"}


@pytest.mark.parametrize("names", [("part-a.parquet", "part-b.parquet"), ("part-b.parquet", "part-a.parquet")])
def test_of_two_verdicts_on_a_slot_the_later_run_counts(dataset: Folder, names: tuple[str, str]) -> None:
    """Two stand side by side when a run that tried a clip again is killed before it tidies up."""
    write_rejects(dataset, names[0], [reject("slot00", attempts=1)])
    late = reject("slot00", outcome="filtered", stage="filter", error_class="score>=1", attempts=2, run="run2")
    write_rejects(dataset, names[1], [late])
    ledger = Ledger.read(dataset)
    assert ledger.rejected == {"slot00": ("filtered", "score>=1")}
    assert ledger.attempts == {"slot00": 2}


def test_of_a_source_the_latest_state_counts(dataset: Folder) -> None:
    """By order, a number, and not by the name of the part."""
    write_sources(dataset, "part-a.parquet", [source("s3://b/x.mp4", frames=10)], order=10)
    write_sources(dataset, "part-b.parquet", [source("s3://b/x.mp4", frames=2), source("s3://b/y.mp4")], order=2)
    sources = Sources.read(dataset)
    assert len(sources) == 2
    places = sources.find(["s3://b/x.mp4", "s3://b/z.mp4", "s3://b/y.mp4"])
    assert sources.take(places, ("frames",)).column(0).to_pylist() == [10, None, 40]
    assert next_source_order(dataset) == 11


def test_no_sources_are_an_empty_table(dataset: Folder) -> None:
    sources = Sources.read(dataset)
    assert len(sources) == 0
    nothing = sources.take(sources.find(["s3://b/x.mp4"]))
    assert nothing.to_pylist() == [dict.fromkeys(PLANNING_FACTS)]
    assert nothing.schema == pa.schema([SOURCES.field(name) for name in PLANNING_FACTS])
    assert next_source_order(dataset) == 0


def test_sources_of_many_kinds_come_back_as_they_were(dataset: Folder) -> None:
    rows = [
        source("s3://b/x.mp4", codec="h264", times=b"abc", pixel_aspect=1.5),
        source("s3://b/y.mp4", error_class="NotAVideo", message="bad", codec=None, frames=None),
        source("s3://b/z.mp4", codec="vp9", pixel_format="yuv444p"),
    ]
    write_sources(dataset, "part-a.parquet", rows[:2], order=1)
    write_sources(dataset, "part-b.parquet", rows[2:], order=2)
    sources = Sources.read(dataset)
    taken = sources.take(sources.find([row["uri"] for row in reversed(rows)])).to_pylist()
    assert taken == [{name: row[name] for name in PLANNING_FACTS} for row in reversed(rows)]
