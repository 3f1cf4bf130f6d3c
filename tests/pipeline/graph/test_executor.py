"""That a run ends, whatever is already there; in this process, without Ray."""

import gc
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from base.errors import Incomplete, TooManyFailures
from base.storage.folder import Folder
from dataset.parts.tables import StoreOptions, part_names, read_parts
from pipeline.featurizers.text import HashedTextStates
from pipeline.graph import graph, layout, pacing
from pipeline.graph.executor import SOURCES_A_TASK, ClipPass, ProbePass
from pipeline.graph.tasks import end_video_worker, video_worker
from pipeline.graph.work import WorkFile, read_work
from pipeline.planning.plan import Planner
from pipeline.recipes import Preprocess, Resources
from pipeline.run.accounting import Account
from pipeline.run.job import Job
from pipeline.run.run import Run
from pipeline.video.process.worker import DecodeLimits
from pipeline.video.sampling import Sampling
from tests.pipeline.conftest import Preprocessing, part_bytes
from tests.pipeline.features import Brightness, Moody
from tests.pipeline.in_process import InProcess
from tests.processes import children
from tests.videos import pictures, write

TINY = Preprocess(
    sampling=Sampling(frames=4, max_stride=1),
    height=64,
    width=64,
    features={"brightness": Brightness()},
    store=StoreOptions(4, 2),
    captions="optional",
)


def recipe(**features: object) -> Preprocess:
    return replace(TINY, features=features)  # type: ignore[arg-type]


class Bounded(InProcess):
    """Fails where a run wants more passes than it can need."""

    def __init__(self, limit: int = 8) -> None:
        super().__init__()
        self.limit = limit

    def compute_clips(self, job: ClipPass) -> Generator[pa.Table, None, None]:
        assert self.passes < self.limit, "the run repeats its passes"
        yield from super().compute_clips(job)


class Idle(Bounded):
    """Says that it did the work, and did nothing."""

    def compute_clips(self, job: ClipPass) -> Generator[pa.Table, None, None]:
        if job.writer.adds_to_clips:
            self.passes += 1
            assert self.passes < self.limit, "the run repeats its passes"
        else:
            yield from super().compute_clips(job)


class Watching(InProcess):
    """Notes how large the parts of the sources' work are, and how many planners are held while clips are computed."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[int] = []
        self.planners: list[int] = []

    def probe(self, job: ProbePass) -> Generator[int, None, None]:
        with pa.ipc.open_file(job.work) as work:
            self.sources = [work.get_batch(part).num_rows for part in range(work.num_record_batches)]
        yield from super().probe(job)

    def compute_clips(self, job: ClipPass) -> Generator[pa.Table, None, None]:
        self.planners.append(sum(type(found) is Planner for found in gc.get_objects()))
        yield from super().compute_clips(job)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two folders of eight videos; their decode child ends with them."""
    folder = tmp_path_factory.mktemp("videos")
    for number in range(16):
        frames = pictures(6, 64, 64)
        frames[:, 32:, 32:] = 12 * number
        place = folder / ("first" if number < 8 else "second")
        place.mkdir(exist_ok=True)
        write(place / f"{number}.mp4", frames)
    yield folder
    end_video_worker()


def test_a_process_keeps_one_decode_child(videos: Path) -> None:
    """A Ray worker goes from run to run; a child with the limits of an earlier one would stay behind."""
    before = children("pipeline.video.process.child")
    for memory_mb in (1024, 2048, 2048):
        video_worker(DecodeLimits(memory_mb=memory_mb)).probe(str(videos / "first" / "0.mp4"))
        assert len(children("pipeline.video.process.child") - before) == 1
    end_video_worker()
    assert children("pipeline.video.process.child") <= before


def execute(manifest: Path, dataset: Path, recipe: Preprocess, executor: InProcess | None = None) -> Account:
    job = Job(recipe, str(manifest), Folder(str(dataset)))
    return Run(job, lambda line: None, executor or Bounded()).execute()


def test_parts_that_lack_different_artifacts_are_each_done_once(videos: Path, tmp_path: Path) -> None:
    """The second group's work used to lie under the first one's name, and readers that knew the name read the first."""
    dataset = tmp_path / "d"
    execute(videos / "first", dataset, recipe(brightness=Brightness(), text=HashedTextStates()))
    execute(videos / "second", dataset, recipe(brightness=Brightness(2.0), text=HashedTextStates()))
    wanted = recipe(brightness=Brightness(), moody=Moody(mood="nan"), text=HashedTextStates())
    account = execute(videos, dataset, wanted)
    assert (account.reused, account.planned, account.complete) == (16, 0, True)
    for folder in ("brightness", "moody"):
        assert part_names(Folder(str(dataset / folder))) == part_names(Folder(str(dataset / "clips")))


def test_a_task_reads_the_sources_it_probes_and_no_others(tmp_path: Path) -> None:
    """All sources used to be one row group, which every task read: a cost that grew with the square of the sources."""
    count = SOURCES_A_TASK + 3
    rows = [f"{number}.mp4,c" for number in range(count)]
    (tmp_path / "m.csv").write_text("\n".join(["video,caption", *rows]))
    watching = Watching()
    with pytest.raises(TooManyFailures):  # no such files
        execute(tmp_path / "m.csv", tmp_path / "d", recipe(brightness=Brightness()), watching)
    assert watching.sources == [SOURCES_A_TASK, 3]
    probed = read_parts(Folder(str(tmp_path / "d" / "sources")), ["uri"]).column("uri").to_pylist()
    assert sorted(probed) == sorted(str(tmp_path / f"{number}.mp4") for number in range(count))


def test_no_planner_is_held_while_clips_are_computed(videos: Path, tmp_path: Path) -> None:
    """A planner holds all slots of a dataset: of a million clips a gigabyte, and a run makes three."""
    watching = Watching()
    execute(videos, tmp_path / "d", recipe(brightness=Brightness()), watching)
    assert watching.planners == [0]


@pytest.mark.slow
def test_ray_writes_the_same_bytes(preprocess_on_ray: Preprocessing, videos: Path, tmp_path: Path) -> None:
    """What holds of runs in this process holds of runs on Ray."""
    steps = (
        ("first", 2, recipe(brightness=Brightness(), text=HashedTextStates())),
        ("second", 1, recipe(brightness=Brightness(2.0), text=HashedTextStates())),
        ("", 1, recipe(brightness=Brightness(), moody=Moody(mood="nan"), text=HashedTextStates())),
    )
    for folder, featurizers, features in steps:
        wanted = replace(features, resources=Resources(featurizers=featurizers))
        execute(videos / folder, tmp_path / "here", wanted)
        account = preprocess_on_ray(videos / folder, tmp_path / "ray", wanted)
        assert account.complete
        assert {"decode", "featurize", "write"} <= account.stage_seconds.keys()
        assert part_bytes(tmp_path / "ray") == part_bytes(tmp_path / "here")


@pytest.mark.slow
def test_several_graphs_and_reading_tasks_write_what_one_writes(
    preprocess_on_ray: Preprocessing, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "BLOCKS_A_GRAPH", 2)
    monkeypatch.setattr(graph, "PARTS_A_READ", 1)
    monkeypatch.setattr(pacing, "MOST_WAITING", 1)
    assert len(layout.split_rows(16, 4, 4)) == 2
    wanted = replace(recipe(brightness=Brightness(), moody=Moody(mood="raises", low=0, high=90)), max_failed=1.0)
    here, on_ray = execute(videos, tmp_path / "here", wanted), preprocess_on_ray(videos, tmp_path / "ray", wanted)
    assert here.written == on_ray.written > 4
    assert here.failed == on_ray.failed > 0
    assert part_bytes(tmp_path / "ray") == part_bytes(tmp_path / "here")


def test_a_pass_that_brings_nothing_ends_the_run(videos: Path, tmp_path: Path) -> None:
    execute(videos / "first", tmp_path / "d", recipe(brightness=Brightness()))
    both = recipe(brightness=Brightness(), moody=Moody(mood="nan"))
    with pytest.raises(Incomplete, match=r"d: a pass over 2 parts did not write moody") as caught:
        execute(videos / "first", tmp_path / "d", both, Idle())
    assert caught.value.exit_code == 5


def test_no_two_work_files_have_one_name(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    schema = pa.schema([("id", pa.int64())])
    for number in range(2):
        with WorkFile(folder, "run.clips", schema) as work:
            work.add(pa.table({"id": [number]}, schema=schema))
        assert read_work(work.uri, [0]).column("id").to_pylist() == [number]
        work.delete()
