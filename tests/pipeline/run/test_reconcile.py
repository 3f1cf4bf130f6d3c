from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from base.errors import Incomplete, TooManyFailures
from base.storage.folder import Folder
from dataset.ledger import Ledger, Sources
from dataset.parts.part_file import read_part
from dataset.parts.tables import StoreOptions, part_names
from dataset.rejects import read_rejects
from pipeline.manifest import ROWS
from pipeline.planning.plan import Plan, Planner, Retry
from pipeline.planning.sinks import DryRun, PlanSink
from pipeline.recipes import sprites
from pipeline.run.accounting import Account
from pipeline.run.reconcile import check_failures, reconcile
from tests.pipeline.datasets import clip, reject, source, write_clips, write_rejects, write_sources

RECIPE = replace(sprites(), store=StoreOptions(4, 2))
URIS = [f"s3://b/{number}.mp4" for number in range(6)]
UNREADABLE = "s3://b/text.mp4"
UNCAPTIONED = "s3://b/silent.mp4"


class Done(DryRun):
    """Writes what is planned at once; of some clips it says that they failed."""

    def __init__(self, dataset: Folder, failed: tuple[str, ...]) -> None:
        self.dataset = dataset
        self.failed = failed

    def clips(self, part: str, rows: pa.Table) -> None:
        planned = rows.to_pylist()
        bad = [
            reject(row["slot"], uri=row["uri"], run="run1", part=part) for row in planned if row["uri"] in self.failed
        ]
        good = [row | {"decoder": "pyav"} for row in planned if row["uri"] not in self.failed]
        if bad:
            write_rejects(self.dataset, part, bad, part if good else "")
        if good:
            write_clips(self.dataset, part, good)

    def rejects(self, rows: pa.Table) -> None:
        told = [row | {"run": "run1"} for row in rows.to_pylist()]
        write_rejects(self.dataset, f"part-plan{len(part_names(self.dataset / 'rejects'))}.parquet", told)


def planner(dataset: Folder, sink: PlanSink, retry: Retry | None = None) -> Planner:
    """A plan of six good videos, one that cannot be read, and one without a caption."""
    rows = [{"uri": uri, "caption": "words"} for uri in (*URIS, UNREADABLE)] + [{"uri": UNCAPTIONED, "caption": None}]
    made = Planner(RECIPE, Ledger.read(dataset), Sources.read(dataset), sink, retry=retry)
    made.run([pa.RecordBatch.from_pylist(rows, schema=ROWS)])
    return made


@pytest.fixture
def dataset(tmp_path: Path) -> Folder:
    """The sources are known, nothing is computed."""
    made = Folder(str(tmp_path / "d"))
    unreadable = source(UNREADABLE, content=None, frames=None, error_class="NotAVideo", message="Invalid data")
    write_sources(made, "part-s.parquet", [*(source(uri) for uri in (*URIS, UNCAPTIONED)), unreadable], order=0)
    return made


def compute(dataset: Folder, failed: tuple[str, ...] = (), retry: Retry | None = None) -> Plan:
    """Do all that is to do; the plan it was done by."""
    return planner(dataset, Done(dataset, failed), retry).plan


def end(dataset: Folder, planned: Plan, lacking: Mapping[str, list[str]] | None = None, run: str = "run1") -> Account:
    account = Account(run)
    reconcile(account, planned, planner(dataset, DryRun()), lacking or {}, dataset)
    return account


def test_every_clip_is_accounted_for(dataset: Folder) -> None:
    account = end(dataset, compute(dataset, failed=(URIS[1], URIS[4])), {"latents": [], "heatmaps": []})
    assert (account.planned, account.written, account.failed, account.filtered) == (8, 4, 4, 0)
    assert account.failures == {"decode: Timeout": 2, "manifest: CaptionMissing": 1, "probe: NotAVideo": 1}
    assert next(iter(account.failures)) == "decode: Timeout"
    assert account.complete


def test_a_second_run_is_complete_with_nothing_planned(dataset: Folder) -> None:
    end(dataset, compute(dataset))
    account = end(dataset, compute(dataset), run="run2")
    assert (account.planned, account.reused, account.written, account.failed, account.complete) == (0, 6, 0, 0, True)
    assert account.failures == {}


def test_what_was_done_again_is_counted_once_and_its_rejects_are_gone(dataset: Folder) -> None:
    end(dataset, compute(dataset, failed=(URIS[1],)))
    slots = frozenset(row["slot"] for row in read_rejects(dataset).to_pylist() if row["stage"] == "decode")
    account = end(dataset, compute(dataset, retry=Retry(slots)))
    assert (account.planned, account.written, account.failed, account.complete) == (1, 1, 0, True)
    assert {row["uri"] for row in read_rejects(dataset).to_pylist()} == {UNREADABLE, UNCAPTIONED}


def test_rejects_of_a_source_that_is_good_by_now_are_dropped(dataset: Folder) -> None:
    end(dataset, compute(dataset))
    write_sources(dataset, "part-t.parquet", [source(UNREADABLE)], order=1)
    account = end(dataset, compute(dataset))
    assert (account.written, account.complete) == (1, True)
    assert [row["uri"] for row in read_rejects(dataset).to_pylist()] == [UNCAPTIONED]


def test_a_clip_that_is_lost_is_no_success(dataset: Folder) -> None:
    planned = compute(dataset, failed=(URIS[4],))
    (dataset / "clips").delete(part_names(dataset / "clips")[0])
    account = Account("run1")
    with pytest.raises(Incomplete, match=r"8 clips planned, but \d written, 0 filtered and \d failed") as caught:
        reconcile(account, planned, planner(dataset, DryRun()), {}, dataset)
    assert f"{8 - account.written - account.failed} clips remain to be computed" in str(caught.value)
    assert str(caught.value).endswith("Run the same command again.")
    assert not account.complete
    assert account.written < 5


def test_a_clip_that_is_there_twice_is_no_success(dataset: Folder) -> None:
    planned = compute(dataset)
    part = part_names(dataset / "clips")[0]
    again = read_part(dataset / "clips", part).to_pylist()[:2]
    write_clips(dataset, "part-again.parquet", again)
    with pytest.raises(Incomplete, match="d: 2 clips are duplicated. Run the same command again"):
        end(dataset, planned)


def test_a_clip_that_nobody_planned_is_no_matter(dataset: Folder) -> None:
    """Another manifest's clips are in the same dataset."""
    write_clips(dataset, "part-other.parquet", [clip(77)])
    account = end(dataset, compute(dataset))
    assert (account.planned, account.reused, account.written, account.complete) == (8, 0, 6, True)


def test_an_artifact_that_lacks_parts_is_no_success(dataset: Folder) -> None:
    planned = compute(dataset)
    with pytest.raises(Incomplete, match="d: heatmaps lacks 2 parts; depth lacks 1 parts. Run"):
        end(dataset, planned, {"latents": [], "heatmaps": ["a", "b"], "depth": ["a"]})


@pytest.mark.parametrize(
    ("share", "failed", "settled", "least"),
    [
        (0.1, 0, 0, 200),
        (0.1, 20, 20, 200),
        (0.1, 20, 200, 200),
        (0.1, 100, 1000, 200),
        (0.0, 0, 1000, 1),
        (1.0, 10, 10, 1),
        (0.29, 29, 100, 1),
    ],
)
def test_as_many_failures_as_are_allowed(dataset: Folder, share: float, failed: int, settled: int, least: int) -> None:
    check_failures(share, failed, settled, dataset, least)


@pytest.mark.parametrize(
    ("share", "failed", "settled", "least"),
    [(0.1, 21, 21, 200), (0.1, 21, 200, 200), (0.1, 101, 1000, 200), (0.0, 1, 1000, 1), (0.1, 1, 9, 1)],
)
def test_one_failure_more(dataset: Folder, share: float, failed: int, settled: int, least: int) -> None:
    said = rf"^{failed:,} of {settled:,} clips failed, more than --max-failed {share:g} allows. Finished work"
    with pytest.raises(TooManyFailures, match=said):
        check_failures(share, failed, settled, dataset, least)


def failures(dataset: Folder, kinds: Mapping[str, int], **more: Any) -> None:
    rows = [reject(f"{kind}{n}", error_class=kind, **more) for kind, count in kinds.items() for n in range(count)]
    write_rejects(dataset, f"part-{'-'.join(kinds)}.parquet", rows)


@pytest.mark.parametrize(
    ("kind", "hint"),
    [
        ("CaptionMissing", r"Put name.txt next to name.mp4, give the caption column, or set --captions optional\. "),
        ("MissingFile", r"Are the paths right\? .* against the manifest's folder, or --columns.root\. "),
        ("Timeout", "A longer --decode.deadline-s may help. "),
        ("NotAVideo", ""),
    ],
)
def test_the_commonest_failure_has_a_hint(dataset: Folder, kind: str, hint: str) -> None:
    failures(dataset, {"DecoderDied": 1, kind: 3, "FramesMissing": 2, "NotFinite": 1})
    common = rf"7 of 20 clips failed \(3 {kind}, 2 FramesMissing, 1 DecoderDied\)"
    with pytest.raises(TooManyFailures, match=rf"{common}, more than --max-failed 0.1 allows. {hint}Finished work"):
        check_failures(0.1, 7, 20, dataset, least=1)


def test_three_that_failed_are_named(dataset: Folder) -> None:
    failures(dataset, {"Timeout": 2})
    ask = rf"`motif dataset explain {dataset.uri} --clip Timeout0.mp4` explains why\."
    with pytest.raises(TooManyFailures, match=rf" Failed: Timeout0.mp4, Timeout1.mp4; {ask}$"):
        check_failures(0.1, 2, 9, dataset, least=1)
    failures(dataset, {"NotAVideo": 2})
    with pytest.raises(TooManyFailures, match=r" Failed: NotAVideo0.mp4, NotAVideo1.mp4, Timeout0.mp4 \.\.\.; `motif"):
        check_failures(0.1, 4, 9, dataset, least=1)


def test_only_clips_that_failed_are_told(dataset: Folder) -> None:
    """Filtered ones have not failed, and a clip without an artifact is still a clip."""
    failures(dataset, {"score>=1": 5}, outcome="filtered")
    failures(dataset, {"NotFinite": 5}, artifact="heatmaps")
    failures(dataset, {"Timeout": 1})
    with pytest.raises(TooManyFailures, match=r"9 of 20 clips failed \(1 Timeout\), more"):
        check_failures(0.1, 9, 20, dataset, least=1)
