"""The passes of a run in this process: the graph's own task functions in a plain loop, without Ray."""

from collections.abc import Callable, Generator, Iterator, Sequence

import pyarrow as pa
import torch

from pipeline.graph.executor import ClipPass, ProbePass, TextPass, WorkersLost
from pipeline.graph.monitor import Monitor, Reporter
from pipeline.graph.tasks import decode_task, probe_task, write_task
from pipeline.graph.work import read_rows, read_work
from pipeline.stages.featurize import FeaturizeStage
from pipeline.stages.text import TextEncoding

REPORTER = Reporter(Monitor(), "")


class WorkerDies(BaseException):
    """What a feature raises here where it would kill its worker process."""


class InProcess:
    """Executes passes part by part, in the order that ``arrange`` gives: on a cluster it is any order.

    ``block`` is how many clips are decoded and featurized together, ``task`` how many sources a probe task has.
    """

    def __init__(
        self,
        arrange: Callable[[Sequence[int]], Sequence[int]] = lambda numbers: numbers,
        block: int = 3,
        task: int = 3,
    ) -> None:
        self.arrange = arrange
        self.block = block
        self.task = task
        self.passes = 0
        self.stage_seconds: dict[str, float] = {}

    def probe(self, job: ProbePass) -> Generator[int, None, None]:
        self.passes += 1
        fixed = {"work": job.work, "fence": job.fence, "order": job.order, "limits": job.limits}
        for numbers in self._pieces(job.rows, self.task):
            probe_task(numbers, **fixed, reporter=REPORTER)
            yield len(numbers)

    def compute_clips(self, job: ClipPass) -> Generator[pa.Table, None, None]:
        self.passes += 1
        stage = FeaturizeStage(job.features, job.shape, torch.device("cpu"))
        for numbers in self._pieces(job.rows, job.part_rows):
            rows = read_rows(numbers, job.work)
            blocks = [self._compute(rows.slice(at, self.block), stage, job) for at in range(0, len(rows), self.block)]
            yield write_task(pa.concat_tables(blocks), writer=job.writer, reporter=REPORTER)

    def _compute(self, rows: pa.Table, stage: FeaturizeStage, job: ClipPass) -> pa.Table:
        def run(some: pa.Table, poison: frozenset[str]) -> pa.Table:
            return stage(decode_task(some, limits=job.limits, shape=job.shape, poison=poison, reporter=REPORTER))

        try:
            return run(rows, job.poison)
        except WorkerDies as death:
            poison = set()
            for row in range(rows.num_rows):
                try:
                    run(rows.slice(row, 1), job.poison)
                except WorkerDies:
                    poison.add(rows.column("slot")[row].as_py())
            raise WorkersLost("a worker died", frozenset(poison)) from death

    def encode_text(self, job: TextPass) -> Generator[int, None, None]:
        self.passes += 1
        stage = TextEncoding(job.feature, job.target, torch.device("cpu"))
        for number in self.arrange(range(job.parts)):
            captions = read_work(job.work, [number])
            stage(captions)
            yield captions.num_rows

    def _pieces(self, rows: int, size: int) -> Iterator[pa.Table]:
        """Row numbers, ``size`` at a time."""
        for first in self.arrange(range(0, rows, size)):
            yield pa.table({"id": range(first, min(first + size, rows))})
