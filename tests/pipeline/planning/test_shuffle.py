"""Where clips lie in a dataset: random, by whole videos, whichever way the manifest lists them."""

import hashlib
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from base.errors import StorageError
from base.storage.folder import Folder
from dataset.identity import digest
from dataset.parts.tables import PLANNED
from pipeline.graph.work import WorkFile, WorkSink, read_work
from pipeline.planning.shuffle import Shuffle
from pipeline.stages.columns import WORK
from tests.pipeline.datasets import clip


def planned(video: int, number: int) -> dict[str, Any]:
    name = f"video{video:05}"
    row = clip(0, content=f"content of {name}", uri=f"s3://b/{name}.mp4", first=(7 * number) % 11)
    row |= {"slot": digest("slot", name, number), "clip_id": digest("clip", name, number)}
    return {key: row[key] for key in PLANNED.names}


def shuffled(
    clips: Sequence[dict[str, Any]], size: int, seed: int = 0, at_once: int = 500
) -> list[list[dict[str, Any]]]:
    with Shuffle(seed) as shuffle:
        for first in range(0, len(clips), at_once):
            shuffle.add(pa.Table.from_pylist(list(clips[first : first + at_once]), schema=PLANNED))
        return [part.to_pylist() for part in shuffle.parts(size)]


def in_order(clips: Sequence[dict[str, Any]], size: int, seed: int) -> list[list[dict[str, Any]]]:
    """What datasets have: videos by a hash, cut into parts, and each part by slot."""

    def key(row: dict[str, Any]) -> tuple[bytes, str]:
        return hashlib.blake2b(f"order|{seed}|{row['content']}".encode(), digest_size=8).digest(), row["slot"]

    ordered = sorted(clips, key=key)
    parts = [ordered[first : first + size] for first in range(0, len(ordered), size)]
    return [sorted(part, key=lambda row: str(row["slot"])) for part in parts]


def videos(rows: Sequence[dict[str, Any]]) -> list[str]:
    return [row["uri"] for row in rows]


@settings(max_examples=25, deadline=None)
@given(
    counts=st.lists(st.integers(1, 9), min_size=1, max_size=60),
    size=st.integers(1, 20),
    seed=st.integers(0, 3),
    order=st.randoms(use_true_random=False),
)
def test_parts_depend_on_the_set_of_clips_alone(counts: list[int], size: int, seed: int, order: Any) -> None:
    clips = [planned(video, number) for video, count in enumerate(counts) for number in range(count)]
    parts = shuffled(clips, size, seed)
    mixed = list(clips)
    order.shuffle(mixed)
    assert shuffled(mixed, size, seed, at_once=1 + len(clips) // 3) == parts == in_order(clips, size, seed)
    assert [len(part) for part in parts] == [size] * (len(clips) // size) + [len(clips) % size] * (
        len(clips) % size > 0
    )
    key = lambda row: row["slot"]  # noqa: E731
    assert sorted((row for part in parts for row in part), key=key) == sorted(clips, key=key)
    left = [row for number, part in enumerate(parts) if number % 3 for row in part]  # whole parts were written before
    assert shuffled(left, size, seed) == [part for number, part in enumerate(parts) if number % 3]


def test_neighbours_of_the_manifest_are_none_in_the_dataset() -> None:
    parts = shuffled([planned(video, number) for video in range(640) for number in range(8)], 256)
    assert len(parts) == 20
    for part in parts:
        assert len(set(videos(part))) <= 34  # 32, and one at each border
        numbers = sorted({int(uri[-9:-4]) for uri in videos(part)})
        assert numbers[0] < 100
        assert numbers[-1] > 540
        groups = [len(set(videos(part[first : first + 8]))) for first in range(0, 256, 8)]
        assert np.mean(groups) > 6.5  # 7.2 where eight of 256 are drawn
    some = [planned(video, 0) for video in range(50)]
    assert shuffled(some, 25, seed=1) != shuffled(some, 25)


@pytest.mark.parametrize("clips_a_video", [1, 3, 8, 300])
def test_a_video_lies_in_as_few_parts_as_hold_it(clips_a_video: int) -> None:
    clips = [planned(video, number) for video in range(1200 // clips_a_video) for number in range(clips_a_video)]
    where: dict[str, set[int]] = {}
    for number, part in enumerate(shuffled(clips, 64)):
        for uri in videos(part):
            where.setdefault(uri, set()).add(number)
    assert max(len(parts) for parts in where.values()) <= -(-clips_a_video // 64) + 1


def test_the_work_of_a_part_goes_video_by_video(tmp_path: Any) -> None:
    """So that a decode process, which keeps the last video, downloads each once."""
    with WorkFile(Folder(str(tmp_path)), "work", WORK, 24) as work:
        sink = WorkSink(work, Folder(str(tmp_path / "d")), "run")
        (part,) = shuffled([planned(video, number) for video in range(3) for number in range(8)], 24)
        sink.clips("part-a.parquet", pa.Table.from_pylist(part, schema=PLANNED))
    rows = read_work(work.uri, [0]).to_pylist()
    changes = sum(one["uri"] != other["uri"] for one, other in pairwise(rows))
    assert changes == 2
    assert all(a["uri"] != b["uri"] or a["first"] <= b["first"] for a, b in pairwise(rows))
    assert [{key: row[key] for key in PLANNED.names} for row in sorted(rows, key=lambda row: row["row"])] == part


def test_a_full_folder_for_temporary_files_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda: Path("/dev/full").open("w+b", buffering=0))  # noqa: SIM115
    with pytest.raises(StorageError, match=tempfile.gettempdir()):
        shuffled([planned(0, number) for number in range(300)], 64)
