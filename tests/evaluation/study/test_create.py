"""From two folders of videos to a study's folder."""

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from base.errors import InputError
from evaluation.study.create import NewStudy, balanced_sides, create_study
from evaluation.study.study import Study
from tests.evaluation.study.videos import NAMES, write_models, write_video


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_models(folder)
    return folder


@pytest.fixture
def new(models: Path, tmp_path: Path) -> NewStudy:
    """A study of copies that a test may change."""
    shutil.copytree(models, tmp_path / "in")
    inside = tmp_path / "in"
    return NewStudy(inside / "ours", inside / "baseline", inside / "prompts.csv", tmp_path / "study", gold=2)


def pictures(path: Path) -> list[bytes]:
    with av.open(path) as container:
        return [frame.to_ndarray(format="rgb24").tobytes() for frame in container.decode(video=0)]


def test_a_study_has_every_pair_with_its_own_videos(new: NewStudy) -> None:
    study = create_study(new)
    assert Study.load(new.out) == study
    assert (study.a, study.b, len(study.slots)) == ("ours", "baseline", 5 * len(NAMES))
    assert [pair.name for pair in study.pairs] == sorted(NAMES)
    for pair in study.pairs:
        assert pictures(new.out / pair.a) == pictures(new.a / f"{pair.name}.mp4")
        assert pictures(new.out / pair.b) == pictures(new.b / f"{pair.name}.mp4")
    dogs = [pair for pair in study.pairs if pair.scene == "dog"]
    assert {pair.image for pair in dogs} == {"images/00001.png"}
    assert (new.out / dogs[0].image).read_bytes() == b"a picture"
    assert {pair.prompt for pair in study.pairs if not pair.image} == {"the car turns", "a storm, at sea"}


def test_what_raters_receive_does_not_name_the_model(new: NewStudy) -> None:
    create_study(new)
    assert b"secret-ours" in (new.a / "dog_runs.mp4").read_bytes()
    files = list((new.out / "videos").iterdir())
    assert len(files) == 2 * len(NAMES)
    for path in files:
        assert not [word for word in (b"secret", b"ours", b"baseline") if word in path.read_bytes()]
        assert path.stem.isdigit()


def test_the_same_seed_gives_the_same_study(new: NewStudy, tmp_path: Path) -> None:
    study = create_study(new)
    assert create_study(replace(new, out=tmp_path / "again")) == study
    for path in new.out.rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "again" / path.relative_to(new.out)).read_bytes()
    assert create_study(replace(new, out=tmp_path / "other", seed=1)).pairs != study.pairs


@pytest.mark.parametrize(("pairs", "raters"), [(320, 5), (7, 4), (9, 3), (1, 1)])
def test_each_model_is_on_the_left_as_often_as_the_other(pairs: int, raters: int) -> None:
    sides = balanced_sides(pairs, raters, np.random.default_rng(3))
    assert [len(left) for left in sides] == [raters] * pairs
    assert all(abs(left.count("a") - left.count("b")) == raters % 2 for left in sides)
    assert abs("".join(sides).count("a") - "".join(sides).count("b")) == pairs * raters % 2
    if pairs > 20:
        assert len({*sides}) > 15


def test_a_choice_is_for_the_model_on_that_side(new: NewStudy) -> None:
    for slot in create_study(new).slots.values():
        assert slot.model("left") == slot.left
        assert {slot.model("left"), slot.model("right")} == {"a", "b"}


def test_gold_questions_show_the_right_video_beside_one_of_another_scene(new: NewStudy) -> None:
    study = create_study(replace(new, gold=4))
    pairs = {pair.name: pair for pair in study.pairs}
    for gold in study.gold:
        right, wrong = (gold.left, gold.right) if gold.answer == "left" else (gold.right, gold.left)
        pair, other = pairs[gold.pair], pairs[gold.other]
        assert pair.scene != other.scene
        assert (right, wrong) in ((pair.a, other.a), (pair.b, other.b))
    assert Counter(gold.answer for gold in study.gold) == {"left": 2, "right": 2}
    assert len({gold.pair for gold in study.gold}) == 4


def test_videos_of_the_same_image_do_not_make_a_gold_question(new: NewStudy) -> None:
    """Without named scenes, the image is the scene: both dogs begin alike."""
    lines = new.prompts.read_text().replace(",scene", "").splitlines()
    new.prompts.write_text("\n".join([lines[0], *(line.rpartition(",")[0] for line in lines[1:])]))
    study = create_study(replace(new, gold=4))
    assert not [gold for gold in study.gold if {gold.pair, gold.other} == {"dog_runs", "dog_sits"}]


def break_video(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def empty_scenes(path: Path) -> None:
    path.write_text(path.read_text().replace("street", "dog").replace("sea\n", "dog\n"))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda new: (new.b / "dog_runs.mp4").unlink(), "baseline has no dog_runs.mp4. Each video of one folder needs"),
        (lambda new: (new.a / "dog_runs.mp4").unlink(), "ours has no dog_runs.mp4"),
        (lambda new: [path.unlink() for path in new.a.iterdir()], "ours: there is no .mp4 file"),
        (lambda new: shutil.rmtree(new.a), "ours: there is no such folder"),
        (lambda new: break_video(new.a / "dog_runs.mp4"), "dog_runs.mp4 cannot be read"),
        (lambda new: (new.a / "dog_runs.mp4").write_bytes(b""), "dog_runs.mp4 cannot be read (the file has no bytes)"),
        (
            lambda new: write_video(new.b / "dog_runs.mp4", 0, size=(32, 32)),
            "dog_runs.mp4 has 32 x 48 pixels in one folder and 32 x 32 in the other",
        ),
        (lambda new: write_video(new.b / "dog_runs.mp4", 0, frames=4), "dog_runs.mp4 has 3 frames in one folder and 4"),
        (lambda new: write_video(new.b / "dog_runs.mp4", 0, fps=10), "has 8 frames per second in one folder and 10 in"),
        (
            lambda new: shutil.copy(new.a / "dog_runs.mp4", new.b / "dog_runs.mp4"),
            "dog_runs.mp4 has the same content in both folders",
        ),
        (lambda new: new.prompts.unlink(), "prompts.csv cannot be read: No such file or directory"),
        (lambda new: new.prompts.write_text("video,text\n"), "has the columns video, text: it must have name, prompt"),
        (lambda new: new.prompts.write_text(""), "has the columns (none): it must have name, prompt and, optionally"),
        (lambda new: new.prompts.write_text("name,prompt\ndog_runs,a\n"), "no prompt for car_turns.mp4 and 2 more"),
        (lambda new: new.prompts.write_text("name,prompt\ndog_runs\n"), "line 2 has 1 fields instead of 2"),
        (lambda new: new.prompts.write_text("name,prompt\ndog_runs,\n"), "line 2 has no prompt"),
        (lambda new: new.prompts.write_text("name,prompt\na,b\n\na,b\n"), "line 4 has the name a a second time"),
        (lambda new: (new.prompts.parent / "dog.png").unlink(), "line 2: there is no image"),
        (lambda new: empty_scenes(new.prompts), "--gold 2: only 0 pairs have another scene with videos of the same"),
        (lambda new: new.out.mkdir(), "exists already"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_written(new: NewStudy, fault: object, message: str) -> None:
    assert callable(fault)
    fault(new)
    with pytest.raises(InputError) as caught:
        create_study(new)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in new.out.parent.iterdir() if path.name != "in") in ([], ["study"])
    assert not list(new.out.glob("*"))


def test_of_many_faults_three_are_named(new: NewStudy) -> None:
    for name in NAMES:
        write_video(new.a / f"{name}.mp4", 0, frames=5)
    with pytest.raises(InputError, match=r"car_turns.*dog_runs.*dog_sits.*; and 1 more\. Raters need"):
        create_study(new)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not a study, or is damaged: its JSON: Invalid JSON"),
        ("{}", "is not a study, or is damaged: format: Field required"),
        (None, "study.json cannot be read: No such file or directory. `motif study create` makes a study."),
    ],
)
def test_a_folder_that_is_no_study(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "study.json").write_text(text)
    with pytest.raises(InputError) as caught:
        Study.load(tmp_path)
    assert message in str(caught.value)


def test_a_study_of_another_version(new: NewStudy) -> None:
    replace(create_study(new), format=2).save(new.out)
    with pytest.raises(InputError, match=r"has format 2, and this version of motif reads 1"):
        Study.load(new.out)
