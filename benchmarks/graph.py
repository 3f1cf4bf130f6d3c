"""What Ray costs: the clip graph of a run, against the same stage functions in a plain loop on the same two cores.

    python -m benchmarks.graph [--clips 128 384] [--rounds 3] [--save]

Both read the same work file, decode, featurize (the sprites recipe, 256 x 256) and write the same parts. Each is run
over few and over many clips; clips a second are those in between over the seconds in between, so start-up (processes,
imports, the graph's own) is apart. Both run once before, not counted: the first graph of a session also starts Ray's
worker processes, which would make the few look slow and so the many look fast. ``scheduling_ms_a_clip`` is what a clip
takes longer in the graph, in milliseconds of a core. Probing and planning come before and are no part of it.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median

import pyarrow as pa

from base.storage.folder import Folder
from benchmarks.clips import plan_clips
from benchmarks.loop import Loop, loop_seconds
from benchmarks.report import arguments, report
from dataset.parts.footers import make_label
from pipeline.graph.executor import ClipPass
from pipeline.graph.layout import lay_out
from pipeline.graph.work import WorkFile, WorkSink
from pipeline.planning.artifacts import choose_targets
from pipeline.recipes import sprites
from pipeline.sprites.files import write_sprites
from pipeline.sprites.world import World
from pipeline.stages.columns import WORK
from pipeline.stages.write import PartWriter

# Ray, and what of the pipeline imports it, is imported where it is used: the loop's processes import this module too.

CORES = 2
RECIPE = sprites()


def prepare(root: Path, parts: list[tuple[str, pa.Table]]) -> Loop:
    """A work file with these parts, and all that a pass over it needs; nothing is written to its dataset yet."""
    dataset = Folder(str(root / "dataset"))
    targets = choose_targets(RECIPE, dataset)
    features = targets.features(frozenset(target.folder for target in targets.clips))
    part_rows = RECIPE.store.clips_a_part
    with WorkFile(Folder(str(root)), "work", WORK, part_rows) as work:
        sink = WorkSink(work, dataset, "benchmark")
        for name, rows in parts:
            sink.clips(name, rows)
    artifacts = {
        folder: (feature.columns(RECIPE.shape), targets.catalog.artifacts[folder].label)
        for folder, feature in features.items()
    }
    clips_label = make_label("clips", RECIPE.clips_identity())
    writer = PartWriter(dataset, clips_label, artifacts, RECIPE.store, RECIPE.rules, "benchmark", {})
    layout = lay_out(RECIPE.resources, RECIPE.shape, work.rows, part_rows, {"CPU": CORES})
    limits = RECIPE.decode
    return Loop(work.uri, work.rows, part_rows, layout.clips_a_block, features, RECIPE.shape, limits, writer)


def graph_seconds(loop: Loop) -> float:
    """Run the graph over the same work file; wall seconds until its last actor is gone."""
    from pipeline.graph import graph, monitor_actor

    job = ClipPass(loop.work, loop.rows, loop.part_rows, loop.features, loop.shape, loop.limits, loop.writer)
    started = time.perf_counter()
    monitor = monitor_actor.new_monitor()
    written = 0
    for status in graph.compute_clips(job, RECIPE.resources, monitor):
        written += status.column("outcome").to_pylist().count("written")
    monitor_actor.release(monitor)
    assert written == loop.rows, written
    return time.perf_counter() - started


def into(loop: Loop, dataset: Path) -> Loop:
    """The same pass with its parts written elsewhere."""
    return replace(loop, writer=replace(loop.writer, dataset=Folder(str(dataset))))


def bytes_of(dataset: Path) -> dict[str, bytes]:
    """All part files."""
    return {str(path.relative_to(dataset)): path.read_bytes() for path in sorted(dataset.rglob("part-*.parquet"))}


def timed(root: Path, sizes: tuple[int, int], rounds: int) -> tuple[dict[str, list[float]], bool]:
    """Seconds of every round of "graph N" and "loop N" for both sizes, and whether both wrote the same bytes."""
    import ray

    from base import ray_session

    manifest = write_sprites(root / "sprites", World(), sizes[1], seed=0)
    parts = plan_clips(RECIPE, str(manifest))
    ray.init(num_cpus=CORES, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    ray_session.connect()
    runs: dict[str, Callable[[], float]] = {}
    for size in sizes:
        loop = prepare(root / str(size), parts[: size // RECIPE.store.clips_a_part])
        assert loop.rows == size, (loop.rows, size)
        runs[f"graph {size}"] = partial(graph_seconds, into(loop, root / f"graph-{size}"))
        runs[f"loop {size}"] = partial(loop_seconds, into(loop, root / f"loop-{size}"), CORES)
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for who in ("graph", "loop"):
        print(f"{who:5} to warm up {runs[f'{who} {sizes[0]}']():6.1f} s", flush=True)
    for _ in range(rounds):
        for name, run in runs.items():
            seconds[name].append(run())
            print(f"{name:16} {seconds[name][-1]:6.1f} s", flush=True)
    ray.shutdown()
    return seconds, all(bytes_of(root / f"graph-{size}") == bytes_of(root / f"loop-{size}") for size in sizes)


def main() -> None:
    """Measure and report."""
    parser = arguments(__doc__)
    whole = RECIPE.store.clips_a_part * CORES
    parser.add_argument("--clips", type=int, nargs=2, default=(whole, 3 * whole), help=f"few and many: whole {whole}s")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    few, many = options.clips
    if few % whole or many % whole or not 0 < few < many:
        parser.error(f"--clips {few} {many}: few before many, each a multiple of {whole} (a whole part for each core)")
    with tempfile.TemporaryDirectory() as folder:
        rounds, same = timed(Path(folder), (few, many), options.rounds)
    seconds = {name: median(found) for name, found in rounds.items()}
    clips_a_s = {who: (many - few) / (seconds[f"{who} {many}"] - seconds[f"{who} {few}"]) for who in ("graph", "loop")}
    ratio = clips_a_s["graph"] / clips_a_s["loop"]
    figures = {
        "clips": [few, many],
        "rounds": options.rounds,
        "graph_to_loop": round(ratio, 3),
        "clips_per_s": {who: round(speed, 2) for who, speed in clips_a_s.items()},
        "start_up_s": {who: round(seconds[f"{who} {few}"] - few / speed, 1) for who, speed in clips_a_s.items()},
        "scheduling_ms_a_clip": round(1000 * CORES * (1 / clips_a_s["graph"] - 1 / clips_a_s["loop"]), 1),
        "seconds": {name: [round(value, 1) for value in found] for name, found in rounds.items()},
    }
    report("graph", figures, {">= 0.9 of the loop's clips a second": ratio >= 0.9, "the same bytes": same})


if __name__ == "__main__":
    main()
