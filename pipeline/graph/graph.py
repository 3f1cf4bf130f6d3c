"""The Ray Data graphs of a preprocessing run.

    probe      sources -> probe (tasks) -> facts, written by the task
    clips      plan -> decode (tasks, 1:1, pixels) -> featurize (one actor a GPU, 1:1) -> write (tasks, 1 part)
    text       captions -> encode and write (one actor a GPU)

The work lies in a Parquet file with one row group a part, so the driver holds row numbers only. Row order is kept
from the plan to the parts: a part is the next ``part_rows`` rows, whoever computed them, and short parts are filled up
with blank rows. That makes part files the same bytes in every run.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import ray
import ray.data
import torch
from ray.data import ActorPoolStrategy, DataContext, ExecutionResources, TaskPoolStrategy

from base.errors import Incomplete, MotifError
from base.storage.errors import explain
from base.storage.uri import split
from pipeline.featurizers.base import ClipFeature, TextFeature
from pipeline.graph.executor import ClipPass, ProbePass, TextPass, WorkersLost
from pipeline.graph.layout import HELD_CPUS, PROBE_CPUS, WRITE_CPUS, lay_out
from pipeline.graph.monitor import Reporter
from pipeline.graph.monitor_actor import release
from pipeline.graph.tasks import decode_task, probe_task, video_worker, write_task
from pipeline.graph.work import open_work, read_rows
from pipeline.recipes import Resources
from pipeline.stages.decode import decode_rows
from pipeline.stages.featurize import Featurizing
from pipeline.stages.text import TextEncoding, TextTarget
from pipeline.video.geometry import ClipShape

_SOURCES_A_TASK = 256
# By default Ray retries without end, and a clip that kills its process would stop the run for half an hour.
_RESTARTS = {"max_restarts": -1, "max_task_retries": 1}

# Ray Data appends to every error how to have it retried.
_RETRY_ADVICE = "\nFailed to apply UDF transform"


def _set_limits(memory: int | None) -> None:
    options = DataContext.get_current().execution_options
    options.preserve_order = True
    options.resource_limits = ExecutionResources() if memory is None else ExecutionResources(object_store_memory=memory)


def probe_sources(job: ProbePass, monitor: Any) -> Iterator[int]:
    """Probe every source of the work file and write their facts; yields how many are done."""
    _set_limits(None)
    cpus = int(ray.cluster_resources().get("CPU", 1))
    blocks = max(math.ceil(job.rows / _SOURCES_A_TASK), min(cpus, math.ceil(job.rows / 8)))
    stream = _numbers(job.rows, blocks).map_batches(
        probe_task,
        fn_kwargs={
            "work": job.work,
            "fence": job.fence,
            "order": job.order,
            "limits": job.limits,
            "reporter": Reporter(monitor, "probe"),
        },
        batch_size=None,
        batch_format="pyarrow",
        num_cpus=PROBE_CPUS,
    )
    for batch in _results(stream):
        yield int(pc.sum(batch.column("rows")).as_py())


class _Featurizer:
    """The featurize stage as a Ray actor."""

    def __init__(self, features: Mapping[str, ClipFeature], shape: ClipShape, device: str, monitor: Any) -> None:
        if device == "cpu":
            _one_thread()
        self.stage = Featurizing(features, shape, torch.device(device))
        self.reporter = Reporter(monitor, "featurize", worker=_register(monitor))

    def __call__(self, table: pa.Table) -> pa.Table:
        with self.reporter.watch(table) as leave:
            result = self.stage(table)
            leave(result)
        return result


def _register(monitor: Any) -> str:
    """Tell the monitor of this actor; returns the actor's id."""
    context = ray.get_runtime_context()
    monitor.register.remote(context.current_actor)
    return str(context.get_actor_id())


def _one_thread() -> None:
    """One actor a core shares the cores better than one actor with threads."""
    import cv2

    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def compute_clips(job: ClipPass, resources: Resources, monitor: Any) -> Iterator[pa.Table]:
    """Run the graph; yields the status rows of each part once it is on disk (:data:`pipeline.stages.write.STATUS`)."""
    layout = lay_out(resources, job.shape, job.rows, job.part_rows, ray.cluster_resources())
    _set_limits(layout.memory)
    read = {"fn_args": (job.work,), "batch_size": job.part_rows, "num_cpus": HELD_CPUS}
    decoding = {"limits": job.limits, "shape": job.shape, "poison": job.poison}
    stream = (
        _cut(_numbers(job.rows, 1).map_batches(read_rows, batch_format="pyarrow", **read), layout.clips_a_block)
        .map_batches(
            decode_task,
            fn_kwargs=decoding | {"reporter": Reporter(monitor, "decode")},
            batch_size=None,
            batch_format="pyarrow",
            num_cpus=layout.decode_cpus,  # another share than the actors', or Ray would fuse the two
            compute=TaskPoolStrategy(size=layout.decoders),
        )
        .map_batches(
            _Featurizer,
            fn_constructor_args=(job.features, job.shape, layout.device, monitor),
            batch_size=None,
            batch_format="pyarrow",
            compute=ActorPoolStrategy(size=layout.featurizers),
            **_RESTARTS,
            **layout.actor,
        )
        .map_batches(
            write_task,
            fn_kwargs={"writer": job.writer, "reporter": Reporter(monitor, "write")},
            batch_size=job.part_rows,
            batch_format="pyarrow",
            num_cpus=WRITE_CPUS,
        )
    )
    yield from _results(stream)


def _numbers(rows: int, blocks: int) -> ray.data.Dataset:
    """The numbers of rows in so many blocks. Ray's own range takes tasks of a whole core each."""
    table = pa.table({"id": pa.array(np.arange(rows, dtype=np.int64))})
    size = math.ceil(rows / blocks)
    return ray.data.from_arrow([table.slice(first, size) for first in range(0, rows, size)])


def _cut(stream: ray.data.Dataset, rows: int) -> ray.data.Dataset:
    """Blocks of exactly so many rows. Ray has no other way to say that its tasks need no whole core for that."""
    cut = stream.repartition(target_num_rows_per_block=rows, strict=True)
    object.__setattr__(cut._logical_plan.dag, "ray_remote_args", {"num_cpus": HELD_CPUS})
    return cut


class _Trial:
    """Computes one clip at a time and keeps nothing: does it survive?"""

    def __init__(self, job: ClipPass, device: str) -> None:
        self.job = job
        self.stage = Featurizing(job.features, job.shape, torch.device(device))

    def compute(self, table: pa.Table) -> None:
        """Decode and featurize a table."""
        self.stage(decode_rows(table, video_worker(self.job.limits), self.job.shape))


def find_poison_clips(job: ClipPass, resources: Resources, monitor: Any) -> set[str]:
    """Slots of the clips that were in hand when workers died and that kill a worker again when computed alone."""
    layout = lay_out(resources, job.shape, job.rows, job.part_rows, ray.cluster_resources())
    _, suspects = ray.get(monitor.read.remote())
    release(monitor)
    table = pq.read_table(split(job.work)[1], filesystem=split(job.work)[0])
    table = table.filter(pc.is_in(table.column("slot"), pa.array(sorted(suspects), pa.string())))
    poison: set[str] = set()
    trial = None
    alone = ray.remote(**layout.actor, max_restarts=0, max_task_retries=0)(_Trial)
    for row in range(table.num_rows):
        if trial is None:
            trial = alone.remote(job, layout.device)
        clip = table.slice(row, 1)
        try:
            ray.get(trial.compute.remote(clip))
        except ray.exceptions.RayActorError:
            poison.add(clip.column("slot")[0].as_py())
            trial = None
    return poison


class _Encoder:
    """The text stage as a Ray actor."""

    def __init__(self, work: str, feature: TextFeature, target: TextTarget, device: str, monitor: Any) -> None:
        if device == "cpu":
            _one_thread()
        self.work = work
        self.stage = TextEncoding(feature, target, torch.device(device))
        self.reporter = Reporter(monitor, "text")
        _register(monitor)

    def __call__(self, batch: pa.Table) -> pa.Table:
        captions = open_work(self.work).read_row_groups(batch.column("id").to_pylist())
        with self.reporter.watch(captions) as leave:
            self.stage(captions)
            leave(pa.table({"stage": pa.nulls(captions.num_rows)}))
        return pa.table({"rows": [captions.num_rows]})


def encode_text(job: TextPass, resources: Resources, monitor: Any) -> Iterator[int]:
    """Encode every caption of the work file, a part a row group; yields how many are written."""
    layout = lay_out(resources, ClipShape(1, 64, 64), job.parts, 1, ray.cluster_resources())
    _set_limits(None)
    stream = _numbers(job.parts, job.parts).map_batches(
        _Encoder,
        fn_constructor_args=(job.work, job.feature, job.target, layout.device, monitor),
        batch_size=None,
        batch_format="pyarrow",
        compute=ActorPoolStrategy(size=layout.featurizers),
        **_RESTARTS,
        **layout.actor,
    )
    for batch in _results(stream):
        yield int(pc.sum(batch.column("rows")).as_py())


def _results(stream: ray.data.Dataset) -> Iterator[pa.Table]:
    """What the last stage returns, as it comes. Our own errors come out as themselves."""
    ended: Exception | None = None
    try:
        yield from stream.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
    except ray.exceptions.RayError as error:
        ended = _told(error)
    if ended is not None:
        raise ended


def _told(error: ray.exceptions.RayError) -> Exception:
    """What ended a graph, without the frames it came through."""
    cause: BaseException | None = error
    while cause is not None:
        # Ray's wrapper also is of the class of the error inside, and says the frames that it came through.
        if not isinstance(cause, ray.exceptions.RayTaskError):
            if isinstance(cause, MotifError):
                return type(cause)(str(cause).partition(_RETRY_ADVICE)[0])
            if isinstance(cause, OSError) and (refused := explain(cause, "Ray's folder or the dataset's")) is not None:
                return refused
        cause = getattr(cause, "cause", None) or cause.__cause__
    if isinstance(error, ray.exceptions.RayActorError | ray.exceptions.WorkerCrashedError):
        return WorkersLost(str(error).splitlines()[0])
    if not isinstance(error, ray.exceptions.RayTaskError):  # of the cluster, not of our code
        return Incomplete(
            f"Ray lost a part of the run ({str(error).splitlines()[0]}). Look at the cluster's machines, then run the "
            "same command again; what was written is kept."
        )
    return RuntimeError(str(error))
