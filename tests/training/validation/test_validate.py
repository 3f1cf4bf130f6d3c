"""Which models are found where, and which are refused, on real runs."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from base.errors import InputError, WeightsError
from base.storage.folder import Folder
from diffusion.schedule import Schedule
from models.find import find_candidates
from tests.training.datasets import Toy, write_toy
from tests.training.runs import SMALL, TOY, toy_job, train_here
from training.validation.options import Options
from training.validation.validate import Validation, ValidationJob, validate

FEW = Options(timesteps=(100, 700), resamples=50, device="cpu")


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders: ``data`` and ``held`` share no clip; ``run`` was trained on data, ``eps`` too, for another target."""
    folder = tmp_path_factory.mktemp("room")
    data = write_toy(Folder(str(folder / "data")))
    write_toy(Folder(str(folder / "held")), Toy(clips=6, first=100, still=frozenset({102})))
    train_here(toy_job(data, folder / "run"))
    train_here(toy_job(data, folder / "eps", schedule=Schedule(prediction="eps"), steps=1))
    return folder


def run_on(
    folder: Path, *runs: str, data: str = "held", said: list[str] | None = None, allow: bool = False
) -> Validation:
    told = [] if said is None else said
    job = ValidationJob(tuple(str(folder / run) for run in runs), str(folder / data), FEW, allow)
    return validate(job, told.append)


def test_a_run_and_its_checkpoints(room: Path) -> None:
    """The newest checkpoint counts; a model may be named by its folder, or by that of its checkpoint."""
    said: list[str] = []
    older = "run/checkpoints/step-00000002"
    found = run_on(room, "run", older, f"{older}/model", said=said)
    assert [run.name for run in found.runs] == ["run", str(room / older), str(room / older / "model")]
    assert found.steps == (4, 2, 2)
    assert (found.clips, found.clips_without_mask, found.prediction) == (5, 1, "v")
    assert found.runs[1].by_timestep == found.runs[2].by_timestep
    assert found.runs[0].ratio != found.runs[1].ratio
    assert found.runs[0].difference.value == 0
    assert json.loads(json.dumps(found.to_json()))["options"]["timesteps"] == [100, 700]
    assert said[0] == "6 clips x 2 timesteps on cpu"
    assert "step 4" in said[1]


def test_a_run_by_a_checkpoint_is_named_with_its_step(room: Path) -> None:
    names = [c.name for c in find_candidates([str(room / "run"), str(room / "run/checkpoints/step-00000002/")])]
    assert names == ["run", "run step 2"]


def test_the_average_of_the_weights_is_what_is_measured(room: Path, tmp_path: Path) -> None:
    """A copied model folder gives the same numbers, and it is said that nothing is known of its training."""
    shutil.copytree(room / "run/checkpoints/step-00000004/model", tmp_path / "copy")
    said: list[str] = []
    found = run_on(tmp_path, "copy", data=str(room / "held"), said=said)
    assert found.runs[0].by_timestep == run_on(room, "run").runs[0].by_timestep
    assert said[0].startswith("copy is not in a run's folder")


def test_a_model_on_s3(room: Path, bucket: str) -> None:
    remote = Folder(f"{bucket}/run")
    for path in sorted(path for path in (room / "run").rglob("*") if path.is_file()):
        inside = path.relative_to(room / "run").parent.as_posix()
        (remote if inside == "." else remote / inside).write(path.name, path.read_bytes())
    held = write_toy(Folder(f"{bucket}/held"), Toy(clips=6, first=100, still=frozenset({102})))
    found = validate(ValidationJob((remote.uri,), held.uri, FEW), lambda line: None)
    assert found.runs[0].by_timestep == run_on(room, "run").runs[0].by_timestep


def test_training_data_is_refused(room: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"run was trained on 12 of its 12 clips, in .*--allow-training-data"):
        run_on(room, "run", data="data")
    assert run_on(room, "run", data="data", allow=True).clips == 12
    # Clips are known by their content: a dataset under another name that shares some is found out.
    write_toy(Folder(str(tmp_path / "mixed")), Toy(clips=6, first=9))
    with pytest.raises(InputError, match="was trained on 3 of its 6 clips"):
        run_on(room, "run", data=str(tmp_path / "mixed"))


def test_training_data_that_is_gone(room: Path, tmp_path: Path) -> None:
    shutil.copytree(room / "run", tmp_path / "run")
    path = tmp_path / "run" / "config.json"
    path.write_text(path.read_text().replace(str(room / "data"), str(tmp_path / "gone")))
    said: list[str] = []
    run_on(tmp_path, "run", data=str(room / "held"), said=said)
    assert "so whether it saw these clips is unknown" in said[0]


def test_a_view_holds_out_a_part_of_the_training_dataset(room: Path, tmp_path: Path) -> None:
    views = {}
    for name, ids in (("train", range(8)), ("held", range(8, 12))):
        views[name] = tmp_path / f"{name}.json"
        chosen = [f"clip{number:04}" for number in ids]
        artifacts = ["latents", "heatmaps", "text"]
        views[name].write_text(json.dumps({"dataset": str(room / "data"), "artifacts": artifacts, "ids": chosen}))
    train_here(toy_job(Folder(str(views["train"])), tmp_path / "run", steps=1))
    assert run_on(tmp_path, "run", data="held.json").clips == 4
    with pytest.raises(InputError, match="8 of its 8 clips"):
        run_on(tmp_path, "run", data="train.json")


def test_image_tokens_are_read_where_a_run_needs_them(tmp_path: Path) -> None:
    data = write_toy(Folder(str(tmp_path / "data")), Toy(image=(5, 12)))
    write_toy(Folder(str(tmp_path / "held")), Toy(clips=4, first=50, image=(5, 12)))
    write_toy(Folder(str(tmp_path / "without")), Toy(clips=4, first=50))
    train_here(toy_job(data, tmp_path / "both", network=replace(SMALL, image_condition="both"), steps=1))
    train_here(toy_job(data, tmp_path / "xcat", steps=1))
    assert len(run_on(tmp_path, "xcat", "both").runs) == 2
    with pytest.raises(InputError, match="the dataset holds no image"):
        run_on(tmp_path, "xcat", "both", data="without")


def test_runs_that_cannot_be_compared(room: Path) -> None:
    with pytest.raises(InputError, match=r"schedule.prediction: .*run has v, .*eps has eps"):
        run_on(room, "run", "eps")
    assert run_on(room, "eps").prediction == "eps"


def test_what_does_not_fit_is_refused(room: Path, tmp_path: Path) -> None:
    write_toy(Folder(str(tmp_path / "wider")), Toy(clips=2, first=200, shape=(5, 4, 8, 8)))
    with pytest.raises(InputError, match=r"latents.luma: the model run has 2, the dataset 3"):
        run_on(room, "run", data=str(tmp_path / "wider"))
    job = ValidationJob((str(room / "run"),), str(room / "held"), replace(FEW, timesteps=(5, 1000)))
    with pytest.raises(InputError, match="--timesteps 1000: the schedule of run has 1000 steps, 0 to 999"):
        validate(job, lambda line: None)
    write_toy(Folder(str(tmp_path / "dark")), Toy(clips=2, first=200, without=frozenset({"heatmaps"})))
    with pytest.raises(InputError, match="the dataset holds no heatmaps"):
        run_on(room, "run", data=str(tmp_path / "dark"))


def test_folders_that_hold_no_model(room: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere: neither a run nor a model"):
        find_candidates([str(tmp_path / "nowhere")])
    started = tmp_path / "started"
    started.mkdir()
    shutil.copy(room / "run" / "config.json", started)
    with pytest.raises(InputError, match="the run has no checkpoint yet"):
        find_candidates([str(started)])
    (started / "config.json").write_text("{")
    with pytest.raises(InputError, match="is not readable JSON"):
        find_candidates([str(started)])
    (started / "config.json").write_text("{}")
    with pytest.raises(InputError, match="was not written by `motif train`"):
        find_candidates([str(started)])
    shutil.copytree(room / "run/checkpoints/step-00000004/model", tmp_path / "model")
    shutil.rmtree(tmp_path / "model" / "unet")
    with pytest.raises(WeightsError, match="network: there is no"):
        run_on(tmp_path, "model", data=str(room / "held"))


@pytest.mark.gpu
def test_a_gpu_agrees_with_the_cpu(room: Path) -> None:
    """In bfloat16, to a percent."""
    ratios = []
    for device in ("cpu", "cuda"):
        options = Options(timesteps=(100, 700), resamples=50, device=device)  # type: ignore[arg-type]
        found = validate(ValidationJob((str(room / "run"),), str(room / "held"), options), lambda line: None)
        ratios.append(found.runs[0].ratio.value)
    assert ratios[0] == pytest.approx(ratios[1], rel=0.01)


def test_the_recipe_of_these_tests_averages_its_weights() -> None:
    """Else the average would be tested by nothing."""
    assert TOY.optimiser.ema
