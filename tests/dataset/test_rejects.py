from pathlib import Path
from typing import Any

import pytest

from base.storage.folder import Folder
from dataset.parts.tables import REJECTS, part_facts, part_names
from dataset.rejects import read_rejects, tidy_rejects
from tests.pipeline.datasets import clip, reject, write_clips, write_rejects


@pytest.fixture
def dataset(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "d"))


def told(dataset: Folder) -> list[tuple[str, str, str]]:
    return [(row["run"], row["slot"], row["artifact"]) for row in read_rejects(dataset).to_pylist()]


def never(row: dict[str, Any]) -> bool:
    return False


def test_no_rejects_are_an_empty_table(dataset: Folder) -> None:
    assert read_rejects(dataset).schema == REJECTS
    assert read_rejects(dataset).num_rows == 0


def test_the_oldest_run_comes_first(dataset: Folder) -> None:
    write_rejects(dataset, "part-a.parquet", [reject("s2", run="run2"), reject("s1", run="run2")])
    write_rejects(dataset, "part-b.parquet", [reject("s3", run="run1"), reject("s0", run="run3")])
    assert told(dataset) == [("run1", "s3", ""), ("run2", "s1", ""), ("run2", "s2", ""), ("run3", "s0", "")]


def test_rejects_of_a_killed_run_are_not_read_and_are_deleted(dataset: Folder) -> None:
    write_clips(dataset, "part-a.parquet", [clip(0)])
    write_rejects(dataset, "part-a.parquet", [reject("s1")], clips_part="part-a.parquet")
    write_rejects(dataset, "part-b.parquet", [reject("s2")], clips_part="part-b.parquet")
    assert told(dataset) == [("run1", "s1", "")]
    tidy_rejects(dataset, never)
    assert part_names(dataset / "rejects") == ["part-a.parquet"]


def test_a_verdict_that_does_not_count_outdates_none_that_does(dataset: Folder) -> None:
    write_rejects(dataset, "part-a.parquet", [reject("s1", run="run1")])
    write_rejects(dataset, "part-b.parquet", [reject("s1", run="run2")], clips_part="part-b.parquet")
    tidy_rejects(dataset, never)
    assert told(dataset) == [("run1", "s1", "")]


def test_the_latest_verdict_on_a_slot_and_artifact_is_kept(dataset: Folder) -> None:
    first = [reject("s1"), reject("s1", artifact="heatmaps"), reject("s1", artifact="latents"), reject("s2")]
    write_rejects(dataset, "part-b.parquet", first)
    write_rejects(dataset, "part-a.parquet", [reject("s1", run="run2"), reject("s1", artifact="heatmaps", run="run3")])
    tidy_rejects(dataset, never)
    assert told(dataset) == [
        ("run1", "s1", "latents"),
        ("run1", "s2", ""),
        ("run2", "s1", ""),
        ("run3", "s1", "heatmaps"),
    ]


def test_of_many_verdicts_one_is_left(dataset: Folder) -> None:
    for number, run in enumerate((3, 6, 1, 5, 2, 4)):
        write_rejects(dataset, f"part-{number}.parquet", [reject("s1", run=f"run{run}")])
    tidy_rejects(dataset, never)
    assert told(dataset) == [("run6", "s1", "")]


def test_stale_rows_are_dropped_and_a_part_without_rows_is_deleted(dataset: Folder) -> None:
    write_rejects(dataset, "part-a.parquet", [reject("s1"), reject("s2", message="why", score=0.5, attempts=4)])
    write_rejects(dataset, "part-b.parquet", [reject("s3")])
    kept = read_rejects(dataset).to_pylist()[1]
    tidy_rejects(dataset, lambda row: row["slot"] in ("s1", "s3"))
    assert part_names(dataset / "rejects") == ["part-a.parquet"]
    assert read_rejects(dataset).to_pylist() == [kept]


def test_a_part_that_is_rewritten_still_needs_its_clips(dataset: Folder) -> None:
    write_clips(dataset, "part-a.parquet", [clip(0)])
    write_rejects(dataset, "part-a.parquet", [reject("s1"), reject("s2")], clips_part="part-a.parquet")
    tidy_rejects(dataset, lambda row: row["slot"] == "s1")
    assert told(dataset) == [("run1", "s2", "")]
    assert part_facts(dataset / "rejects", "part-a.parquet")["clips_part"] == "part-a.parquet"
    (dataset / "clips").delete("part-a.parquet")
    assert told(dataset) == []


def test_a_part_of_which_all_is_true_is_left_alone(dataset: Folder) -> None:
    write_rejects(dataset, "part-a.parquet", [reject("s1"), reject("s2")])
    path = dataset.path / "rejects" / "part-a.parquet"
    before = path.stat()
    tidy_rejects(dataset, never)
    after = path.stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)
