"""What a probe leaves: one part, however many tasks there were, with every source once."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from base.storage.folder import Folder
from dataset.ledger import Sources
from pipeline.graph.tasks import end_video_worker
from pipeline.run import probing
from pipeline.run.job import Job
from pipeline.run.run import Run
from tests.pipeline.conftest import SMALL
from tests.pipeline.in_process import InProcess

pytestmark = pytest.mark.usefixtures("unsynced")


def parts(dataset: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (dataset / "sources").iterdir()}


def probed(sprites_folder: Path, dataset: Path, task: int, *, backwards: bool = False) -> dict[str, bytes]:
    executor = InProcess((lambda numbers: numbers[::-1]) if backwards else lambda numbers: numbers, task=task)
    Run(Job(SMALL, str(sprites_folder / "manifest.csv"), Folder(str(dataset))), lambda line: None, executor).execute()
    end_video_worker()
    return parts(dataset)


def test_tasks_of_any_size_and_order_leave_the_same_part(sprites_folder: Path, tmp_path: Path) -> None:
    whole = probed(sprites_folder, tmp_path / "whole", 100)
    assert len(whole) == 1
    assert probed(sprites_folder, tmp_path / "three", 3) == whole
    assert probed(sprites_folder, tmp_path / "backwards", 5, backwards=True) == whole


def test_many_parts_become_few_in_the_order_of_the_manifest(
    sprites_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "PARTS_A_MERGE", 3)
    found = probed(sprites_folder, tmp_path / "d", 2, backwards=True)
    lines = (sprites_folder / "manifest.csv").read_text().splitlines()[1:]
    uris = [str(sprites_folder / line.split(",")[0]) for line in lines]
    sizes = [len(pq.read_table(tmp_path / "d" / "sources" / name)) for name in found]
    assert sorted(sizes, reverse=True) == [6] * (len(uris) // 6) + [len(uris) % 6] * (len(uris) % 6 > 0)
    for name in found:
        rows = pq.read_table(tmp_path / "d" / "sources" / name).column("uri").to_pylist()
        assert rows == [uri for uri in uris if uri in rows]
    assert (Sources.read(Folder(str(tmp_path / "d"))).find(uris) >= 0).all()
