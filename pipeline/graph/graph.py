"""The Ray Data graphs of a preprocessing run.

    probe      sources -> probe (tasks) -> facts, written by the task
    clips      plan -> decode (tasks, 1:1, pixels) -> featurize (one actor per GPU, 1:1) -> write (tasks, 1 part)
    text       captions -> encode and write (one actor per GPU)

The work is in a file with one record batch per part, so the driver only holds row numbers. Row order is kept from
the plan to the parts: a part is the next ``part_rows`` rows, whichever worker computed them, and short parts are padded
with blank rows. So part files are bitwise equal in every run.
"""

import math
from collections.abc import Generator, Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray
import ray.data
import torch
from ray.data import ActorPoolStrategy, DataContext, ExecutionResources, TaskPoolStrategy

from base.errors import Incomplete, MotifError
from base.storage.errors import explain
from pipeline.featurizers.base import ClipFeature, TextFeature
from pipeline.graph.executor import SOURCES_A_TASK, ClipPass, ProbePass, TextPass, WorkersLost
from pipeline.graph.layout import HELD_CPUS, PARTS_A_READ, PROBE_CPUS, WRITE_CPUS, Layout, encoders, lay_out, split_rows
from pipeline.graph.monitor import Reporter
from pipeline.graph.monitor_actor import PassMonitor, SuspectReporter, release
from pipeline.graph.pacing import keep_queues_short
from pipeline.graph.tasks import decode_task, probe_task, video_worker, write_task
from pipeline.graph.work import find_slots, read_rows, read_work
from pipeline.recipes import Resources
from pipeline.stages.decode import decode_rows
from pipeline.stages.featurize import FeaturizeStage
from pipeline.stages.text import TextEncoding, TextTarget
from pipeline.video.geometry import ClipShape

# By default Ray retries forever, and a clip that crashes its worker would block the run for half an hour.
_RESTARTS = {"max_restarts": -1, "max_task_retries": 1}

_ONE_TASK = TaskPoolStrategy(size=1)

# Ray Data appends advice about retries to every error.
_RETRY_ADVICE = "\nFailed to apply UDF transform"


def _set_limits(memory: int | None) -> None:
    context = DataContext.get_current()
    keep_queues_short(context)
    options = context.execution_options
    options.preserve_order = True
    options.resource_limits = ExecutionResources() if memory is None else ExecutionResources(object_store_memory=memory)


def probe_sources(job: ProbePass, monitor: PassMonitor) -> Iterator[int]:
    """Probe every source of the work file and write the results; yields how many are done."""
    _set_limits(None)
    cpus = int(ray.cluster_resources().get("CPU", 1))
    blocks = max(math.ceil(job.rows / SOURCES_A_TASK), min(cpus, math.ceil(job.rows / 8)))
    stream = _numbers(range(job.rows), math.ceil(job.rows / blocks)).map_batches(
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

    def __init__(
        self, features: Mapping[str, ClipFeature], shape: ClipShape, device: str, monitor: PassMonitor
    ) -> None:
        if device == "cpu":
            _one_thread()
        self.stage = FeaturizeStage(features, shape, torch.device(device))
        self.reporter = SuspectReporter(monitor, "featurize", _register(monitor))

    def __call__(self, table: pa.Table) -> pa.Table:
        with self.reporter.watch(table) as leave:
            result = self.stage(table)
            leave(result)
        return result


def _register(monitor: PassMonitor) -> str:
    """Register this actor with the monitor; returns the actor's id."""
    context = ray.get_runtime_context()
    monitor.register(context.current_actor)
    return str(context.get_actor_id())


def _one_thread() -> None:
    """One single-threaded actor per core uses the cores better than one actor with threads."""
    import cv2

    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def compute_clips(job: ClipPass, resources: Resources, monitor: PassMonitor) -> Generator[pa.Table, None, None]:
    """Run the graph; yields the status rows of each part once it is on disk (:data:`pipeline.stages.write.STATUS`).

    Many clips take several graphs, one after the other, so that the driver's memory is bounded.
    """
    layout = lay_out(resources, job.shape, job.rows, job.part_rows, ray.cluster_resources())
    _set_limits(layout.memory)
    for rows in split_rows(job.rows, job.part_rows, layout.clips_a_block):
        if rows.start:
            release(monitor)
        yield from _results(_clip_stream(job, rows, layout, monitor))


def _clip_stream(job: ClipPass, rows: range, layout: Layout, monitor: PassMonitor) -> ray.data.Dataset:
    """The graph that computes these rows of the work file."""
    decoding = {"limits": job.limits, "shape": job.shape, "poison": job.poison}
    work = _numbers(rows, PARTS_A_READ * job.part_rows).map_batches(
        read_rows,
        fn_args=(job.work,),
        batch_size=job.part_rows,
        batch_format="pyarrow",
        num_cpus=HELD_CPUS,
        compute=_ONE_TASK,
    )
    return (
        _cut(work, layout.clips_a_block)
        .map_batches(
            decode_task,
            fn_kwargs=decoding | {"reporter": Reporter(monitor, "decode")},
            batch_size=None,
            batch_format="pyarrow",
            num_cpus=layout.decode_cpus,  # must differ from the actors' share, or Ray would fuse the two stages
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


def _numbers(rows: range, size: int) -> ray.data.Dataset:
    """Row numbers in blocks of ``size``. Ray's own range would use tasks that need a whole core each."""
    table = pa.table({"id": pa.array(np.arange(rows.start, rows.stop, dtype=np.int64))})
    return ray.data.from_arrow([table.slice(first, size) for first in range(0, len(rows), size)])


def _cut(stream: ray.data.Dataset, rows: int) -> ray.data.Dataset:
    """Blocks of exactly ``rows`` rows, cut by the tasks that read them.

    Ray offers no other way to give these tasks less than a whole core each, nor to limit their number. Both must be as
    for the reading tasks, or Ray would not make one stage of both.
    """
    cut = stream.repartition(target_num_rows_per_block=rows, strict=True)
    object.__setattr__(cut._logical_plan.dag, "ray_remote_args", {"num_cpus": HELD_CPUS})
    object.__setattr__(cut._logical_plan.dag, "compute", _ONE_TASK)
    return cut


class _Trial:
    """Computes clips one at a time without keeping results, to see which crash a worker."""

    def __init__(self, job: ClipPass, device: str) -> None:
        self.job = job
        self.stage = FeaturizeStage(job.features, job.shape, torch.device(device))

    def compute(self, table: pa.Table) -> None:
        """Decode and featurize a table."""
        self.stage(decode_rows(table, video_worker(self.job.limits), self.job.shape))


def find_poison_clips(job: ClipPass, resources: Resources, monitor: PassMonitor) -> set[str]:
    """Slots of clips that were in progress when workers died and that crash a worker again when computed alone."""
    layout = lay_out(resources, job.shape, job.rows, job.part_rows, ray.cluster_resources())
    _, suspects = ray.get(monitor.read())
    release(monitor)
    table = find_slots(job.work, suspects)
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

    def __init__(self, work: str, feature: TextFeature, target: TextTarget, device: str, monitor: PassMonitor) -> None:
        if device == "cpu":
            _one_thread()
        self.work = work
        self.stage = TextEncoding(feature, target, torch.device(device))
        self.reporter = Reporter(monitor, "text")
        _register(monitor)

    def __call__(self, batch: pa.Table) -> pa.Table:
        captions = read_work(self.work, batch.column("id").to_pylist())
        with self.reporter.watch(captions) as leave:
            self.stage(captions)
            leave(pa.table({"stage": pa.nulls(captions.num_rows)}))
        return pa.table({"rows": [captions.num_rows]})


def encode_text(job: TextPass, resources: Resources, monitor: PassMonitor) -> Iterator[int]:
    """Encode every caption of the work file, part by part; yields how many are written."""
    layout = lay_out(resources, ClipShape(1, 64, 64), job.parts, 1, ray.cluster_resources())
    _set_limits(None)
    stream = _numbers(range(job.parts), 1).map_batches(
        _Encoder,
        fn_constructor_args=(job.work, job.feature, job.target, layout.device, monitor),
        batch_size=None,
        batch_format="pyarrow",
        compute=ActorPoolStrategy(size=encoders(layout, job.captions)),
        **_RESTARTS,
        **layout.actor,
    )
    for batch in _results(stream):
        yield int(pc.sum(batch.column("rows")).as_py())


def _results(stream: ray.data.Dataset) -> Iterator[pa.Table]:
    """Stream the last stage's results. Our own errors are raised unwrapped.

    Ray's ``iter_batches`` would send its statistics of all blocks so far to another process every five seconds; after
    some ten thousand blocks that takes as long as computing them.
    """
    ended: Exception | None = None
    try:
        for bundle in stream.iter_internal_ref_bundles():
            yield from ray.get(list(bundle.block_refs))
    except ray.exceptions.RayError as error:
        ended = _unwrapped(error)
    if ended is not None:
        raise ended


def _unwrapped(error: ray.exceptions.RayError) -> Exception:
    """The cause of a graph's failure, without Ray's wrappers and stack frames."""
    cause: BaseException | None = error
    while cause is not None:
        # Ray's wrapper is also an instance of the wrapped error's class, but with the traceback in its message.
        if not isinstance(cause, ray.exceptions.RayTaskError):
            if isinstance(cause, MotifError):
                return type(cause)(str(cause).partition(_RETRY_ADVICE)[0])
            if isinstance(cause, OSError) and (refused := explain(cause, "Ray's folder or the dataset's")) is not None:
                return refused
        cause = getattr(cause, "cause", None) or cause.__cause__
    if isinstance(error, ray.exceptions.RayActorError | ray.exceptions.WorkerCrashedError):
        return WorkersLost(str(error).splitlines()[0])
    if not isinstance(error, ray.exceptions.RayTaskError):  # an error of the cluster, not of our code
        return Incomplete(
            f"Ray lost a part of the run ({str(error).splitlines()[0]}). Check the cluster's machines, then run the "
            "same command again; finished work is kept."
        )
    return RuntimeError(str(error))
