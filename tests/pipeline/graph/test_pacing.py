"""How far a stage of a graph runs ahead of the next one."""

import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
import ray
import ray.data
from ray.data import DataContext, TaskPoolStrategy

from pipeline.graph import pacing
from pipeline.graph.pacing import keep_queues_short

BLOCKS = 1000
SLOW_S = 0.01


def lead(folder: Path, context: DataContext) -> int:
    """The most blocks that the first of two stages, one task, was ahead, as the slow second one saw it."""
    made = folder / "made"

    def first(batch: pa.Table) -> Iterator[pa.Table]:
        for number in batch.column("id").to_pylist():
            made.write_text(str(number))
            yield pa.table({"id": [number]})

    def second(batch: pa.Table) -> pa.Table:
        ahead = int(made.read_text() or 0) - batch.column("id")[0].as_py()
        time.sleep(SLOW_S)  # the work of a slow stage
        return pa.table({"lead": [ahead]})

    with DataContext.current(context):
        stream = ray.data.from_arrow(pa.table({"id": range(BLOCKS)}))
        for stage, cpus in ((first, 0.01), (second, 0.02)):  # unequal, or Ray would make one stage of both
            stream = stream.map_batches(
                stage, batch_format="pyarrow", batch_size=None, num_cpus=cpus, compute=TaskPoolStrategy(size=1)
            )
        return max(row["lead"] for row in stream.iter_rows())


@pytest.mark.slow
def test_a_stage_waits_for_the_next_one(ray_cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "MOST_WAITING", 4)
    paced = DataContext()
    paced.execution_options.preserve_order = True
    paced.target_max_block_size = 1  # each row is a block
    keep_queues_short(paced)
    assert lead(tmp_path, paced) <= 300  # while the second stage starts, Ray lets ten a second through
