"""Samples of shards: which files of one are needed, and that large ones are looked through once."""

import json
from pathlib import Path

import pytest

from pipeline.manifest.samples import Sample
from tests.pipeline.manifest.manifests import rows, write_tar


@pytest.mark.parametrize(
    "names",
    [
        ["x.mp4", "x.txt", "x.bboxes.json", "x.pose.json"],
        ["x.mp4", "x.txt", "x.l14.json"],
        ["x.h264.mp4", "x.txt", "x.meta.json"],
        ["x.cam1.mp4", "x.cam2.mp4", "x.txt", "x.meta.json"],
        ["x.mp4", "x.blip2.txt"],
        ["x.720p.mp4", "x.caption.txt"],
    ],
)
@pytest.mark.parametrize("facts", [b"{}", b"[0.5, 1]", b"no json"])
def test_a_json_that_nobody_needs_fails_no_row(tmp_path: Path, names: list[str], facts: bytes) -> None:
    members = [(name, facts if name.endswith("json") else b"words") for name in names]
    found = rows(write_tar(tmp_path / "s.tar", members))
    expected = [("words", None)] * sum(name.endswith("mp4") for name in names)
    assert [(row["caption"], row["fault"]) for row in found] == expected


@pytest.mark.parametrize("named", [{"caption": "cap"}, {"start": "start"}, {"end": "end"}])
def test_a_json_whose_fields_are_named_must_be_clear(tmp_path: Path, named: dict[str, str]) -> None:
    facts = json.dumps({"cap": "a", "start": 1, "end": 2}).encode()
    members = [("x.mp4", b""), ("x.txt", b"words"), ("x.bboxes.json", facts), ("x.pose.json", facts)]
    fault = str(rows(write_tar(tmp_path / "s.tar", members), **named)[0]["fault"])
    assert fault.startswith("BadRow: it is unclear whether x.bboxes.json belongs to x.mp4")
    found = rows(write_tar(tmp_path / "t.tar", members[:3]), **named)[0]
    assert (found["fault"], found["start_s"]) == (None, 1.0 if "start" in named else None)


class Looked(str):
    """A name that counts how often names are compared, taken apart or looked for."""

    __slots__ = ()
    times = 0

    def __eq__(self, other: object) -> bool:
        Looked.times += 1
        return str.__eq__(self, other)

    def __hash__(self) -> int:
        Looked.times += 1
        return str.__hash__(self)

    def lower(self) -> str:
        Looked.times += 1
        return str.lower(self)

    def rpartition(self, mark: str, /) -> tuple[str, str, str]:
        Looked.times += 1
        head, middle, last = str.rpartition(self, mark)
        return Looked(head), middle, Looked(last)


@pytest.mark.parametrize("captions", ["txt", "json", "none", "shared", "twice"])
def test_a_sample_of_a_whole_shard_is_looked_through_once(captions: str) -> None:
    """Twice the videos are twice the work, whatever the captions are."""

    def work(count: int) -> int:
        names = []
        for number in range(count):
            names.append(Looked(f"show.{number:06}.mp4"))
            if captions in ("txt", "json"):
                names.append(Looked(f"show.{number:06}.{captions}"))
            if captions == "twice":
                names.append(Looked("show.txt"))
        if captions == "shared":
            names.append(Looked("show.txt"))
        Looked.times = 0
        sample, said = Sample(names), 0
        for name in names:
            if name.endswith(".mp4"):
                for kind in ("txt", "json"):
                    try:
                        said += len(sample.beside(name, kind) or "")
                    except ValueError as error:
                        said += len(str(error))
        return Looked.times + said

    assert work(2000) <= 2.1 * work(1000)
