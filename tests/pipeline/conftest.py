import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from base.storage.folder import Folder
from dataset.parts.tables import StoreOptions
from pipeline.recipes import Resources, sprites
from pipeline.run.accounting import Account
from pipeline.video.sampling import Sampling

# Small enough for a test, with every stage of the real thing.
SMALL = replace(
    sprites(),
    sampling=Sampling(frames=8, max_stride=1),
    height=128,
    width=128,
    store=StoreOptions(4, 2),
    resources=Resources(featurizers=1),  # a second one costs more to start than these clips
)
Preprocessing = Callable[..., Account]


@pytest.fixture
def unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where kills are exceptions in this process, nothing depends on what the disk has in its cache."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def part_bytes(dataset: Path) -> dict[str, bytes]:
    """All that must be the same in every run: the parts of clips and artifacts."""
    return {
        str(path.relative_to(dataset)): path.read_bytes()
        for path in sorted(dataset.rglob("part-*.parquet"))
        if path.parent.name not in ("sources", "rejects")
    }


def reject_rows(dataset: Path) -> list[tuple[Any, ...]]:
    """The rejects without what belongs to a run."""
    from dataset.rejects import read_rejects

    names = ("slot", "clip_id", "uri", "artifact", "outcome", "stage", "error_class", "message", "score", "attempts")
    return sorted(
        (tuple(row[name] for name in names) for row in read_rejects(Folder(str(dataset))).to_pylist()), key=str
    )


def last_record(dataset: Path) -> dict[str, Any]:
    """The record of the last run."""
    record: dict[str, Any] = json.loads(max(dataset.glob("runs/*Z.json")).read_text())
    return record
