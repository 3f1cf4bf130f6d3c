from pathlib import Path

import pytest

from base.storage.folder import Folder
from dataset.identity import text_id
from dataset.ledger import Ledger, Sources, committed_reject_parts
from dataset.parts.tables import SOURCES, part_names
from tests.pipeline.datasets import clip, reject, source, write_clips, write_rejects, write_sources


@pytest.fixture
def dataset(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "d"))


def test_a_folder_without_parts_is_an_empty_ledger(dataset: Folder) -> None:
    assert Ledger.read(dataset) == Ledger()


def test_what_is_written_is_known_by_slot_and_by_clip(dataset: Folder) -> None:
    write_clips(dataset, "part-b.parquet", [clip(2)])
    write_clips(dataset, "part-a.parquet", [clip(0), clip(1, caption="other", text_id=text_id("other"))])
    ledger = Ledger.read(dataset)
    assert ledger.written == {
        "slot00": text_id("caption 0"),
        "slot01": text_id("other"),
        "slot02": text_id("caption 2"),
    }
    assert ledger.clip_ids == {"clip00", "clip01", "clip02"}
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
    assert set(sources.rows) == {"s3://b/x.mp4", "s3://b/y.mp4"}
    assert sources.table.column("frames")[sources.rows["s3://b/x.mp4"]].as_py() == 10
    assert sources.table.column("frames")[sources.rows["s3://b/y.mp4"]].as_py() == 40


def test_no_sources_are_an_empty_table(dataset: Folder) -> None:
    sources = Sources.read(dataset)
    assert sources.rows == {}
    assert sources.table.schema == SOURCES
