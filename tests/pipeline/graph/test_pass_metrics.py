import pyarrow as pa

from pipeline.graph.monitor import Counts, StageCount
from pipeline.graph.pass_metrics import PassMetrics
from tests.recorded import Recorded

STAGES = ("decode", "featurize", "write")
NAME = "ray_motif_preprocess_"


def counts(*left: int, failed: int = 0) -> Counts:
    """So many rows have left each stage, at half a second each; ``failed`` of them failed in the first."""
    found = {stage: StageCount(n + 1, n, 0, n / 2) for stage, n in zip(STAGES, left, strict=True)}
    found[STAGES[0]].failed = failed
    return found


def status(*outcomes: str) -> pa.Table:
    return pa.table({"part": ["part-0.parquet"] * len(outcomes), "outcome": list(outcomes)})


def by_stage(recorded: Recorded, name: str) -> list[float]:
    return [recorded.values[NAME + name, stage] for stage in STAGES]


def test_what_a_monitor_counts_is_added_once() -> None:
    recorded = Recorded()
    metrics = PassMetrics(recorded, STAGES, 20)
    now = counts(8, 4, 0, failed=1)
    metrics.update(now)
    now["decode"].left = 10  # a monitor in this process counts on in the same object
    metrics.update(now)
    metrics.update(counts(20, 14, 10, failed=3))
    assert by_stage(recorded, "rows_total") == [20, 14, 10]
    assert by_stage(recorded, "failed_rows_total") == [3, 0, 0]
    assert by_stage(recorded, "seconds_total") == [10, 7, 5]
    assert by_stage(recorded, "waiting_rows") == [0, 6, 4]


def test_a_second_pass_adds_to_the_first() -> None:
    recorded = Recorded()
    for _ in range(2):
        PassMetrics(recorded, STAGES, 20).update(counts(20, 20, 20))
    assert by_stage(recorded, "rows_total") == [40, 40, 40]


def test_a_lost_monitor_changes_nothing() -> None:
    recorded = Recorded()
    metrics = PassMetrics(recorded, STAGES, 20)
    metrics.update(counts(8, 4, 0, failed=1))
    before = dict(recorded.values)
    metrics.update({stage: StageCount() for stage in STAGES})
    assert recorded.values == before
    metrics.update(counts(9, 4, 0, failed=1))
    assert by_stage(recorded, "rows_total") == [9, 4, 0]


def test_clips_are_counted_by_outcome_once_their_part_is_on_disk() -> None:
    recorded = Recorded()
    metrics = PassMetrics(recorded, STAGES, 20)
    metrics.add_part(status("written", "failed", "written", "filtered"), to_clips=False)
    metrics.add_part(status("written"), to_clips=False)
    metrics.add_part(status("written", "failed"), to_clips=True)
    assert recorded.values == {
        (NAME + "parts_total",): 3,
        (NAME + "clips_total", "written"): 3,
        (NAME + "clips_total", "failed"): 1,
        (NAME + "clips_total", "filtered"): 1,
        (NAME + "clips_total", "artifacts_added"): 2,
    }
