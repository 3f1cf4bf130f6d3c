"""`motif status`: who writes, how far it is, and what to do next; nothing is changed by it."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from base.storage.folder import Folder
from dataset.holder import Holder
from dataset.lock import WriteLock
from dataset.view import View
from pipeline.graph.work import CLIPS_WORK, WorkFile
from serving.generate.models import ServedModel
from serving.settings import Settings, key_hash
from tests.infra.conftest import Motif
from tests.pipeline.conftest import SMALL, Preprocessing
from tests.pipeline.datasets import reject, write_dataset, write_rejects
from tests.ports import free_port
from tests.serving.conftest import server, settings, tiny  # noqa: F401 - fixtures
from tests.serving.server import Server, serve
from tests.training.conftest import toy_dataset  # noqa: F401 - a fixture
from tests.training.runs import toy_job, train_here

ELSEWHERE = Holder("theirs", "node7", 31, "another boot", 5)
PART = pa.schema([("part", pa.string())])


def told(motif: Motif, place: object) -> dict[str, Any]:
    status, out, error = motif("status", place, "--json")
    assert (status, error) == (0, "")
    facts: dict[str, Any] = json.loads(out)
    return facts


def files(folder: Path) -> dict[Path, tuple[bytes, int]]:
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


def dead() -> Holder:
    """A process of this machine that has ended."""
    with subprocess.Popen(["true"]) as ended:
        pass
    return replace(Holder.here("theirs"), pid=ended.pid)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Nineteen clips, with one slot that failed, one that was filtered, and a clip that failed in an artifact."""
    folder = write_dataset(Folder(str(tmp_path / "d")), failed={"latents": {3}})
    write_rejects(folder, "part-r.parquet", [reject("x"), reject("y", outcome="filtered")])
    in_latents = reject("slot03", artifact="latents", part="part-a.parquet")
    write_rejects(folder, "part-a-latents.parquet", [in_latents], clips_part="part-a.parquet")
    write_rejects(folder, "part-z.parquet", [reject("z")], clips_part="part-that-was-never-written.parquet")
    return folder.path


def test_a_dataset_is_counted_and_left_alone(motif: Motif, dataset: Path) -> None:
    before = files(dataset)
    found = told(motif, dataset)
    assert (found["kind"], found["clips"], found["failed"], found["filtered"]) == ("dataset", 19, 1, 1)
    assert found["artifacts"]["latents"] == {"lacking": 0, "failed": 1, "replaced": False}
    assert (found["captions"], found["writer"], found["damaged"]) == ({"text": 19}, None, {})
    status, out, _ = motif("status", dataset)
    assert status == 0
    assert "clips        19 written, 1 filtered, 1 failed\n" in out
    assert f"next         motif retry {dataset}, to try failed clips again" in out
    assert files(dataset) == before


def test_what_a_dataset_lacks_and_what_is_damaged(motif: Motif, dataset: Path) -> None:
    (dataset / "heatmaps" / "part-c.parquet").unlink()
    clips = dataset / "clips" / "part-b.parquet"
    clips.write_bytes(clips.read_bytes()[:-20])
    found = told(motif, dataset)
    assert (found["clips"], found["artifacts"]["heatmaps"]["lacking"]) == (11, 3)
    assert list(found["damaged"]) == [str(clips)]
    assert found["next"][0].startswith(f"motif dataset verify {dataset} --repair")


def test_an_artifact_that_a_changed_recipe_left_behind_asks_for_nothing(motif: Motif, dataset: Path) -> None:
    catalog = json.loads((dataset / "dataset.json").read_text())
    earlier = catalog["artifacts"]["latents"] | {"identity": {"version": 0}}
    catalog["artifacts"]["latents-earlier"] = earlier
    (dataset / "dataset.json").write_text(json.dumps(catalog))
    found = told(motif, dataset)["artifacts"]
    assert (found["latents-earlier"]["replaced"], found["latents"]["replaced"]) == (True, False)


def test_who_holds_the_lock(motif: Motif, dataset: Path) -> None:
    with WriteLock(Folder(str(dataset))):
        found = told(motif, dataset)
        assert (found["writer"]["state"], found["next"]) == ("alive", [])
    runs = dataset / "runs"
    for content, state, advice in (
        (dead().content(), "ended", "run the same `motif preprocess` again"),
        (ELSEWHERE.content(), "elsewhere", f"if that process has certainly ended: motif unlock {dataset}"),
        (b"", "unknown", f"if that process has certainly ended: motif unlock {dataset}"),
    ):
        (runs / "lock.json").write_bytes(content)
        found = told(motif, dataset)
        assert found["writer"]["state"] == state
        assert found["next"][0].startswith(advice)
    assert [path.name for path in runs.iterdir()] == ["lock.json"]


def test_how_far_a_run_is_or_was(motif: Motif, dataset: Path) -> None:
    """Of 14 new clips, eight are in a part that is there, and three in one whose clips were all rejected."""
    with WorkFile(Folder(str(dataset / "runs")), f"run1.{CLIPS_WORK}", PART, 8) as work:
        for part, count in (("part-a.parquet", 8), ("part-x.parquet", 3), ("part-y.parquet", 3)):
            work.add(pa.table([[part] * count], schema=PART))
    write_rejects(Folder(str(dataset)), "part-x.parquet", [reject(str(n), part="part-x.parquet") for n in range(3)])
    (dataset / "runs" / "lock.json").write_bytes(dead().content())
    found = told(motif, dataset)
    assert (found["planned"], found["settled"]) == (14, 11)
    assert "11 of the 14 new ones of the stopped run" in motif("status", dataset)[1]
    (dataset / "runs" / work.name).write_bytes(b"ARROW1 which is still being written")
    assert told(motif, dataset)["planned"] == 0


def test_the_last_run_and_the_command_that_repeats_it(
    motif: Motif, preprocess: Preprocessing, sprites_folder: Path, tmp_path: Path
) -> None:
    manifest, dataset = tmp_path / "m.csv", tmp_path / "d"
    video = next((sprites_folder / "videos").glob("*.mp4"))
    manifest.write_text(f"video,caption\n{video},c\n{tmp_path / 'late.mp4'},c\n")
    recipe = replace(SMALL, max_failed=0.5, features={"latents": SMALL.features["latents"]})
    preprocess(manifest, dataset, recipe)
    found = told(motif, dataset)
    last = found["last_run"]
    assert (last["complete"], last["error"], last["written"], last["failed"]) == (True, None, 1, 1)
    assert [line.split(",")[0] for line in found["next"]] == [f"motif retry {dataset}"]
    # Once the late video is there and another artifact is gone, the command in the record computes all again.
    shutil.copy(video, tmp_path / "late.mp4")
    shutil.rmtree(dataset / "latents")
    (repeat, _) = told(motif, dataset)["next"]
    assert repeat == last["command"]
    status, out, error = motif(*repeat.split()[1:], "--dry-run")
    assert status == 0, error
    assert json.loads(out)["max_failed"] == 0.5


def test_a_training_run(motif: Motif, toy_dataset: Folder, tmp_path: Path) -> None:  # noqa: F811
    run = tmp_path / "run"
    train_here(toy_job(toy_dataset, run))
    before = files(run)
    found = told(motif, run)
    assert (found["kind"], found["step"], found["steps"], found["checkpoint"]) == ("run", 4, 4, "step-00000004")
    assert (found["next"], found["writer"], found["left_s"]) == ([], None, 0)
    assert found["loss"] == json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["loss"]
    assert 0 <= found["checkpoint_age_s"] < 600
    assert files(run) == before
    # Killed after its third step, of which the last line is partial.
    shutil.rmtree(run / "checkpoints" / "step-00000004")
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join(lines[:3]) + lines[3][:20])
    found = told(motif, run)
    assert (found["step"], found["checkpoint_step"]) == (3, 2)
    status, out, error = motif(*found["next"][0].split(",")[0].split()[1:], "--dry-run")
    assert status == 0, error
    assert json.loads(out)["steps"] == 4


def test_a_run_that_has_written_nothing_yet(motif: Motif, tmp_path: Path) -> None:
    with WriteLock(Folder(str(tmp_path / "new"))):
        assert "nothing is written there yet" in motif("status", tmp_path / "new")[1]


def test_a_dataset_and_a_run_in_an_object_store(
    motif: Motif, bucket: str, dataset: Path, toy_dataset: Folder, tmp_path: Path  # noqa: F811
) -> None:  # fmt: skip
    train_here(toy_job(toy_dataset, tmp_path / "run"))
    for folder in (dataset, tmp_path / "run"):
        for path in folder.rglob("*"):
            if path.is_file():
                (Folder(bucket) / path.parent.relative_to(tmp_path).as_posix()).write(path.name, path.read_bytes())
    assert told(motif, f"{bucket}/d")["clips"] == 19
    found = told(motif, f"{bucket}/run/")
    assert (found["step"], found["checkpoint"]) == (4, "step-00000004")
    assert found["checkpoint_age_s"] < 600
    assert motif("status", f"{bucket}/nothing")[0] == 2


def test_a_server(motif: Motif, server: Server) -> None:  # noqa: F811
    found = told(motif, server.url)
    names = ("kind", "ready", "models", "queued", "in_progress", "workers", "next")
    assert [found[name] for name in names] == ["server", True, ["tiny"], 0, 0, 1, []]
    server.store.upkeep.drain()
    found = told(motif, f"{server.url}/v1/")
    assert (found["ready"], found["reason"]) == (False, "The server is shutting down.")
    assert "start it again" in found["next"][0]


def test_a_server_without_workers_and_with_keys(
    motif: Motif, tiny: ServedModel, settings: Settings, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:  # fmt: skip
    monkeypatch.delenv("MOTIF_API_KEY", raising=False)
    key = "a key of many characters"
    with serve([tiny], replace(settings, key_hashes=(key_hash(key),)), with_worker=False) as running:
        found = told(motif, running.url)
        assert (found["ready"], found["reason"], found["models"]) == (False, "No worker is ready yet.", None)
        assert [advice.split(";")[0] for advice in found["next"]] == [
            "wait for a model to load",
            "give the server's key: export MOTIF_API_KEY=...",
        ]
        monkeypatch.setenv("MOTIF_API_KEY", key)
        assert told(motif, running.url)["models"] == ["tiny"]


def test_places_that_have_no_status(motif: Motif, s3_endpoint: str, dataset: Path, tmp_path: Path) -> None:
    View(str(dataset), ("latents",)).save(Folder(str(tmp_path)), "view.json")
    url = f"http://127.0.0.1:{free_port()}"
    for place, status, said in (
        (tmp_path / "nowhere", 2, "nowhere: neither a dataset, nor a run's folder, nor the URL of a server"),
        (tmp_path / "view.json", 2, f"is a view of {dataset}; give the dataset"),
        ("s3://no-such-bucket-here/d", 4, "the bucket does not exist"),
        (url, 7, "cannot be reached"),
        (url.replace("//", "//me:secret@"), 7, f"{url.replace('//', '//me:***@')} cannot be reached"),
    ):
        found, out, error = motif("status", place)
        assert (found, out, len(error.splitlines())) == (status, "", 1)
        assert said in error


@pytest.mark.parametrize("module", ["pipeline.curation.status", "training.run.status", "serving.client.client"])
def test_it_loads_neither_torch_nor_ray(module: str) -> None:
    """So that it answers within a second."""
    code = f"import sys, infra.commands.status, {module}; sys.exit(bool({{'torch', 'ray'}} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
