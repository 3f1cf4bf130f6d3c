"""Reports as text and numbers: names of models, results in the wrong place, recipes, long runs."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from base.config import to_json
from base.errors import InputError
from base.storage.folder import Folder
from diffusion.motion_focal import MotionFocal
from evaluation.report.page import to_html
from evaluation.report.report import ReportJob, make_report
from evaluation.report.run import read_runs
from evaluation.report.sections.settings import describe_loss, describe_recipe
from tests.evaluation.report.reading import Page
from tests.evaluation.report.runs import write_samples
from training.recipes import RECIPES, motif, sprites
from training.validation.options import Options
from training.validation.ratio import Estimate, Losses, RunRatio
from training.validation.validate import Validation


def ratio_of(name: str, value: float) -> RunRatio:
    found, none = Estimate(value, value - 0.1, value + 0.1), Estimate(0.0, 0.0, 0.0)
    steps = tuple(Losses(step, 1.0, value, found, none) for step in (100, 500))
    return RunRatio(name, steps, found, none)


def write_validation(out: Path, names: dict[str, float], step: int = 4, **changes: Any) -> Path:
    """A result of `motif validate` of models with these ratios, of an earlier version: without its command."""
    runs = tuple(ratio_of(name, value) for name, value in names.items())
    found = Validation(runs, (step,) * len(runs), "v", 10, 2, "held", Options(timesteps=(100, 500)), 1.0)
    out.mkdir(parents=True)
    (out / "validation.json").write_text(json.dumps(replace(found, **changes).to_json()))
    return out


def section(job: ReportJob, key: str) -> Any:
    return next(one for one in make_report(job).sections if one.key == key)


@pytest.fixture
def copies(runs: Path, tmp_path: Path) -> Path:
    """The runs in folders of their own: ``a/run`` and ``b/run`` have the same name."""
    for name, run in (("a", "motif"), ("b", "plain")):
        shutil.copytree(runs / run, tmp_path / name / "run")
    return tmp_path


def test_runs_of_the_same_name_keep_their_own_results(copies: Path) -> None:
    a, b = copies / "a/run", copies / "b/run"
    write_validation(a / "validation", {"run": 1.5})
    write_validation(b / "validation", {"run": 2.5})
    report = make_report(ReportJob((str(a), str(b))))
    assert report.runs == (str(a), str(b))
    rows = {row[0]: row[1:] for row in report.short.rows}
    assert rows["loss in moving regions / overall"] == ("1.50 [1.40, 1.60]", "2.50 [2.40, 2.60]")
    (chart,) = next(one for one in report.sections if one.key == "validation").charts
    assert [(line.name, line.look) for line in chart.lines] == [(str(a), 0), (str(b), 1)]


def test_runs_that_were_validated_apart_have_no_difference(copies: Path) -> None:
    a, b = copies / "a/run", copies / "b/run"
    write_validation(a / "validation", {"run": 1.5})
    write_validation(b / "validation", {"run": 2.5}, clips=11)
    found = section(ReportJob((str(a), str(b))), "validation")
    assert len(found.charts) == 2
    assert "not comparable" in found.notes[0]
    assert f"motif validate {a} {b} --data HELD_OUT_DATASET --out VALIDATION" in found.notes[0]
    assert found.commands[0].endswith("(the file does not say with which options)")


def test_a_result_of_an_older_checkpoint_is_named(copies: Path) -> None:
    a = copies / "a/run"
    place = write_validation(a / "validation", {"run": 1.5}, step=2)
    found = section(ReportJob((str(a),)), "validation")
    assert found.notes == (f"{place}/validation.json measured run at step 2; its checkpoint is of 4.",)
    assert found.missing == ()


def test_models_that_are_not_runs_of_the_report_are_shown_beside(runs: Path, tmp_path: Path) -> None:
    place = write_validation(tmp_path / "v", {"other": 1.5, str(runs / "motif"): 2.5})
    job = ReportJob((str(runs / "motif"), str(runs / "plain")), validation=(str(place),))
    report = make_report(job)
    found = next(one for one in report.sections if one.key == "validation")
    assert [(line.name, line.look) for line in found.charts[0].lines] == [("other", 2), ("motif", 0)]
    assert [one.what for one in found.missing] == ["Figure 6 of plain: no result of `motif validate`"]
    page = Page(to_html(report))
    assert {"motif", "other"} <= set(page.parts["validation"].texts)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("validation", b"", "is not a result of `motif validate`, is damaged"),
        ("validation", b"\xff\xfe{}", "is not a result of `motif validate`"),
        ("validation", b'{"runs": []}', "of another version of motif (steps: field required)"),
        ("sprites", b"[]", "is not a result of `motif evaluate sprites`"),
    ],
)
def test_a_damaged_result_in_a_run_is_an_error(copies: Path, name: str, content: bytes, message: str) -> None:
    file = {"validation": "validation.json", "sprites": "evaluation.json"}[name]
    (copies / "a/run" / name).mkdir()
    (copies / "a/run" / name / file).write_bytes(content)
    with pytest.raises(InputError) as error:
        make_report(ReportJob((str(copies / "a/run"),)))
    assert str(error.value).startswith(f"{copies}/a/run/{name}/{file} is not")
    assert message in str(error.value)


def test_a_damaged_checkpoint_and_damaged_samples_are_errors(copies: Path) -> None:
    prompts = copies / "a/run/samples/step-00000002/prompts.json"
    prompts.write_text("{}")
    with pytest.raises(InputError, match=r"step-00000002/prompts.json is damaged"):
        make_report(ReportJob((str(copies / "a/run"),)))
    (weights,) = (copies / "b/run/checkpoints/step-00000004/model").glob("*/*.safetensors")
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(InputError, match=r"cannot be read \(.*\)\. Delete this checkpoint's folder"):
        read_runs([str(copies / "b/run")])


def test_a_sample_that_cannot_be_read_is_named_in_its_place(copies: Path) -> None:
    broken = copies / "a/run/samples/step-00000004/01.mp4"
    broken.write_bytes(broken.read_bytes()[:50])
    text = to_html(make_report(ReportJob((str(copies / "a/run"),))))
    assert f"{broken} cannot be shown: " in text
    assert len(Page(text).parts["training_samples"].videos) == 5


def test_samples_are_matched_by_name_prompt_and_seed(runs: Path, tmp_path: Path) -> None:
    a = write_samples(tmp_path / "a", {"1": "up", "2": "down", "3": "left"})
    b = write_samples(tmp_path / "b", {"2": "down", "3": "right", "4": "left"})
    c = write_samples(tmp_path / "c", {"2": "down"}, seed=1)
    found = section(ReportJob((str(runs / "motif"),), samples=(str(a), str(b), str(c)), num=2), "samples")
    shown = [(row.title, [video.title for video in row.videos]) for row in found.videos]
    assert shown == [("down", ["a", "b"]), ("down", ["c"]), ("left", ["a"]), ("right", ["b"])]
    assert found.notes == ("No video has the same name, prompt and seed in all folders, so they cannot be compared.",)


def test_runs_on_other_clips_are_not_side_by_side(copies: Path) -> None:
    place = copies / "b/run/config.json"
    config = json.loads(place.read_text())
    config["data"]["0"]["digest"] = "another"
    place.write_text(json.dumps(config))
    job = ReportJob((str(copies / "a/run"), str(copies / "b/run")), num=1)
    assert [len(row.videos) for row in section(job, "training_samples").videos] == [1, 1]
    differences = section(job, "settings").tables[1].rows
    assert [row[0] for row in differences] == ["loss.weight", "data"]


def test_recipes_are_recognised_with_their_changes() -> None:
    for name, make in RECIPES.items():
        assert describe_recipe(json.loads(json.dumps(to_json(make())))) == name
    changed = replace(sprites(), steps=7, seed=3, loss=MotionFocal(weight=0.0, power=1.0))
    assert describe_recipe(to_json(changed)) == "sprites, with loss.power 1.0, loss.weight 0.0"
    own = replace(motif(), network=sprites().network, optimiser=sprites().optimiser, batch=8, window=1, fps_max=9.0)
    own = replace(own, text_dropout=0.5, loss=MotionFocal(2.0, 1.0, True))
    assert describe_recipe(to_json(own)) == "none of motif's own"


def test_a_weighting_whose_class_is_elsewhere_is_described_by_its_settings() -> None:
    assert describe_loss({"loss": {"type": "elsewhere:Loss", "scale": 2.0}}) == "elsewhere:Loss (scale 2.0)"
    assert describe_loss({"loss": to_json(MotionFocal())}).startswith("plain + 1 x motion; motion-focal (weight 1.0")


def test_a_long_run_has_a_small_page_that_keeps_its_extremes(runs: Path, tmp_path: Path) -> None:
    """20,000 steps, of which one has a spike; values that are not finite are left out."""
    shutil.copy(runs / "motif" / "config.json", tmp_path)
    rng = np.random.default_rng(0)
    values = 1 + rng.random(20_000)
    values[12_345] = 7.5
    lines = [{"step": step, "loss": value, "lr": 1e-4, "grad_norm": 1.0} for step, value in enumerate(values.tolist())]
    lines[3]["grad_norm"] = float("nan")
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    text = to_html(make_report(ReportJob((str(tmp_path),))))
    assert len(text) < 300_000
    chart = Page(text).parts["curves"].charts["loss"]
    (line,), (area,) = chart.lines["line"], chart.areas
    smoothed = np.convolve(values, np.ones(100) / 100, "valid")
    assert line[-1] == pytest.approx([20_000, smoothed[-1]], rel=0.01)
    assert np.interp(10_000, line[:, 0], line[:, 1]) == pytest.approx(smoothed[10_000 - 100], abs=0.05)
    assert area[:, 1].max() == pytest.approx(7.5, rel=0.01)
    assert area[:, 1].min() == pytest.approx(values.min(), abs=0.02)


def test_a_report_of_a_run_in_an_object_store(runs: Path, bucket: str) -> None:
    """All but the number of parameters, for which the weights would have to be fetched."""
    run = runs / "motif"
    for path in sorted(path for path in run.rglob("*") if path.is_file() and path.suffix != ".safetensors"):
        place = Folder(bucket) / "motif"
        for name in path.relative_to(run).parent.parts:
            place = place / name
        place.write(path.name, path.read_bytes())
    here, there = (make_report(ReportJob((place,))) for place in (str(run), f"{bucket}/motif"))
    assert dict(row[:2] for row in there.short.rows) == dict(row[:2] for row in here.short.rows) | {
        "parameters": "not known here"
    }
    videos = [next(one for one in report.sections if one.key == "training_samples").videos for report in (here, there)]
    assert videos[0] == videos[1]
