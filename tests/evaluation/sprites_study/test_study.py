"""The plan of a study and what its results say, without training."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from base.errors import InputError
from diffusion.frame_difference import FrameDifference
from diffusion.motion_focal import MotionFocal
from diffusion.temporal_discrepancy import TemporalDiscrepancy
from evaluation.sprites.score import VideoScore
from evaluation.sprites.summary import Scored
from evaluation.sprites_study.arms import ARMS
from evaluation.sprites_study.results import read_results
from evaluation.sprites_study.run import RunResult
from evaluation.sprites_study.sizes import SIZES, cpu
from evaluation.sprites_study.study import RunPlan, Study
from evaluation.sprites_study.tables import sections
from models.videocrafter2.backbone import VideoCrafter2
from training.validation.ratio import Estimate as ClipEstimate
from training.validation.ratio import RunRatio

SCORE = VideoScore(0, 0, "moves", True, True, 0.01, False, 0.0, 0.9, False, "red circle")


def test_runs_come_in_order_of_importance(tmp_path: Path) -> None:
    study = Study(tmp_path, cpu(), ("inverse", "ltd", "none", "motif"), (0, 1))
    assert [plan.name for plan in study.runs] == [
        *("none-seed0", "motif-seed0", "inverse-seed0", "none-seed1", "motif-seed1", "inverse-seed1"),
        *("ltd-seed0", "ltd-seed1"),
    ]


@pytest.mark.parametrize("size", SIZES)
def test_arms_differ_in_one_thing_and_seeds_in_the_seed(tmp_path: Path, size: str) -> None:
    study = Study(tmp_path, SIZES[size](), tuple(ARMS), (3,))
    configs = {arm: study.config(RunPlan(arm, 3)) for arm in ARMS}
    base = study.size.train
    losses = {
        "none": MotionFocal(weight=0),
        "motif": MotionFocal(weight=1),
        "inverse": MotionFocal(inverse=True),
        "lambda-0.5": MotionFocal(weight=0.5),
        "lambda-2": MotionFocal(weight=2),
        "lambda-5": MotionFocal(weight=5),
        "ltd": TemporalDiscrepancy(),
        "delta": FrameDifference(share=0.25),
    }
    for arm, loss in losses.items():
        assert configs[arm] == replace(base, loss=loss, seed=3)
    for arm in ("both", "cx-attn"):
        network = configs[arm].network
        assert isinstance(network, VideoCrafter2)
        assert network.image_condition == arm
        assert configs[arm] == replace(base, network=network, seed=3)


def test_what_cannot_be_planned() -> None:
    with pytest.raises(ValueError, match="arms lamda: choose from none motif"):
        Study(Path(), cpu(), ("lamda",))
    with pytest.raises(ValueError, match="seeds 1 1"):
        Study(Path(), cpu(), seeds=(1, 1))


def test_a_folder_is_claimed_for_one_size(tmp_path: Path) -> None:
    study = Study(tmp_path / "study", cpu())
    study.claim()
    Study(study.out, cpu(), ("ltd",), (7,)).claim()
    shorter = replace(study.size, train=replace(study.size.train, steps=7))
    with pytest.raises(InputError, match=r"holds a study with another train\.steps, \d+, not 7"):
        Study(study.out, shorter).claim()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("hello")
    with pytest.raises(InputError, match="neither empty nor a study"):
        Study(tmp_path / "other", cpu()).claim()


def write_run(study: Study, plan: RunPlan, right: list[bool], error: float = 0.1) -> None:
    """A finished run with a video per image, of which some are right."""
    videos = [
        Scored(replace(SCORE, clip=number, scene=number, direction_right=good, error=error))
        for number, good in enumerate(right)
    ]
    folder = study.folder(plan) / "videos"
    folder.mkdir(parents=True)
    (folder / "scores.json").write_text(json.dumps({"key": "", "videos": [asdict(one) for one in videos]}))
    result = RunResult(plan.arm, plan.seed, 5, 0.5, 1.0, 60.0, 30.0, 10**6, "CPU")
    (study.folder(plan) / "result.json").write_text(json.dumps(asdict(result)))


def test_results_by_hand(tmp_path: Path) -> None:
    study = Study(tmp_path, cpu(), ("none", "motif", "inverse"), (0, 1))
    write_run(study, RunPlan("none", 0), [True, False, False, False])
    write_run(study, RunPlan("none", 1), [True, True, False, False])
    write_run(study, RunPlan("motif", 0), [True, True, True, False], error=0.05)
    write_run(study, RunPlan("motif", 1), [True, True, True, True], error=0.05)
    found = read_results(study)
    assert list(found.arms) == ["none", "motif"]
    assert [plan.name for plan in found.missing] == ["inverse-seed0", "inverse-seed1"]
    assert found.arms["none"].summary.right.value == pytest.approx(3 / 8)
    assert found.arms["motif"].right_by_seed == {0: 0.75, 1: 1.0}
    difference = found.differences["motif"]
    assert difference.over_images.value == pytest.approx(0.5)
    assert difference.over_seeds is not None
    assert difference.over_seeds.value == pytest.approx(0.5)
    (comparison,) = found.comparisons
    assert comparison.arm.name == "none"
    assert comparison.pairs == 8
    assert comparison.wins.value == 1  # right where the other is not, else nearer
    made = sections(found, [])
    assert [section.title for section in made][:3] == [
        *("Exact scores", "Right videos, minus those without motion loss", "MotiF against each arm"),
    ]
    assert all(len(row) == len(section.columns) for section in made for row in section.rows)
    assert made[2].rows[0][3] == "100.0 / 0.0"


def agreement(tmp_path: Path, motif: list[bool], none: list[bool]) -> str:
    """What the table says of the paper's "MotiF is better than no motion loss" after such videos, one an image."""
    study = Study(tmp_path, cpu(), ("none", "motif"), (0,))
    write_run(study, RunPlan("motif", 0), motif)
    write_run(study, RunPlan("none", 0), none)
    (section,) = [one for one in sections(read_results(study), []) if one.title == "MotiF against each arm"]
    (row,) = section.rows
    return dict(zip(section.columns, row, strict=True))["agrees"]


def test_a_table_of_the_paper_is_confirmed_denied_or_left_open(tmp_path: Path) -> None:
    better, worse, mixed = [True] * 20, [False] * 20, [True, False] * 10
    assert agreement(tmp_path / "1", better, worse) == "yes"
    assert agreement(tmp_path / "2", worse, better) == "no"
    assert agreement(tmp_path / "3", mixed, mixed[::-1]) == "not decided"


def ratio(name: str, value: float, difference: tuple[float, float, float]) -> RunRatio:
    return RunRatio(name, (), ClipEstimate(value, value - 0.1, value + 0.1), ClipEstimate(*difference))


@pytest.mark.parametrize(
    ("difference", "expected"),
    [((-0.3, -0.4, -0.2), "yes"), ((0.3, 0.2, 0.4), "no"), ((-0.1, -0.3, 0.1), "not decided")],
)
def test_figure_6_has_a_row_for_each_arm(tmp_path: Path, difference: tuple[float, float, float], expected: str) -> None:
    study = Study(tmp_path, cpu(), ("none", "motif"), (0,))
    for plan in study.runs:
        write_run(study, plan, [True, False])
    ratios = [ratio("none", 4, (0, 0, 0)), ratio("motif", 3.7, difference), ratio("inverse", 5, (1, 0.9, 1.1))]
    (section,) = [one for one in sections(read_results(study), [], ratios) if one.title.startswith("Figure 6")]
    rows = {row[0]: dict(zip(section.columns, row, strict=True)) for row in section.rows}
    assert rows["motif"]["agrees"] == expected
    assert rows["motif"]["ratio"] == "3.700 (3.600, 3.800)"
    assert rows["none"]["agrees"] == rows["inverse"]["agrees"] == "-"  # the paper's figure does not have these


def test_equal_videos_are_a_tie(tmp_path: Path) -> None:
    study = Study(tmp_path, cpu(), ("none", "motif"), (0,))
    for arm in study.arms:
        write_run(study, RunPlan(arm, 0), [True, False])
    found = read_results(study)
    assert found.comparisons[0].wins.value == 0.5
    assert found.differences["motif"].over_seeds is None
