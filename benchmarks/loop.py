"""The stages of the clip graph in a plain loop: one process a core, each with its own decode child and one thread.

What a run would cost if nobody had to schedule it, and what the graph is measured against. No Ray in here.
"""

import multiprocessing
import time
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import pyarrow as pa
import torch

from pipeline.featurizers.base import ClipFeature
from pipeline.graph.work import read_rows
from pipeline.stages.decode import decode_rows
from pipeline.stages.featurize import FeaturizeStage
from pipeline.stages.write import PartWriter
from pipeline.video.geometry import ClipShape
from pipeline.video.process.worker import DecodeLimits, VideoWorker


@dataclass(frozen=True)
class Loop:
    """A pass over a work file of ``rows`` rows in parts of ``part_rows``; the stages take ``block`` clips at a time."""

    work: str
    rows: int
    part_rows: int
    block: int
    features: Mapping[str, ClipFeature]
    shape: ClipShape
    limits: DecodeLimits
    writer: PartWriter


def loop_seconds(loop: Loop, processes: int) -> float:
    """Run the loop in so many spawned processes, each with every so-manieth part; wall seconds from start to end."""
    parts = range(loop.rows // loop.part_rows)
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=_run, args=(loop, parts[first::processes])) for first in range(processes)]
    started = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0, worker
    return time.perf_counter() - started


def _run(loop: Loop, parts: range) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    stage = FeaturizeStage(loop.features, loop.shape, torch.device("cpu"))
    worker = VideoWorker(loop.limits)
    for part in parts:
        rows = read_rows(pa.table({"id": range(part * loop.part_rows, (part + 1) * loop.part_rows)}), loop.work)
        blocks = (rows.slice(at, loop.block) for at in range(0, len(rows), loop.block))
        loop.writer(pa.concat_tables([stage(decode_rows(block, worker, loop.shape)) for block in blocks]))
    worker.close()
