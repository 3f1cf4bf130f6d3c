import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from base.errors import InputError, StorageError, TooManyFailures
from base.storage.folder import Folder
from dataset.catalog import Catalog
from dataset.heatmap.normalisation import Normalisation
from dataset.ledger import Ledger
from dataset.lock import WriteLock
from dataset.parts.part_file import read_part
from dataset.parts.schema import Column
from dataset.parts.tables import StoreOptions
from pipeline.featurizers.heatmaps import Heatmaps
from pipeline.manifest import ManifestColumns
from pipeline.motion.flow import Dis
from pipeline.planning.plan import Retry
from pipeline.recipes import Preprocess
from pipeline.run.context import make_plan
from pipeline.run.job import Job, RetryFilter
from pipeline.run.run import Run
from pipeline.video.process.worker import DecodeLimits
from tests.pipeline.conftest import SMALL, Preprocessing, last_record, part_bytes, reject_rows
from tests.pipeline.features import Brightness, Moody
from tests.videos import pictures, write, write_audio


def ids(dataset: Path, folder: str = "clips") -> list[str | None]:
    return [
        i
        for path in sorted((dataset / folder).iterdir())
        for i in pq.read_table(path, columns=["clip_id"])[0].to_pylist()
    ]


def with_feature(name: str, feature: object) -> Preprocess:
    return replace(SMALL, features=SMALL.features | {name: feature})  # type: ignore[dict-item]


def only(**features: object) -> Preprocess:
    return replace(SMALL, features=features)  # type: ignore[arg-type]


def test_a_first_run(sprites_dataset: Path) -> None:
    assert len(set(ids(sprites_dataset))) == 16
    for folder in ("heatmaps", "latents"):
        names = [path.name for path in sorted((sprites_dataset / folder).iterdir())]
        assert names == [path.name for path in sorted((sprites_dataset / "clips").iterdir())]
        assert ids(sprites_dataset, folder) == ids(sprites_dataset)
    record = last_record(sprites_dataset)
    assert (record["planned"], record["written"], record["failed"], record["complete"]) == (16, 16, 0, True)
    assert record["versions"]["ray"].startswith("2.60")
    assert not list(sprites_dataset.rglob("*.tmp"))
    assert [path.name for path in (sprites_dataset / "runs").iterdir() if path.suffix != ".json"] == []


def test_heatmaps_light_up_where_the_sprites_move(sprites_dataset: Path, sprites_folder: Path) -> None:
    import csv

    rows = list(csv.DictReader((sprites_folder / "manifest.csv").read_text().splitlines()))
    flows = {str(sprites_folder / row["video"]): sprites_folder / row["flow"] for row in rows}
    overlap = union = 0.0
    for path in sorted((sprites_dataset / "heatmaps").iterdir()):
        table = pq.read_table(path)
        heatmaps = Column.of(table.schema.field("heatmap")).to_numpy(table["heatmap"])
        clips = pq.read_table(sprites_dataset / "clips" / path.name, columns=["uri", "first"]).to_pylist()
        for heatmap, clip in zip(heatmaps, clips, strict=True):
            flow = np.load(flows[clip["uri"]])["flow"][clip["first"] : clip["first"] + 8]
            moving = np.hypot(flow[..., 0], flow[..., 1]) > 4
            truth = moving.reshape(8, 8, 32, 8, 32).mean(axis=(2, 4)) > 0.5
            lit = heatmap > 127
            overlap += (lit & truth).sum()
            union += (lit | truth).sum()
    assert overlap / union > 0.5


def test_a_second_run_does_nothing(
    preprocess: Preprocessing, sprites_dataset: Path, sprites_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.stat().st_mtime_ns for path in sprites_dataset.rglob("part-*")}
    account = preprocess(sprites_folder / "manifest.csv", sprites_dataset)
    assert (account.planned, account.written, account.reused) == (0, 0, 16)
    assert {path: path.stat().st_mtime_ns for path in sprites_dataset.rglob("part-*")} == before


def test_the_same_videos_elsewhere_are_known(
    preprocess: Preprocessing, sprites_dataset: Path, sprites_folder: Path, tmp_path: Path
) -> None:
    dataset = tmp_path / "dataset"
    shutil.copytree(sprites_dataset, dataset)
    shutil.copytree(sprites_folder / "videos", tmp_path / "moved")
    account = preprocess(tmp_path / "moved", dataset)
    assert (account.written, account.planned) == (0, 0)
    assert len(ids(dataset)) == 16


def test_two_runs_write_the_same_bytes(
    preprocess: Preprocessing, sprites_dataset: Path, sprites_folder: Path, tmp_path: Path
) -> None:
    preprocess(sprites_folder / "manifest.csv", tmp_path / "again")
    assert part_bytes(tmp_path / "again") == part_bytes(sprites_dataset)


def test_more_videos_are_added(preprocess: Preprocessing, sprites_folder: Path, tmp_path: Path) -> None:
    lines = (sprites_folder / "manifest.csv").read_text().splitlines()
    manifest = sprites_folder / "some.csv"
    manifest.write_text("\n".join(lines[:6]))
    dataset = tmp_path / "dataset"
    assert preprocess(manifest, dataset, only(brightness=Brightness())).written == 5
    before = part_bytes(dataset)
    manifest.write_text("\n".join(lines[:10]))
    account = preprocess(manifest, dataset, only(brightness=Brightness()))
    manifest.unlink()
    assert (account.reused, account.written) == (5, 4)
    assert before.items() <= part_bytes(dataset).items()


def test_adding_an_artifact_computes_only_that(
    preprocess_on_ray: Preprocessing, sprites_dataset: Path, sprites_folder: Path, tmp_path: Path
) -> None:
    dataset = tmp_path / "dataset"
    shutil.copytree(sprites_dataset, dataset)
    before = part_bytes(dataset)
    account = preprocess_on_ray(sprites_folder / "manifest.csv", dataset, with_feature("brightness", Brightness()))
    assert (account.planned, account.artifacts_added) == (0, 16)
    assert set(account.stage_seconds) == {"decode", "featurize", "write"}
    assert ids(dataset, "brightness") == ids(dataset)
    assert before.items() <= part_bytes(dataset).items()


def test_no_artifact_of_another_video_beside_a_clip(
    preprocess: Preprocessing, bad_folder: Path, tmp_path: Path
) -> None:
    """A video is replaced after its clip was written: nothing of the new one goes beside the old clip."""
    lines = ["video,caption"]
    for number in range(3):
        shutil.copy(bad_folder / f"good{number}.mp4", tmp_path)
        lines.append(f"good{number}.mp4,c")
    (tmp_path / "m.csv").write_text("\n".join(lines))
    dataset = tmp_path / "d"
    preprocess(tmp_path / "m.csv", dataset, only(brightness=Brightness()))
    shutil.copy(bad_folder / "good4.mp4", tmp_path / "good1.mp4")
    recipe = replace(only(brightness=Brightness(), moody=Moody()), max_failed=0.5)
    account = preprocess(tmp_path / "m.csv", dataset, recipe)
    assert (account.written, account.artifacts_added) == (1, 3)
    (reject,) = reject_rows(dataset)
    assert (reject[2], reject[3], reject[6]) == (str(tmp_path / "good1.mp4"), "moody", "SourceChanged")
    assert sorted(i is None for i in ids(dataset, "moody")) == [False] * 3 + [True]


def test_another_heatmap_goes_beside_the_first(
    preprocess: Preprocessing, sprites_dataset: Path, sprites_folder: Path, tmp_path: Path
) -> None:
    dataset = tmp_path / "dataset"
    shutil.copytree(sprites_dataset, dataset)
    other = Heatmaps(flow=Dis(), both_ways=True, cell=16, normalisation=Normalisation("width"))
    said: list[str] = []
    job = Job(with_feature("heatmaps", other), str(sprites_folder / "manifest.csv"), Folder(str(dataset)))
    Run(job, said.append).dry_run()
    (line,) = [line for line in said if line.startswith("heatmaps-")]
    assert "compute 16; beside 'heatmaps', because normalisation.unit: diagonal -> width" in line
    preprocess(sprites_folder / "manifest.csv", dataset, job.recipe)
    (name,) = [name for name in Catalog.require(Folder(str(dataset))).artifacts if name.startswith("heatmaps-")]
    assert ids(dataset, name) == ids(dataset)
    assert part_bytes(sprites_dataset).items() <= part_bytes(dataset).items()


def test_another_size_is_another_dataset(sprites_dataset: Path, sprites_folder: Path) -> None:
    with pytest.raises(InputError, match=r"another configuration \(height: 128 -> 256\). Choose another --out"):
        Run(Job(replace(SMALL, height=256), str(sprites_folder), Folder(str(sprites_dataset))), print)


def test_a_dry_run_writes_nothing(sprites_folder: Path, tmp_path: Path) -> None:
    said: list[str] = []
    Run(Job(SMALL, str(sprites_folder / "manifest.csv"), Folder(str(tmp_path / "d"))), said.append).dry_run()
    assert any("probe 16" in line for line in said)
    assert not (tmp_path / "d").exists()


def test_a_limit(preprocess: Preprocessing, sprites_folder: Path, tmp_path: Path) -> None:
    recipe = only(brightness=Brightness())
    account = preprocess(sprites_folder / "manifest.csv", tmp_path / "d", recipe, limit=3)
    assert (account.planned, account.written, account.complete) == (3, 3, True)
    account = preprocess(sprites_folder / "manifest.csv", tmp_path / "d", recipe, limit=2)
    assert (account.reused, account.written) == (3, 2)


def test_the_plan_after_the_probe_leaves_out_what_the_limit_does(
    ray_cluster: None, bad_folder: Path, tmp_path: Path
) -> None:
    """A clip that the probe rejects makes room for another one, which this run has not probed and does not take."""
    manifest = tmp_path / "m.csv"
    manifest.write_text(
        "video,caption\n" + "".join(f"{bad_folder}/{name}.mp4,c\n" for name in ("text", "good0", "good1"))
    )
    recipe = replace(only(brightness=Brightness()), max_failed=0.5)
    said: list[str] = []
    account = Run(Job(recipe, str(manifest), Folder(str(tmp_path / "d")), limit=2), said.append).execute()
    plans = [line for line in said if line.startswith(("manifest", "sources", "clips"))]
    assert (account.written, account.failed, account.complete) == (1, 1, True)
    assert [line.split(None, 1)[1] for line in plans[:4]] == [
        "3 rows, 1 clips beyond --limit",
        "probe 2 (new or changed)",
        "reuse 0, compute 0, 2 more depend on the probe",
        "3 rows, 1 clips beyond --limit",
    ]
    assert plans[4].split(None, 1)[1] == "reuse 0, compute 1"


@pytest.fixture(scope="module")
def bad_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good videos among everything that can be wrong with one."""
    folder = tmp_path_factory.mktemp("bad")
    for number in range(6):
        frames = pictures(20, 128, 128)
        frames[:, 64:, 64:] = 30 * number
        write(folder / f"good{number}.mp4", frames)
    data = (folder / "good0.mp4").read_bytes()
    (folder / "headless.mp4").write_bytes(data[: data.index(b"moov") - 4])
    (folder / "zero.mp4").write_bytes(b"")
    (folder / "text.mp4").write_text("not a video\n" * 200)
    (folder / "wrong.avi").write_bytes(data)  # an mp4 in truth: the suffix does not matter
    write_audio(folder / "sound.m4a").rename(folder / "sound.mp4")
    write(folder / "short.mp4", pictures(5, 128, 128))
    lines = ["video,caption"]
    lines += [f"{path.name},a caption" for path in sorted(folder.glob("*.*"))]
    lines += ["good1.mp4,the same again", "gone.mp4,not there", "good2.mp4,", f"good3.mp4,{'long ' * 20_000}"]
    lines += ["good4.mp4,one,two,three"]
    (folder / "manifest.csv").write_text("\n".join(lines))
    return folder


EXPECTED = {
    "headless.mp4": ("failed", "probe", "NotAVideo"),
    "zero.mp4": ("failed", "probe", "EmptyFile"),
    "text.mp4": ("failed", "probe", "NotAVideo"),
    "sound.mp4": ("failed", "probe", "NoVideoStream"),
    "gone.mp4": ("failed", "probe", "MissingFile"),
    "short.mp4": ("filtered", "probe", "TooShort"),
    "wrong.avi": ("filtered", "manifest", "Duplicate"),
    "good2.mp4": ("failed", "manifest", "CaptionMissing"),
    "good3.mp4": ("failed", "manifest", "CaptionTooLong"),
}


def test_bad_input_becomes_rows_of_the_rejects(preprocess: Preprocessing, bad_folder: Path, tmp_path: Path) -> None:
    recipe = replace(only(brightness=Brightness()), max_failed=0.9)
    account = preprocess(bad_folder / "manifest.csv", tmp_path / "d", recipe)
    assert (account.planned, account.written, account.filtered, account.failed) == (17, 6, 3, 8)
    found = {Path(row[2]).name: row[4:7] for row in reject_rows(tmp_path / "d")}
    assert EXPECTED.items() <= found.items()
    assert all(row[7] for row in reject_rows(tmp_path / "d"))  # each has a message
    again = preprocess(bad_folder / "manifest.csv", tmp_path / "d", recipe)
    assert (again.planned, again.reused) == (0, 6)


def test_too_many_failures_stop_the_run_and_keep_what_is_done(
    preprocess: Preprocessing, bad_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(TooManyFailures, match=r"8 of 17 clips failed .* more than --max-failed 0.1"):
        preprocess(bad_folder / "manifest.csv", tmp_path / "d", only(brightness=Brightness()))
    assert len(ids(tmp_path / "d")) == 6


def test_failures_that_the_manifest_shows_stop_a_large_run_before_it_computes(
    preprocess: Preprocessing, sprites_folder: Path, tmp_path: Path
) -> None:
    manifest = tmp_path / "m.csv"
    video = sprites_folder / "videos" / "000000.mp4"
    manifest.write_text("video,caption\n" + "".join(f"{video},\n" for _ in range(300)))
    with pytest.raises(TooManyFailures, match=r"300 of 300 clips failed \(300 CaptionMissing\).*--captions optional"):
        preprocess(manifest, tmp_path / "d")


def test_decoders_that_hang_or_crash_cost_their_clips_and_no_other(
    preprocess: Preprocessing, bad_folder: Path, tmp_path: Path
) -> None:
    """The first decoder sleeps on one video and dies on another; their clips fail, the run goes on."""
    manifest = tmp_path / "m.csv"
    manifest.write_text("video,caption\n" + "".join(f"{bad_folder}/good{n}.mp4,c\n" for n in range(6)))
    limits = DecodeLimits(decoders=("tests.pipeline.decoders:hangs_on_good1_dies_on_good2",), deadline_s=3.0)
    recipe = replace(only(brightness=Brightness()), decode=limits, max_failed=0.5)
    account = preprocess(manifest, tmp_path / "d", recipe)
    assert (account.written, account.failed) == (4, 2)
    assert account.failures == {"decode: Timeout": 1, "decode: DecoderDied": 1}
    mended = replace(recipe, decode=DecodeLimits())
    account = preprocess(manifest, tmp_path / "d", mended, retry=RetryFilter(stage="decode", error="Timeout"))
    assert (account.written, account.failed) == (1, 0)
    account = preprocess(manifest, tmp_path / "d", mended, retry=RetryFilter())
    assert account.written == 1
    assert reject_rows(tmp_path / "d") == []
    assert len(set(ids(tmp_path / "d"))) == 6


@pytest.mark.parametrize(
    ("mood", "failure"),
    [
        ("raises", "featurize:moody: RuntimeError"),
        ("nan", "featurize:moody: NotFinite"),
        # This one asks for the Ray cluster by itself. It starts six workers, half a minute each on a busy machine.
        pytest.param(
            "kills",
            "featurize: WorkerDied",
            marks=[pytest.mark.slow, pytest.mark.xdist_group("ray"), pytest.mark.timeout(900)],
        ),
    ],
)
def test_a_feature_that_fails_on_one_clip(
    request: pytest.FixtureRequest, bad_folder: Path, tmp_path: Path, mood: str, failure: str
) -> None:
    preprocess: Preprocessing = request.getfixturevalue("preprocess_on_ray" if mood == "kills" else "preprocess")
    manifest = tmp_path / "m.csv"
    manifest.write_text("video,caption\n" + "".join(f"{bad_folder}/good{n}.mp4,c\n" for n in range(6)))
    preprocess(manifest, tmp_path / "plain", only(brightness=Brightness()))
    table = pq.read_table(tmp_path / "plain" / "brightness")
    third = sorted(table["brightness"].to_pylist())[2]
    feature = Moody(mood=mood, low=third - 0.01, high=third + 0.01)
    recipe = replace(only(brightness=Brightness(), moody=feature), max_failed=0.5)
    account = preprocess(manifest, tmp_path / "d", recipe)
    assert (account.written, account.failed, account.complete) == (5, 1, True)
    assert account.failures == {failure: 1}
    # Added later to a dataset that has the clip, it becomes a row of nulls there.
    account = preprocess(manifest, tmp_path / "plain", recipe)
    assert account.artifacts_added == 6
    assert sorted(i is None for i in ids(tmp_path / "plain", "moody")) == [False] * 5 + [True]
    assert [row[3] for row in reject_rows(tmp_path / "plain")] == ["moody"]


def test_filters_on_scores_keep_score_and_rule(preprocess: Preprocessing, sprites_folder: Path, tmp_path: Path) -> None:
    recipe = replace(only(brightness=Brightness()), keep=("brightness>=100",))
    account = preprocess(sprites_folder / "manifest.csv", tmp_path / "d", recipe)
    assert account.filtered > 0 < account.written
    scores = pq.read_table(tmp_path / "d" / "brightness")["brightness"].to_pylist()
    assert min(scores) >= 100
    for row in reject_rows(tmp_path / "d"):
        assert row[4:7] == ("filtered", "filter", "brightness>=100")
        assert row[8] < 100
    again = preprocess(sprites_folder / "manifest.csv", tmp_path / "d", recipe)
    assert again.planned == 0
    looser = preprocess(sprites_folder / "manifest.csv", tmp_path / "d", only(brightness=Brightness()))
    assert looser.written == account.filtered
    assert reject_rows(tmp_path / "d") == []


@pytest.mark.slow
def test_on_s3(preprocess_on_ray: Preprocessing, sprites_folder: Path, sprites_dataset: Path, bucket: str) -> None:
    """Videos, manifest and dataset in a bucket: the same parts as on disk, but for the uri of each clip."""
    videos = Folder(f"{bucket}/videos")
    for path in sorted((sprites_folder / "videos").iterdir())[:10]:
        videos.write(path.name, path.read_bytes())
    dataset = f"{bucket}/dataset"
    recipe = replace(only(latents=SMALL.features["latents"], text=SMALL.features["text"]))
    account = preprocess_on_ray(f"{bucket}/videos", dataset, recipe)
    assert (account.written, account.complete) == (5, True)
    assert preprocess_on_ray(f"{bucket}/videos", dataset, recipe).planned == 0
    local = {i: v for i, v in zip(ids(sprites_dataset), latents_of(Folder(str(sprites_dataset))), strict=True)}
    remote_ids = [
        i
        for entry in Folder(f"{dataset}/clips").files()
        for i in read_part(Folder(f"{dataset}/clips"), entry.name, ["clip_id"])[0].to_pylist()
    ]
    for clip, value in zip(remote_ids, latents_of(Folder(dataset)), strict=True):
        assert value == local[clip]


def latents_of(dataset: Folder) -> list[bytes]:
    folder = dataset / "latents"
    return [v for entry in folder.files(".parquet") for v in read_part(folder, entry.name, ["mean"])[0].to_pylist()]


def test_a_missing_bucket(preprocess: Preprocessing, sprites_folder: Path, s3_endpoint: str) -> None:
    with pytest.raises(StorageError, match="bucket does not exist"):
        preprocess(sprites_folder / "manifest.csv", "s3://not-a-bucket-of-ours/d")


@pytest.mark.slow
def test_a_full_disk(
    preprocess_on_ray: Preprocessing, sprites_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A file system of 160 kB: the run stops with one sentence, keeps its parts, and goes on when there is room."""
    mounted = tmp_path / "small"
    mounted.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", mounted], check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        with pytest.raises(StorageError) as refusal:
            preprocess_on_ray(sprites_folder / "manifest.csv", mounted / "d")
        said = "the disk is full: free space and run the same command again; what was written is kept."
        assert re.fullmatch(f"{mounted}/d/[a-z]+: {said}", str(refusal.value))
        assert "Traceback" not in "".join(capfd.readouterr())
        assert not list(mounted.rglob("*.tmp"))
        subprocess.run(["mount", "-o", "remount,size=50m", mounted], check=True)
        assert preprocess_on_ray(sprites_folder / "manifest.csv", mounted / "d").complete
        assert len(set(ids(mounted / "d"))) == 16
    finally:
        # Lazily: idle Ray workers still hold the run's work file open.
        subprocess.run(["umount", "--lazy", mounted], check=True)


def test_two_writers_do_not_meet(preprocess: Preprocessing, sprites_folder: Path, tmp_path: Path) -> None:
    with (
        WriteLock(Folder(str(tmp_path / "d"))),
        pytest.raises(InputError, match="another run is writing to this dataset .process"),
    ):
        preprocess(sprites_folder / "manifest.csv", tmp_path / "d")


def test_rejects_of_a_killed_run_do_not_count(preprocess: Preprocessing, bad_folder: Path, tmp_path: Path) -> None:
    """After a kill between a part's rejects and its clips the whole part is computed again, to the same bytes."""
    manifest = tmp_path / "m.csv"
    manifest.write_text("video,caption\n" + "".join(f"{bad_folder}/good{n}.mp4,c\n" for n in range(6)))
    recipe = replace(only(brightness=Brightness()), keep=("brightness>=80",))
    dataset = tmp_path / "d"
    preprocess(manifest, dataset, recipe)
    before, rejects = part_bytes(dataset), reject_rows(dataset)
    for path in (dataset / "clips").iterdir():
        path.unlink()
    assert Ledger.read(Folder(str(dataset))).rejected == {}
    preprocess(manifest, dataset, recipe)
    assert part_bytes(dataset) == before
    assert reject_rows(dataset) == rejects


def test_column_options_reach_the_manifest(preprocess: Preprocessing, sprites_folder: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "m.csv"
    manifest.write_text("file_id,words\n000003,hello\n")
    columns = ManifestColumns(video="videos/{file_id}.mp4", caption="words", root=str(sprites_folder))
    account = preprocess(manifest, tmp_path / "d", only(brightness=Brightness()), columns=columns)
    assert account.written == 1
    assert pq.read_table(tmp_path / "d" / "clips")["caption"].to_pylist() == ["hello"]


def test_the_plan_is_exact_after_the_probe(sprites_dataset: Path, sprites_folder: Path) -> None:
    run = Run(Job(SMALL, str(sprites_folder / "manifest.csv"), Folder(str(sprites_dataset))), print)
    plan = make_plan(run.context, Retry()).plan
    assert (plan.reused, plan.to_compute, plan.unprobed) == (16, 0, 0)


def test_options_that_break_a_rule() -> None:
    with pytest.raises(ValueError, match="clips_a_part 10: must be a multiple of clips_a_row_group 4"):
        StoreOptions(10, 4)
