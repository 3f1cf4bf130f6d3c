"""Tasks of the graph's worker processes around the stages: read work, keep a decode child, report.

Decoding must not import torch: a node runs one such process per core.
"""

import pyarrow as pa

from dataset.ledger import sources_part
from dataset.lock import Fence
from dataset.parts.tables import FACTS, write_part
from pipeline.graph.monitor import Reporter
from pipeline.graph.work import read_rows
from pipeline.stages.decode import decode_rows
from pipeline.stages.probe import probe_rows
from pipeline.stages.write import PartWriter
from pipeline.video.geometry import ClipShape
from pipeline.video.process.worker import DecodeLimits, VideoWorker

_kept: list[VideoWorker] = []


def video_worker(limits: DecodeLimits) -> VideoWorker:
    """The decode child of this process, kept from task to task; one with other limits is ended first."""
    if not _kept or _kept[0].limits != limits:
        end_video_worker()
        _kept.append(VideoWorker(limits))
    return _kept[0]


def end_video_worker() -> None:
    """End the decode child of this process, if there is one."""
    while _kept:
        _kept.pop().close()


def probe_task(
    batch: pa.Table, *, work: str, fence: Fence, order: int, limits: DecodeLimits, reporter: Reporter
) -> pa.Table:
    """Probe the sources with these row numbers and write the results; a higher ``order`` is newer."""
    sources = read_rows(batch, work)
    with reporter.watch(sources) as leave:
        facts = probe_rows(sources, video_worker(limits))
        name = sources_part(order, sources.column("uri").to_pylist())
        fence.check()
        write_part(fence.place / "sources", name, facts, FACTS, {"kind": "sources", "order": str(order)})
        leave(pa.table({"stage": facts.column("error_class")}))
    return pa.table({"rows": [batch.num_rows]})


def decode_task(
    table: pa.Table, *, limits: DecodeLimits, shape: ClipShape, poison: frozenset[str], reporter: Reporter
) -> pa.Table:
    """Decode the clips of a block."""
    with reporter.watch(table) as leave:
        result = decode_rows(table, video_worker(limits), shape, poison)
        leave(result)
    return result


def write_task(table: pa.Table, *, writer: PartWriter, reporter: Reporter) -> pa.Table:
    """Write a part; returns its status rows."""
    with reporter.watch(table) as leave:
        result = writer(table)
        leave(table)
    return result
