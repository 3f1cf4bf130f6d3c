"""A run, its dataset and the training loader at 10,000, 100,000 and 1,000,000 clips: what grows with their number.

    python -m benchmarks.scale [--clips 10000 100000 1000000] [--save]

Everything is real except what costs pixels: the manifest (a CSV, one video and one caption a clip), the plan, the Ray
graph with its actors and its decode processes, the parts with their seals, rejects, the text pass, the settlement; then
a listing, `stats`, a view with a rule, and the loader of a training run up to its first batch. Videos are files of some
bytes that hold their own name, their facts are already among the sources, the decoder fills frames of 64 x 64 with a
grey (one of 97 fails), and the features take a pixel of each cell. A block has eight clips, as many as the paper's size
has in 64 MB. So what is measured is what surrounds decoding and models.

Each size runs in a process of its own, and what reads the dataset in another. Phases are told apart by what the run
asks of its executor. A phase's memory is the kernel's peak (VmHWM, reset between phases) of the driver; a start is the
time from asking for a graph to its first part, when workers start and import. The cost of a clip is the processor time
of all processes in all phases but the starts, so that other work on the machine hardly changes it; seconds are those of
the clock. Everything is in the page cache.
"""

import json
import tempfile
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from base.storage.folder import Folder
from benchmarks.family import Family, watched_family
from benchmarks.plan import names, write_manifest, write_sources
from benchmarks.processes import fresh, peak_megabytes, reset_peak
from benchmarks.report import arguments, report
from benchmarks.stand_in_frames import FAIL_EVERY
from benchmarks.stand_ins import GreyHeatmaps, GreyLatents, LengthText
from benchmarks.store import watched_store
from dataset.parts.listing import list_entries
from dataset.view import View
from diffusion.schedule import Schedule
from pipeline.curation.stats import read_stats
from pipeline.graph.executor import ClipPass, ProbePass, TextPass
from pipeline.graph.ray_executor import RayExecutor
from pipeline.recipes import Preprocess, Resources
from pipeline.run.job import Job
from pipeline.run.run import Run
from pipeline.video.process.worker import DecodeLimits
from pipeline.video.sampling import Sampling
from training.data.artifacts import Artifacts
from training.data.loader import Batches, BatchPlan, Share
from training.data.source import Source

CORES = 2
FOLDERS = ("sources", "clips", "rejects", "latents", "heatmaps", "text")
BATCH = 64
RECIPE = Preprocess(
    sampling=Sampling(frames=2, min_stride=1, max_stride=1),
    height=64,
    width=64,
    features={"latents": GreyLatents(), "heatmaps": GreyHeatmaps(), "text": LengthText()},
    # The stand-in leaks nothing, so its process may live longer; starting one costs as much as a thousand of its clips.
    decode=DecodeLimits(decoders=("benchmarks.stand_in_frames:fill",), clips_a_child=20_000),
    resources=Resources(device="cpu", clips_a_block=8),
)
Item = TypeVar("Item")


def make(root: Path, clips: int) -> None:
    """A manifest of videos that hold their own name, and a dataset that knows all of them."""
    paths = list(names(clips, str(root / "videos")))
    for path in map(Path, paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(str(path).encode())
    write_manifest(root / "manifest.csv", clips, str(root / "videos"))
    write_sources(Folder(str(root / "dataset")), paths)


class Phases:
    """Seconds, processor seconds of the driver and of all processes, and the driver's peak of memory, between marks."""

    def __init__(self, family: Family) -> None:
        self.found: dict[str, dict[str, float]] = {}
        self.family = family
        self._begin()

    def _begin(self) -> None:
        reset_peak()
        self._wall, self._cpu, self._all_cpu = time.perf_counter(), time.process_time(), self.family.cpu_seconds()

    def mark(self, name: str) -> None:
        """The phase of this name ends here."""
        self.found[name] = {
            "seconds": round(time.perf_counter() - self._wall, 2),
            "cpu_seconds": round(time.process_time() - self._cpu, 2),
            "all_cpu_seconds": round(self.family.cpu_seconds() - self._all_cpu, 2),
            "megabytes": round(peak_megabytes()),
        }
        self._begin()


class Timed:
    """The Ray executor; marks when a pass is asked for, when its first part is there, and when it ends."""

    def __init__(self, phases: Phases) -> None:
        self.phases = phases
        self.inner = RayExecutor(RECIPE.resources, "simulated")
        self.stage_seconds = self.inner.stage_seconds

    def probe(self, job: ProbePass) -> Generator[int, None, None]:
        """Every source is known."""
        raise AssertionError(job)

    def compute_clips(self, job: ClipPass) -> Generator[pa.Table, None, None]:
        """The clip graph."""
        self.phases.mark("plan")
        yield from self._watched("clips", self.inner.compute_clips(job))

    def encode_text(self, job: TextPass) -> Generator[int, None, None]:
        """The text graph."""
        self.phases.mark("captions")
        yield from self._watched("text", self.inner.encode_text(job))

    def _watched(self, name: str, parts: Generator[Item, None, None]) -> Generator[Item, None, None]:
        yield next(parts)
        self.phases.mark(f"{name}_start")
        yield from parts
        self.phases.mark(name)


def one_run(root: Path) -> dict[str, Any]:
    """The measured process: a run on a Ray of its own."""
    import ray

    ray.init(num_cpus=CORES, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    with watched_store(every_s=0.25) as store, watched_family(every_s=2) as family:
        phases = Phases(family)
        executor = Timed(phases)
        account = Run(job(root), lambda line: None, executor).execute()
        phases.mark("account")
    ray.shutdown()
    assert account.complete
    return {
        "written": account.written,
        "failed": account.failed,
        "captions": account.captions,
        "seconds": round(account.seconds),
        "driver_megabytes": max(phase["megabytes"] for phase in phases.found.values()),
        "store_megabytes": round(store.used / 1e6),
        "spilled_megabytes": round(store.spilled / 1e6),
        "stage_seconds": {name: round(seconds, 1) for name, seconds in account.stage_seconds.items()},
        "phases": phases.found,
    }


def job(root: Path) -> Job:
    """The measured job."""
    return Job(RECIPE, str(root / "manifest.csv"), Folder(str(root / "dataset")))


def one_reading(root: Path) -> dict[str, Any]:
    """The measured process that reads: listing, stats, a view, and a training run's first batch."""
    dataset = Folder(str(root / "dataset"))
    View(dataset.uri, ("latents", "heatmaps", "text"), ("mean_intensity>=0.1",)).save(Folder(str(root)), "view.json")
    phases = Phases(Family())
    listed = list_entries(dataset, FOLDERS)
    phases.mark("listing")
    stats = read_stats(dataset)
    phases.mark("stats")
    chosen = View.load(Folder(str(root)), "view.json").clips(("clip_id",)).num_rows
    phases.mark("view")
    source = Source(str(root / "view.json"), Artifacts())
    phases.mark("source")
    batches = Batches([source], BatchPlan(BATCH, 0, Schedule()), Share(0, 1, BATCH))
    first = batches.make(0)
    phases.mark("first_batch")
    assert len(source) == chosen
    assert sum(len(batch.fps) for batch in first.micro_batches) == BATCH
    return {
        "clips": stats.clips,
        "chosen": chosen,
        "files": {folder: len(entries) for folder, entries in listed.items()},
        "megabytes": round(sum(entry.size for entries in listed.values() for entry in entries) / 1e6),
        "phases": phases.found,
    }


def measure(clips: int) -> dict[str, Any]:
    """One size."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make(root, clips)
        run = fresh("benchmarks.scale", "--only-run", root)
        read = fresh("benchmarks.scale", "--only-read", root)
    failed = -(-clips // FAIL_EVERY)
    assert (run["written"], run["failed"]) == (clips - failed, failed), run
    assert read["clips"] == clips - failed, read
    phases = run["phases"]
    steady = [phase for name, phase in phases.items() if not name.endswith("_start")]
    run["ms_a_clip"] = round(1000 * sum(phase["seconds"] for phase in steady) / clips, 3)
    run["cpu_ms_a_clip"] = round(1000 * sum(phase["all_cpu_seconds"] for phase in steady) / clips, 3)
    run["driver_cpu_ms_a_clip"] = round(1000 * phases["clips"]["cpu_seconds"] / clips, 3)
    found = {"run": run, "read": read}
    print(f"{clips:,} clips: {json.dumps(found)}", flush=True)
    return found


def rows(found: dict[str, Any]) -> dict[str, str]:
    """One size as the cells of a column."""
    run, read = found["run"], found["read"]
    phase = {**run["phases"], **read["phases"]}
    cells = {
        "plan, twice, and its work file": f"{phase['plan']['seconds']:.0f} s",
        "clip graph": f"{phase['clips']['seconds']:.0f} s, after {phase['clips_start']['seconds']:.0f} s to start",
        "captions without states": f"{phase['captions']['seconds']:.1f} s",
        "text graph": f"{phase['text']['seconds']:.0f} s, after {phase['text_start']['seconds']:.0f} s to start",
        "last plan, account": f"{phase['account']['seconds']:.0f} s",
        "cost of a clip": f"{run['cpu_ms_a_clip']:.2f} ms of a core",
        "of it the driver's, in the clip graph": f"{run['driver_cpu_ms_a_clip']:.2f} ms of a core",
        "time of a clip": f"{run['ms_a_clip']:.2f} ms",
        "memory of the driver": f"{run['driver_megabytes']:,} MB",
        "object store, spilled": f"{run['store_megabytes']:,} MB, {run['spilled_megabytes']:,} MB",
        "files of parts": f"{sum(read['files'].values()):,}, {read['megabytes']:,} MB",
    }
    names = {"listing": "listing", "stats": "stats", "view": "view", "source": "dataset of a training run"}
    seconds = {title: f"{phase[name]['seconds']:.2f} s" for name, title in names.items()}
    return cells | seconds | {"first batch after that": f"{phase['first_batch']['seconds']:.2f} s"}


def table(by_clips: dict[int, dict[str, Any]]) -> str:
    """All sizes as a table for docs/scale.md."""
    columns = [rows(found) for found in by_clips.values()]
    lines = [["", *(f"{clips:,}" for clips in by_clips)], ["---", *("--:" for _ in by_clips)]]
    lines += [[title, *(column[title] for column in columns)] for title in columns[0]]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main() -> None:
    """Measure and report."""
    parser = arguments(__doc__)
    parser.add_argument("--clips", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--only-run", type=Path, help="run the manifest of this folder and stop")
    parser.add_argument("--only-read", type=Path, help="read the dataset of this folder and stop")
    options = parser.parse_args()
    only: dict[Callable[[Path], dict[str, Any]], Path | None] = {
        one_run: options.only_run,
        one_reading: options.only_read,
    }
    for function, root in only.items():
        if root is not None:
            print(json.dumps(function(root)))
            return
    sizes = sorted(options.clips)
    found = {clips: measure(clips) for clips in sizes}
    few, many = found[sizes[0]], found[sizes[-1]]
    measures = ("driver_megabytes", "cpu_ms_a_clip", "ms_a_clip")
    ratios = {name: many["run"][name] / few["run"][name] for name in measures}
    goals = {
        "driver memory <= 1.5x": ratios["driver_megabytes"] <= 1.5,
        "cost of a clip <= 1.2x": ratios["cpu_ms_a_clip"] <= 1.2,
        "nothing spilled": not any(size["run"]["spilled_megabytes"] for size in found.values()),
    }
    print(table(found))
    figures = {"by_clips": found, "ratios": {name: round(ratio, 2) for name, ratio in ratios.items()}}
    report("scale", figures, goals)


if __name__ == "__main__":
    main()
