import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from base.errors import InputError
from base.storage.folder import Folder
from dataset.parts.tables import CLIPS
from dataset.view import View, scalars
from tests.pipeline.datasets import CLIPS_IN_ALL, PARTS, write_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Of clip 3 there is no heatmap; not to be written to."""
    return write_dataset(Folder(str(tmp_path_factory.mktemp("view") / "d")), {"heatmaps": {3}})


def numbers(view: View) -> list[int]:
    return [int(name.removeprefix("clip")) for name in view.clips().column("clip_id").to_pylist()]


@pytest.mark.parametrize("ids", [None, (), ("clip01", "clip02")])
def test_a_view_is_read_as_it_was_written(tmp_path: Path, ids: tuple[str, ...] | None) -> None:
    view = View("s3://b/d", ("latents", "text"), ("score>=1", "fps<9"), ids, 0.25)
    view.save(Folder(str(tmp_path)), "v.json")
    assert View.load(Folder(str(tmp_path)), "v.json") == view


def test_what_a_view_need_not_say(tmp_path: Path) -> None:
    (tmp_path / "v.json").write_text('{"dataset": "d", "artifacts": ["latents"]}')
    assert View.load(Folder(str(tmp_path)), "v.json") == View("d", ("latents",))


@pytest.mark.parametrize(
    "text",
    [
        "no JSON",
        "{}",
        "[]",
        '"view"',
        '{"dataset": "d"}',
        '{"dataset": "d", "artifacts": 3}',
        '{"dataset": "d", "artifacts": [], "weight": "heavy"}',
    ],
)
def test_what_is_no_view_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "v.json").write_text(text)
    with pytest.raises(InputError, match=r"v.json is not a view \(made by `motif dataset filter`\)"):
        View.load(Folder(str(tmp_path)), "v.json")


def test_all_clips_that_have_the_artifacts(dataset: Folder) -> None:
    assert numbers(View(dataset.uri, ("latents",))) == list(range(CLIPS_IN_ALL))
    assert numbers(View(dataset.uri, ("latents", "heatmaps", "text"))) == [n for n in range(CLIPS_IN_ALL) if n != 3]
    assert numbers(View(dataset.uri, ())) == list(range(CLIPS_IN_ALL))


def test_rules_on_clips_and_on_artifacts(dataset: Folder) -> None:
    view = View(dataset.uri, ("heatmaps",))
    assert numbers(replace(view, where=("source_frames>=55",))) == [15, 16, 17, 18]
    assert numbers(replace(view, where=("source_frames>=55", "count<17"))) == [15, 16]
    assert numbers(replace(view, where=("score>-2",))) == [0, 1]
    assert numbers(replace(view, where=("fps>10",))) == []
    with pytest.raises(InputError, match="there is no column motion. Columns: clip_id, slot"):
        replace(view, where=("motion>1",)).clips()


def test_a_list_of_clips(dataset: Folder) -> None:
    view = View(dataset.uri, ("heatmaps",), ids=("clip09", "clip03", "clip01", "elsewhere"))
    assert numbers(view) == [1, 9]
    assert numbers(replace(view, where=("count>5",))) == [9]
    assert numbers(replace(view, ids=())) == []


def test_scalars_of_two_artifacts_stand_beside_the_clips(dataset: Folder) -> None:
    """Both have a score: the later one's is called by its artifact. Tensors are left where they are."""
    table = scalars(dataset, ("latents", "heatmaps"))
    assert table.column_names == [*CLIPS.names, "score", "heatmaps/score", "count"]
    assert table.num_rows == CLIPS_IN_ALL - 1
    rows = table.select(["first", "score", "heatmaps/score", "count"]).to_pylist()
    for row in rows:
        assert row == {"first": row["count"], "score": row["first"], "heatmaps/score": -row["first"]} | row
    assert scalars(dataset, ("heatmaps", "latents")).column_names[-3:] == ["score", "count", "latents/score"]


def test_a_part_that_lacks_an_artifact_is_left_out(dataset: Folder, tmp_path: Path) -> None:
    shutil.copytree(dataset.path, tmp_path / "d")
    (tmp_path / "d" / "heatmaps" / "part-a.parquet").unlink()
    view = View(str(tmp_path / "d"), ("latents", "heatmaps"))
    assert numbers(view) == [*PARTS["part-b.parquet"], *PARTS["part-c.parquet"]]


def test_an_artifact_that_is_not_there(dataset: Folder) -> None:
    with pytest.raises(InputError, match="artifact 'depth' is not in the dataset. It has: latents, heatmaps, text"):
        View(dataset.uri, ("depth",)).clips()


def test_a_dataset_without_parts_has_no_clips(dataset: Folder, tmp_path: Path) -> None:
    shutil.copytree(dataset.path, tmp_path / "d")
    shutil.rmtree(tmp_path / "d" / "clips")
    view = View(str(tmp_path / "d"), ("heatmaps",))
    assert view.clips().num_rows == 0
    assert replace(view, where=("count>5",)).clips().num_rows == 0
