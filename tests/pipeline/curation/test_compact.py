"""Small parts become larger ones, and nothing else changes, whenever the command is killed."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.errors import DamagedFile, InputError, MissingPart
from base.storage.folder import Folder
from dataset.catalog import Catalog
from dataset.ledger import next_source_order, source_order
from dataset.parts.listing import list_parts
from dataset.parts.part_file import read_part
from dataset.parts.tables import part_names
from dataset.reading import FeatureReader, TextReader
from dataset.rejects import read_rejects
from dataset.view import View, scalars
from pipeline.curation.compact import Compacted, compact, group_parts
from pipeline.curation.merge import merge
from pipeline.curation.stats import read_stats
from pipeline.curation.verify import verify
from pipeline.graph.tasks import end_video_worker
from tests.pipeline.conftest import part_bytes
from tests.pipeline.datasets import write_dataset
from tests.pipeline.histories import VIDEOS, History, Killed, Life, MortalFolder, Step, make_library

pytestmark = pytest.mark.usefixtures("unsynced")

FILES = {f"{number}.mp4": f"v{number}.mp4" for number in range(VIDEOS)} | {"text.mp4": "text.mp4"}
ROWS = tuple((name, f"caption {number % 4}") for number, name in enumerate(FILES))
# The second run adds "cells", in which the brighter videos fail: clips of the first run lack them, and of the two new
# clips, which are in one part, one is not written.
STEPS = (
    Step(("brightness",), (*ROWS[1:5], *ROWS[6:10]), FILES, clips_a_part=2),
    Step(("brightness", "cells", "text"), ROWS, FILES, clips_a_part=2, fails_above=60.0),
)
WRITTEN = 9


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Videos, and a dataset of small parts, some of them with failed clips; not to be written to."""
    folder = tmp_path_factory.mktemp("compact")
    library = make_library(folder / "library")
    history = History(library, folder / "videos", folder / "dataset", 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda descriptor: None)
        for step in STEPS:
            history.prepare(step)
            assert history.play(step) is not None
    yield folder
    end_video_worker()


@pytest.fixture
def dataset(place: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(place / "dataset", tmp_path / "dataset"))


def content(dataset: Path) -> dict[str, Any]:
    """All that a compaction must keep, in whatever part it lies."""
    folder = Folder(str(dataset))
    artifacts = tuple(name for name, artifact in Catalog.require(folder).artifacts.items() if artifact.per_clip)
    reader = FeatureReader(folder, artifacts, ("text_id",))
    text = TextReader(folder)
    samples = [sample for group in reader.groups for sample in reader.read(group)]
    values = {
        s["clip_id"]: [s[name].tobytes() for name in sorted(s) if "/" in name] + [text.states(s["text_id"]).tobytes()]
        for s in samples
    }
    assert len(values) == len(samples)
    clips = sorted(scalars(folder, ()).to_pylist(), key=lambda row: str(row["clip_id"]))
    lively = View(str(dataset), artifacts, ("first>=0",)).clips().column("clip_id").to_pylist()
    stats = read_stats(folder)
    facts = (stats.clips, stats.scores, stats.rejects, {name: one.lacking for name, one in stats.artifacts.items()})
    rejects = read_rejects(folder).drop_columns(["part"]).to_pylist()
    known = latest_sources(folder)
    found = {"values": values, "clips": clips, "view": sorted(lively), "stats": facts, "rejects": rejects}
    return found | {"sources": known, "next_order": next_source_order(folder)}


def latest_sources(dataset: Folder) -> list[dict[str, Any]]:
    """Every column of the latest state of each source."""
    (names,) = list_parts(dataset, ("sources",)).values()
    tables = sorted((read_part(dataset / "sources", name) for name in names), key=source_order)
    by_uri = {row["uri"]: row for table in tables for row in table.to_pylist()}
    return [by_uri[uri] for uri in sorted(by_uri)]


def parts(dataset: Path, folder: str = "clips") -> list[str]:
    return part_names(Folder(str(dataset / folder)))


def run_compact(folder: Folder, part_rows: int = 6) -> Compacted:
    return compact(folder, part_rows, part_rows, lambda line: None)


def test_clips_values_and_rejects_stay(place: Path, dataset: Path) -> None:
    before = content(dataset)
    assert before["stats"][3]["cells"] > 0, "there must be clips that failed in an artifact"
    result = run_compact(Folder(str(dataset)))
    assert result.parts_before["clips"] == len(parts(place / "dataset")) > len(parts(dataset)) == result.parts["clips"]
    assert result.parts_before["text"] > len(parts(dataset, "text")) == result.parts["text"]
    for folder in ("brightness", "cells"):
        assert parts(dataset, folder) == parts(dataset)
    assert content(dataset) == before
    found = verify(Folder(str(dataset)))
    assert (found.damaged, found.clips_lacking, found.captions_lacking) == ({}, {}, {})
    names = {path: path.stat().st_mtime_ns for path in dataset.rglob("part-*")}
    again = run_compact(Folder(str(dataset)))
    assert again.parts == again.parts_before == result.parts
    assert {path: path.stat().st_mtime_ns for path in dataset.rglob("part-*")} == names


def test_a_run_afterwards_computes_nothing_and_a_retry_what_failed(place: Path, dataset: Path) -> None:
    run_compact(Folder(str(dataset)))
    history = History(place / "library", place / "videos", dataset, 0)
    account = history.run(STEPS[-1], Life())
    assert account is not None
    assert (account.planned, account.reused, account.artifacts_added, account.captions) == (0, WRITTEN, 0, 0)
    account = history.run(replace(STEPS[-1], retry=True, fails_above=1e9), Life())
    assert account is not None
    assert account.complete
    stats = read_stats(Folder(str(dataset)))
    assert stats.artifacts["cells"].lacking == 0
    assert not any("cells" in reason for reason in stats.rejects)


def test_videos_that_all_changed_after_a_compaction(place: Path, tmp_path: Path) -> None:
    """Then the rows of the sources that count are those of one part, whose name the new part must not take."""
    history = History(place / "library", tmp_path / "videos", tmp_path / "dataset", 0)
    folder = Folder(str(tmp_path / "dataset"))
    first = Step(("brightness", "text"), ROWS[:2], dict(list(FILES.items())[:2]), clips_a_part=2)
    swapped = dict(zip(first.files, reversed(first.files.values()), strict=True))
    for files in (first.files, swapped, first.files):
        step = replace(first, files=files)
        history.prepare(step)
        assert history.play(step) is not None
        before = content(tmp_path / "dataset")
        run_compact(folder)
        assert content(tmp_path / "dataset") == before
        assert len(parts(tmp_path / "dataset", "sources")) == 1
    assert before["next_order"] > 1
    end_video_worker()


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_at_any_moment(place: Path, dataset: Path, tmp_path: Path, step: int) -> None:
    """Readers find what was there; then the same command gives the same bytes as one that nothing stopped."""
    before = content(dataset)
    run_compact(Folder(str(dataset)), 100)
    undisturbed = part_bytes(dataset)
    assert len(parts(dataset)) == 1
    moments = 0
    while True:
        killed = Path(shutil.copytree(place / "dataset", tmp_path / f"{moments}"))
        try:
            run_compact(MortalFolder(str(killed), Life(moments)), 100)
            break
        except Killed:
            moments += step
        assert content(killed) == before
        if moments % 5 == 0:
            assert not verify(Folder(str(killed))).damaged
        run_compact(Folder(str(killed)), 100)
        assert part_bytes(killed) == undisturbed
        shutil.rmtree(killed)
    assert moments > 20
    assert part_bytes(killed) == undisturbed


def test_a_reader_that_is_open_reads_on_or_says_that_parts_are_gone(dataset: Path) -> None:
    folder = Folder(str(dataset))
    mapped = FeatureReader(folder, ("brightness",))
    expected = [sample["clip_id"] for group in mapped.groups for sample in mapped.read(group)]
    small = FeatureReader(folder, ("brightness",), open_files=1)
    run_compact(folder)
    assert [sample["clip_id"] for group in mapped.groups for sample in mapped.read(group)] == expected
    with pytest.raises(MissingPart, match=r"part-\w+.parquet is gone: another command has replaced or moved it"):
        small.read(small.groups[0])


def test_merged_datasets_keep_their_rejects_of_artifacts(dataset: Path, tmp_path: Path) -> None:
    """A merge writes the rejects of all parts into one, which names the parts."""
    other = Path(shutil.copytree(dataset, tmp_path / "other"))
    merge([Folder(str(dataset)), Folder(str(other))], Folder(str(tmp_path / "merged")))
    before = content(tmp_path / "merged")
    run_compact(Folder(str(tmp_path / "merged")))
    assert content(tmp_path / "merged") == before
    assert not verify(Folder(str(tmp_path / "merged"))).damaged


def test_in_an_object_store(bucket: str) -> None:
    folder = write_dataset(Folder(f"{bucket}/d"), {"heatmaps": {3}})
    names = ("latents", "heatmaps")
    before = scalars(folder, names).sort_by("clip_id")
    compact(folder, 32, 32, lambda line: None)
    assert [len(part_names(folder / name)) for name in ("clips", *names, "text")] == [1, 1, 1, 1]
    assert scalars(folder, names).sort_by("clip_id").equals(before)


def test_a_damaged_part_stops_it_and_nothing_is_changed(dataset: Path) -> None:
    first, second = sorted((dataset / "brightness").iterdir())[:2]
    first.write_bytes(second.read_bytes())
    before = {path: path.read_bytes() for path in dataset.rglob("part-*.parquet")}
    with pytest.raises(DamagedFile, match=f"{first} is damaged: its clips do not match the part of clips"):
        compact(Folder(str(dataset)), 100, 100, lambda line: None)
    assert {path: path.read_bytes() for path in dataset.rglob("part-*.parquet")} == before


@pytest.mark.parametrize(("part_rows", "below"), [(1, 1), (8, 1), (8, 9)])
def test_sizes_that_make_no_sense(dataset: Path, part_rows: int, below: int) -> None:
    with pytest.raises(InputError, match=f"--below {below}: must be at least 2 and at most --part-rows, {part_rows}"):
        compact(Folder(str(dataset)), part_rows, below, lambda line: None)


@given(st.lists(st.integers(0, 30), max_size=40), st.integers(2, 30), st.data())
def test_groups_hold_small_parts_once_and_no_two_fit_together(sizes: list[int], most: int, data: st.DataObject) -> None:
    below = data.draw(st.integers(2, most))
    rows = {f"part-{number:02}": count for number, count in enumerate(sizes)}
    groups = group_parts(rows, most, below)
    merged = [name for group in groups for name in group]
    assert len(set(merged)) == len(merged)
    assert all(0 < rows[name] < below for name in merged)
    assert all(len(group) > 1 and sum(rows[name] for name in group) <= most for group in groups)
    alone = [count for name, count in rows.items() if 0 < count < below and name not in merged]
    left = sorted([*(sum(rows[name] for name in group) for group in groups), *alone])
    assert len(left) < 2 or left[0] + left[1] > most
