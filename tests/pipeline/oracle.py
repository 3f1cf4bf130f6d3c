"""What a dataset must hold after a history of runs, worked out apart from the code."""

import hashlib
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

from base.storage.folder import Folder
from dataset.catalog import Catalog
from dataset.identity import text_id
from dataset.parts.listing import list_parts
from dataset.parts.schema import Column
from dataset.rejects import read_rejects
from pipeline.featurizers.base import ClipBatch, ClipFeature
from pipeline.graph.tasks import video_worker
from pipeline.run.accounting import Account
from pipeline.stages.decode import decode_clip
from pipeline.video.probe import content_hash
from pipeline.video.process.worker import DecodeLimits
from tests.pipeline.histories import FEATURES, SHAPE, History, Life, Step, draw_history, letters
from tests.videos import brightness_number


class Oracle:
    """What each clip's features are, computed for that clip alone from the video that has its content."""

    def __init__(self, library: Path) -> None:
        self.videos = {content_hash(path): path for path in library.iterdir()}
        self.frames: dict[str, np.ndarray] = {}
        self.values: dict[tuple[str, str], dict[str, np.ndarray]] = {}

    def compute(self, clip: dict[str, Any], artifact: str) -> dict[str, np.ndarray]:
        key = clip["clip_id"], artifact
        if key not in self.values:
            feature = FEATURES[artifact]
            assert isinstance(feature, ClipFeature)
            batch = ClipBatch(self._decode(clip)[None], np.array([clip["has_next"]]))
            self.values[key] = feature.load(SHAPE, torch.device("cpu"))(batch)
        return self.values[key]

    def _decode(self, clip: dict[str, Any]) -> np.ndarray:
        if clip["clip_id"] not in self.frames:
            out = np.empty((SHAPE.frames + 1, SHAPE.height, SHAPE.width, 3), np.uint8)
            row = clip | {"uri": str(self.videos[clip["content"]])}
            decode_clip(row, video_worker(DecodeLimits()), SHAPE, out)
            shown = [round(brightness_number(frame)) for frame in out[: SHAPE.frames]]
            assert shown == [clip["first"] + place * clip["stride"] for place in range(SHAPE.frames)]
            self.frames[clip["clip_id"]] = out
        return self.frames[clip["clip_id"]]


def folders_of(dataset: Path) -> dict[str, str]:
    """Name in FEATURES -> folder of its artifact."""
    catalog = Catalog.require(Folder(str(dataset)))
    shape = {name: feature.identity() for name, feature in FEATURES.items()}
    return {
        name: folder
        for name, identity in shape.items()
        for folder, artifact in catalog.artifacts.items()
        if artifact.kind == FEATURES[name].kind and identity.items() <= artifact.identity.items()
    }


def snapshot(dataset: Path) -> dict[str, str]:
    """A digest of every part of clips and artifacts that counts: those of artifacts beside a part of clips."""
    paths = sorted(dataset.glob("*/part-*.parquet"))
    listed = list_parts(Folder(str(dataset)), sorted({"clips", *(path.parent.name for path in paths)}))
    clips = set(listed["clips"])
    found = {}
    for path in paths:
        folder = path.parent.name
        if path.name not in listed[folder]:
            continue  # of a compaction that was killed
        if folder not in ("sources", "rejects") and (folder == "text" or path.name in clips):
            found[f"{folder}/{path.name}"] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def retried(dataset: Path) -> set[str]:
    """Parts of artifacts in which clips failed: a retry replaces them."""
    return {
        f"{row['artifact']}/{row['part']}" for row in read_rejects(Folder(str(dataset))).to_pylist() if row["artifact"]
    }


def read_clips(dataset: Path) -> dict[str, list[dict[str, Any]]]:
    """Part -> its clips."""
    return {path.name: pq.read_table(path).to_pylist() for path in sorted((dataset / "clips").glob("part-*.parquet"))}


def check_dataset(dataset: Path, step: Step, oracle: Oracle) -> None:
    """What must hold of a dataset after a run that ended."""
    parts = read_clips(dataset)
    clips = [clip for rows in parts.values() for clip in rows]
    for column in ("clip_id", "slot"):
        assert max(Counter(clip[column] for clip in clips).values(), default=1) == 1, f"a {column} is there twice"
    rejects = read_rejects(Folder(str(dataset))).to_pylist()
    explained = {(row["artifact"], row["part"], row["clip_id"]) for row in rejects if row["artifact"]}
    assert not {row["slot"] for row in rejects if not row["artifact"]} & {clip["slot"] for clip in clips}
    folders = folders_of(dataset)
    for name, folder in folders.items():
        if FEATURES[name].kind == "text":
            if name in step.recipe:
                check_text(dataset / folder, clips)
            continue
        there = {path.name for path in (dataset / folder).glob("part-*.parquet")}
        assert there <= parts.keys(), f"{folder} has parts without clips"
        assert name not in step.recipe or there == parts.keys(), f"{folder} lacks parts"
        for part in there:
            check_part(dataset / folder / part, parts[part], name, explained, oracle)
    assert not list(dataset.rglob("*.work.*"))


def check_part(
    path: Path, clips: list[dict[str, Any]], name: str, explained: set[tuple[str, str, str]], oracle: Oracle
) -> None:
    """A part of an artifact is aligned with its clips, and each value is what the clip alone gives."""
    table = pq.read_table(path)
    ids = table.column("clip_id").to_pylist()
    assert len(ids) == len(clips)
    values = {
        field.name: Column.of(field).to_numpy(table.column(field.name))
        for field in table.schema
        if field.name != "clip_id"
    }
    for row, (found, clip) in enumerate(zip(ids, clips, strict=True)):
        if found is None:
            assert (path.parent.name, path.name, clip["clip_id"]) in explained, "a row of nulls without a reason"
            continue
        assert found == clip["clip_id"]
        for column, expected in oracle.compute(clip, name).items():
            np.testing.assert_array_equal(values[column][row], expected[0])


def check_text(folder: Path, clips: list[dict[str, Any]]) -> None:
    table = pq.read_table(folder, partitioning=None)
    states = Column.of(table.schema.field("states")).to_numpy(table.column("states"))
    ids = table.column("text_id").to_pylist()
    assert len(set(ids)) == len(ids)
    known = dict(zip(ids, states, strict=True))
    for caption in ("", *(clip["caption"] for clip in clips)):
        np.testing.assert_array_equal(known[text_id(caption)], letters(caption))


def check_account(account: Account) -> None:
    assert account.complete
    assert account.planned == account.written + account.filtered + account.failed


def check_nothing_to_do(history: History, step: Step) -> None:
    """The same command again, without its retry, finds nothing to do and changes nothing."""
    before = {path: path.stat().st_mtime_ns for path in history.dataset.glob("*/part-*")}
    account = history.run(replace(step, retry=False, kills=()), Life())
    assert account is not None
    assert (account.planned, account.written, account.artifacts_added, account.captions) == (0, 0, 0, 0)
    assert {path: path.stat().st_mtime_ns for path in history.dataset.glob("*/part-*")} == before


def play(history: History, steps: list[Step], oracle: Oracle) -> None:
    """All steps of a history, and what must hold after each."""
    dataset = history.dataset
    for number, step in enumerate(steps):
        history.prepare(step)
        before = snapshot(dataset)
        replaceable = retried(dataset) if step.retry else set()
        account = history.play(step)
        if account is None:
            continue
        check_account(account)
        check_dataset(dataset, step, oracle)
        after = snapshot(dataset)
        changed = {part for part, digest in before.items() if after.get(part) != digest}
        assert changed <= replaceable, f"step {number} changed {sorted(changed - replaceable)}"
        ours = {"clips"} | {folder for name, folder in folders_of(dataset).items() if name in step.recipe}
        assert {part.split("/")[0] for part in after.keys() - before.keys()} <= ours
        if step.limit is None and (number % 3 == 0 or step is steps[-1]):
            check_nothing_to_do(history, step)


def part_bytes(dataset: Path) -> dict[str, str]:
    return {name: digest for name, digest in snapshot(dataset).items() if not name.startswith("text/")}


def run_history(seed: int, library: Path, folder: Path, oracle: Oracle) -> None:
    steps = draw_history(seed)
    play(History(library, folder / "videos", folder / "killed", seed), steps, oracle)
    if any(step.kills for step in steps) and not any(step.abandoned for step in steps):
        twin = History(library, folder / "videos", folder / "calm", seed + 1)
        for step in steps:
            twin.prepare(step)
            twin.play(step, kills=False)
        assert part_bytes(folder / "calm") == part_bytes(folder / "killed"), "kills change what is written"
