"""Planning a grown manifest: how long `--dry-run` takes on a million rows of which 900,000 are in the dataset.

    python -m benchmarks.plan [--rows 1000000] [--local-rows 100000] [--many-rows 10000000] [--save]

The dataset is written with the project's own planner and schemas: every source is known, in parts as large as a probe
leaves them; nine tenths of the manifest are written clips, in parts of 256; the artifacts of clips are there without
values, for a plan reads nothing of them but their footers. The dry run then happens in a process of its own and must
say "reuse 900,000, compute 100,000". Seconds count from that process's start, Python's and all imports with it.

The million rows are ``s3://`` videos: their stamps are trusted, so nothing is asked of the store. What a local file
costs beyond that, one ``stat``, is measured on fewer rows with files that exist (of one byte, in folders of a
thousand), against as many rows of ``s3://``. Everything is in the page cache. With ``--many-rows`` that many are
planned, too, by the same rules; to make ten million takes a quarter of an hour and 6 GB of disk.
"""

import hashlib
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv

from base.storage.folder import Folder
from benchmarks.processes import fresh, peak_megabytes, seconds_since_start
from benchmarks.report import arguments, report
from dataset.identity import part_name
from dataset.ledger import Ledger, Sources
from dataset.parts.tables import FACTS, SOURCES, StoreOptions, write_part
from pipeline.graph.executor import SOURCES_A_TASK
from pipeline.manifest import ManifestColumns, read_manifest
from pipeline.manifest.stamps import stamp_all
from pipeline.planning.artifacts import choose_targets
from pipeline.planning.plan import Planner
from pipeline.planning.sinks import DryRun
from pipeline.recipes import Preprocess, sprites
from pipeline.run.job import Job
from pipeline.run.probing import PARTS_A_MERGE
from pipeline.run.run import Run

WRITTEN_SHARE = 0.9
SOURCES_A_PART = PARTS_A_MERGE * SOURCES_A_TASK  # what a probe leaves
REMOTE = "s3://videos/of/some/archive"


def recipe() -> Preprocess:
    """The toy recipe (it needs no weights) with the sampling and the parts of the paper's."""
    toy = sprites()
    return Preprocess(features=toy.features, height=toy.height, width=toy.width)


class Writer(DryRun):
    """A sink that writes planned clips as if they were computed."""

    def __init__(self, dataset: Folder, folders: list[str]) -> None:
        self.dataset = dataset
        self.folders = folders

    def clips(self, part: str, rows: pa.Table) -> None:
        """One part, and artifacts beside it without values: a plan reads their footers."""
        rows = rows.append_column("decoder", pa.array(["pyav"] * len(rows)))
        write_part(self.dataset / "clips", part, rows, FACTS, {})
        for folder in self.folders:
            write_part(self.dataset / folder, part, rows.select(["clip_id"]), StoreOptions(), {})


def names(rows: int, root: str) -> Iterator[str]:
    """Paths of that many videos, a thousand in a folder."""
    return (f"{root}/{number // 1000:06d}/{number:09d}.mp4" for number in range(rows))


def write_videos(paths: Iterator[str]) -> None:
    """Files of one byte."""
    for path in map(Path, paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"v")


def write_manifest(path: Path, rows: int, root: str) -> None:
    """A CSV with captions of usual length."""
    captions = [f"a person in a red coat walks past shop number {n} while a tram turns the corner" for n in range(rows)]
    pa.csv.write_csv(pa.table({"video": list(names(rows, root)), "caption": captions}), path)


def write_sources(dataset: Folder, uris: list[str]) -> None:
    """Facts of videos of 2 to 40 seconds, as probing writes them."""
    stamps = stamp_all(uris)
    for start in range(0, len(uris), SOURCES_A_PART):
        some = uris[start : start + SOURCES_A_PART]
        contents = [hashlib.blake2b(uri.encode(), digest_size=16).hexdigest() for uri in some]
        facts: dict[str, Any] = {"fps": 25.0, "turns": 0, "variable_rate": False, "pixel_aspect": 1.0}
        facts |= {"height": 720, "width": 1280, "codec": "h264", "pixel_format": "yuv420p", "size": 1 << 20}
        facts |= {"container": "mov,mp4,m4a,3gp,3g2,mj2"}
        columns: dict[str, list[Any]] = {name: [facts.get(name)] * len(some) for name in SOURCES.names}
        columns |= {"uri": some, "content": contents, "frames": [50 + int(one[:4], 16) % 950 for one in contents]}
        columns["stamp"] = [stamp or "" for stamp in stamps[start : start + SOURCES_A_PART]]
        table = pa.table([columns[name] for name in SOURCES.names], schema=SOURCES)
        write_part(dataset / "sources", part_name("sources", some[:1]), table, FACTS, {"order": "0"})


def make(root: Path, rows: int, videos: str) -> None:
    """A manifest of ``rows`` and the dataset that holds the clips of its first nine tenths."""
    dataset = Folder(str(root / "dataset"))
    write_manifest(root / "manifest.csv", rows, videos)
    write_sources(dataset, list(names(rows, videos)))
    targets = choose_targets(recipe(), dataset)
    targets.catalog.write(dataset)
    sink = Writer(dataset, [target.folder for target in targets.clips])
    planner = Planner(recipe(), Ledger(), Sources.read(dataset), sink, limit=int(rows * WRITTEN_SHARE))
    planner.run(read_manifest(str(root / "manifest.csv"), ManifestColumns()))


def dry_run(root: Path) -> dict[str, Any]:
    """The measured process: plan, and what it took."""
    lines: list[str] = []
    job = Job(recipe(), str(root / "manifest.csv"), Folder(str(root / "dataset")))
    before, busy = seconds_since_start(), time.process_time()
    plan = Run(job, lines.append).dry_run()
    whole = seconds_since_start()
    return {
        "seconds": round(whole, 2),
        "plan_seconds": round(whole - before, 2),
        "plan_cpu_seconds": round(time.process_time() - busy, 2),
        "peak_megabytes": round(peak_megabytes()),
        "reuse": plan.reused,
        "compute": plan.to_compute,
        "said": lines,
    }


def measure(rows: int, *, local: bool) -> dict[str, Any]:
    """Make a dataset, plan it in a fresh process, and check the plan."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        videos = str(root / "videos") if local else REMOTE
        if local:
            write_videos(names(rows, videos))
        make(root, rows, videos)
        found = fresh("benchmarks.plan", "--only-plan", root)
    written = int(rows * WRITTEN_SHARE)
    assert (found["reuse"], found["compute"]) == (written, rows - written), found
    said = " ".join(found.pop("said"))
    assert f"reuse {written:,}, compute {rows - written:,}" in said, said
    print(f"{rows:,} rows, {'local' if local else 's3'}: {found}", flush=True)
    return found


def main() -> None:
    """Measure and report."""
    parser = arguments(__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--local-rows", type=int, default=100_000)
    parser.add_argument("--many-rows", type=int, default=0)
    parser.add_argument("--only-plan", type=Path, help="plan this folder's manifest and stop (the measured process)")
    options = parser.parse_args()
    if options.only_plan:
        print(json.dumps(dry_run(options.only_plan)))
        return
    large = measure(options.rows, local=False)
    fewer, local = measure(options.local_rows, local=False), measure(options.local_rows, local=True)
    stat = (local["plan_cpu_seconds"] - fewer["plan_cpu_seconds"]) / options.local_rows
    figures = {
        "rows": options.rows,
        **large,
        "cpu_microseconds_a_row": round(1e6 * large["plan_cpu_seconds"] / options.rows, 1),
        "local": {
            "rows": options.local_rows,
            "remote": fewer,
            "local": local,
            "cpu_microseconds_a_stat": round(1e6 * stat, 1),
        },
    }
    goals = {"<= 8 s": large["seconds"] <= 8, "<= 1 GB": large["peak_megabytes"] <= 1000}
    if options.many_rows:
        many = measure(options.many_rows, local=False)
        figures["many"] = {"rows": options.many_rows, **many}
        goals |= {"many: <= 90 s": many["seconds"] <= 90, "many: <= 3 GB": many["peak_megabytes"] <= 3000}
    report("plan", figures, goals)


if __name__ == "__main__":
    main()
