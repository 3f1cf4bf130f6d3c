"""A folder of videos is measured, and what does not fit is named."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from base.errors import InputError, WeightsError
from evaluation.metrics.formulas.frechet import frechet_distance
from evaluation.metrics.measure import measure
from evaluation.metrics.networks.clip import load_clip
from evaluation.metrics.observe import Decoded
from evaluation.metrics.observers import open_observers
from evaluation.metrics.registry import ELSEWHERE, METRICS
from evaluation.metrics.result import Mean, Result, Value, summarize
from evaluation.metrics.settings import Settings
from evaluation.metrics.videos import list_videos, open_videos
from media.picture import read_image
from tests.evaluation.metrics.moving import moving_square, write_video, write_videos
from tests.evaluation.metrics.tiny import write_aesthetic, write_clip, write_dino, write_i3d

WITHOUT_NETWORKS = {"temporal_flickering", "dynamic_degree_dis", "mean_intensity", "moving_share", "static_share"}


def silent(line: str) -> None:
    pass


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos, real ones that are the same, and weights."""
    folder = tmp_path_factory.mktemp("metrics")
    write_videos(folder / "in")
    (folder / "real").mkdir()
    for number in range(3):
        write_video(folder / "real" / f"r{number}.mp4", moving_square(4, 6, seed=10 + number)[0])
    write_clip(folder / "clip")
    write_dino(folder / "dino")
    write_aesthetic(folder / "head.pth")
    write_i3d(folder / "i3d.pt")
    return folder


@pytest.fixture(scope="module")
def settings(place: Path) -> Settings:
    return Settings(
        prompts=place / "in/prompts.csv",
        clip=str(place / "clip"),
        dino=str(place / "dino"),
        aesthetic=str(place / "head.pth"),
        i3d=place / "i3d.pt",
        reference=place / "real",
        batch=3,
        device="cpu",
    )


@pytest.fixture(scope="module")
def result(place: Path, settings: Settings) -> Result:
    return measure(place / "in/videos", settings, silent)


def pixels(folder: Path) -> dict[str, np.ndarray]:
    return {name: video.frames() for name, video in open_videos(list_videos(folder, "VIDEOS")).items()}


def test_without_weights_what_needs_none_is_computed_and_the_rest_is_named(place: Path) -> None:
    lines: list[str] = []
    found = measure(place / "in/videos", Settings(prompts=place / "in/prompts.csv", device="cpu"), lines.append)
    assert found.metrics.keys() == WITHOUT_NETWORKS
    names = {metric.name for metric in METRICS} | ELSEWHERE.keys() | {"fvd"}
    assert found.not_computed.keys() == names - WITHOUT_NETWORKS
    assert found.not_computed["image_alignment"] == "--clip is not given"
    assert found.not_computed["i2v_subject"] == "--dino is not given"
    assert found.not_computed["dynamic_degree"] == "--raft is not given"
    assert found.not_computed["aesthetic_quality"] == "--aesthetic is not given"
    assert found.not_computed["fvd"] == "--i3d is not given"
    assert "DreamSim" in found.not_computed["i2v_background"]
    assert (found.fvd, found.weights) == (None, {})
    assert lines == ["1 of 3 videos measured", "2 of 3 videos measured", "3 of 3 videos measured"]


def test_motion_is_seen_and_stillness_too(result: Result) -> None:
    moving, still = result.per_video["v0"], result.per_video["v2"]
    assert moving["dynamic_degree_dis"] == Value(1, 0)
    assert still["dynamic_degree_dis"] == Value(0, 0)
    assert moving["static_share"] == Value(0, 1)
    assert still["static_share"] == Value(1, 1)
    assert moving["temporal_flickering"].video < 0.99 < still["temporal_flickering"].video
    assert moving["temporal_flickering"].static == 1
    # A quarter of the frame moves by 8 pixels; what it uncovers has no true flow.
    assert moving["mean_intensity"].video == pytest.approx(2, rel=0.3)
    assert moving["moving_share"].video == pytest.approx(0.28, abs=0.08)


def test_the_static_baseline_is_the_first_frame_repeated(place: Path, settings: Settings) -> None:
    """What is observed of it is what is observed of a video made so."""
    observers = open_observers(settings, torch.device("cpu"))
    frames = pixels(place / "in/videos")["v0"]
    image = read_image(place / "in/v1.png", (128, 128))
    video = Decoded(frames, 16.0, "a prompt", image)
    _, static = observers.observe(video)
    made, _ = observers.observe(replace(video, frames=np.repeat(frames[:1], len(frames), axis=0)))
    assert made.keys() == static.keys() >= {"clip", "clip_text", "dino_image", "dis", "dis_8fps", "ratings", "frames"}
    assert (len(made["dis"]), len(made["dis_8fps"])) == (4, 2)
    for name, observed in made.items():
        assert observed.shape == static[name].shape
        np.testing.assert_allclose(observed, static[name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_alignment_is_of_the_frames_with_image_and_prompt(place: Path, settings: Settings, result: Result) -> None:
    clip, tensors = load_clip(settings.clip, "", torch.device("cpu"), 99, "--clip")
    frames = pixels(place / "in/videos")["v1"]
    image = read_image(place / "in/v1.png", (128, 128))

    def unit(rows: np.ndarray) -> np.ndarray:
        return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True))

    features = unit(clip.frames(frames))
    to_image = features @ unit(clip.frames(image[None]))[0]
    to_text = features @ unit(clip.prompt("the square moves 1"))
    found = result.per_video["v1"]
    assert found["image_alignment"].video == pytest.approx(100 * to_image.mean(), rel=1e-4)
    assert found["image_alignment"].static == pytest.approx(100 * to_image[0], rel=1e-4)
    assert found["text_alignment"].video == pytest.approx(250 * np.maximum(to_text, 0).mean(), rel=1e-4, abs=1e-4)
    assert found["text_cosine"].static == pytest.approx(to_text[0], rel=1e-3, abs=1e-5)
    assert result.weights["clip"] == tensors


def test_a_video_that_is_its_first_frame_is_like_itself(result: Result) -> None:
    for values in result.per_video.values():
        for name in ("subject_consistency", "background_consistency", "temporal_flickering"):
            assert values[name].static == pytest.approx(1)
            assert values[name].video <= 1 + 1e-9
    assert result.per_video["v2"]["i2v_subject"].video == pytest.approx(1, abs=0.02)


def test_fvd_is_the_distance_of_the_features(place: Path, result: Result) -> None:
    def features(frames: np.ndarray) -> np.ndarray:
        wide = frames.astype(np.float64) / 127.5 - 1
        return np.concatenate([wide.mean((0, 1, 2)), np.abs(np.diff(wide, axis=0)).mean((0, 1, 2))])

    real = np.stack([features(frames) for frames in pixels(place / "real").values()])
    ours = pixels(place / "in/videos").values()
    still = [np.repeat(frames[:1], len(frames), axis=0) for frames in ours]
    assert result.fvd is not None
    assert result.fvd.reference == 3
    assert result.fvd.videos == pytest.approx(frechet_distance(np.stack([*map(features, ours)]), real), rel=1e-3)
    assert result.fvd.static == pytest.approx(frechet_distance(np.stack([*map(features, still)]), real), rel=1e-3)
    assert result.weights["i3d"].startswith("sha256:")


def test_means_are_over_videos_and_intervals_over_scenes(result: Result) -> None:
    assert (result.count, result.scenes, result.frames, result.height, result.width) == (3, 2, 5, 128, 128)
    for name, row in result.metrics.items():
        values = [values[name] for values in result.per_video.values()]
        assert row.videos.value == pytest.approx(np.mean([value.video for value in values]))
        assert row.static.value == pytest.approx(np.mean([value.static for value in values]))
        assert row.difference.value == pytest.approx(row.videos.value - row.static.value, abs=1e-9)
        assert row.videos.low is not None
        assert row.videos.high is not None
        assert row.videos.low - 1e-9 <= row.videos.value <= row.videos.high + 1e-9
    moving = result.metrics["dynamic_degree_dis"].videos  # one scene has 1, the other 1 and 0
    assert (moving.value, moving.low, moving.high) == pytest.approx((2 / 3, 0.5, 1))


def test_intervals_of_many_independent_videos_are_those_of_a_mean() -> None:
    generator = np.random.default_rng(0)
    values = generator.normal(50, 3, 400)
    metric = METRICS[0]
    rows = {f"{number}": {metric.name: Value(value, 1.0)} for number, value in enumerate(values)}
    found = summarize([metric], rows, [*rows])[metric.name]
    half = 1.96 * values.std() / 20
    assert found.videos.low == pytest.approx(values.mean() - half, abs=0.05)
    assert found.videos.high == pytest.approx(values.mean() + half, abs=0.05)
    assert found.static == Mean(1, 1, 1)


def test_one_scene_has_no_interval() -> None:
    metric = METRICS[0]
    found = summarize([metric], {name: {metric.name: Value(90.0, 99.0)} for name in "ab"}, ["s", "s"])[metric.name]
    assert found.videos == Mean(90, None, None)
    assert found.difference == Mean(-9, None, None)


def test_the_same_files_give_the_same_result(place: Path, settings: Settings, result: Result) -> None:
    assert asdict(measure(place / "in/videos", settings, silent)) == asdict(result)


def test_the_batch_changes_speed_only(place: Path, settings: Settings, result: Result) -> None:
    other = measure(place / "in/videos", replace(settings, batch=1), silent)
    for name, row in result.metrics.items():
        assert other.metrics[name].videos.value == pytest.approx(row.videos.value, rel=1e-4, abs=1e-5)


def test_videos_without_an_image_are_not_compared_with_one(place: Path, settings: Settings, tmp_path: Path) -> None:
    text = (place / "in/prompts.csv").read_text().replace("v1.png", "")
    for number in (0, 2):
        shutil.copy(place / f"in/v{number}.png", tmp_path)
    (tmp_path / "prompts.csv").write_text(text)
    found = measure(place / "in/videos", replace(settings, prompts=tmp_path / "prompts.csv"), silent)
    reason = "1 of 3 videos have no image in --prompts"
    for name in ("image_alignment", "image_cosine", "i2v_subject"):
        assert found.not_computed[name] == reason
    assert {"text_alignment", "subject_consistency", "background_consistency"} <= found.metrics.keys()


def test_fvd_is_named_where_it_has_no_meaning(place: Path, settings: Settings, tmp_path: Path) -> None:
    no_reference = replace(settings, reference=None, clip="", dino="", aesthetic="")
    assert measure(place / "in/videos", no_reference, silent).not_computed["fvd"] == "--reference is not given"
    shutil.copytree(place / "in", tmp_path / "in")
    for number in (1, 2):
        (tmp_path / f"in/videos/v{number}.mp4").unlink()
    lines = (tmp_path / "in/prompts.csv").read_text().splitlines()[:2]
    (tmp_path / "in/prompts.csv").write_text("\n".join(lines))
    one = replace(settings, prompts=tmp_path / "in/prompts.csv", clip="", dino="", aesthetic="")
    assert measure(tmp_path / "in/videos", one, silent).not_computed["fvd"] == "it needs at least two videos"


def test_weights_that_are_damaged_are_found(place: Path, settings: Settings, tmp_path: Path) -> None:
    torch.save({"weight": torch.full((1, 12), float("nan")), "bias": torch.zeros(1)}, tmp_path / "head.pth")
    with pytest.raises(WeightsError, match=r"aesthetic_quality of .*v0\.mp4 is not a finite number"):
        measure(place / "in/videos", replace(settings, aesthetic=str(tmp_path / "head.pth")), silent)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:300])


def write(path: Path, steps: int = 4, size: slice = slice(None), fps: float = 8) -> None:
    write_video(path, moving_square(steps, 2)[0][:, size], fps)


def single(path: Path) -> None:
    write_video(path, moving_square(0, 0)[0])


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda folder: shutil.rmtree(folder / "videos"), "VIDEOS .*videos: there is no such folder"),
        (lambda folder: [path.unlink() for path in (folder / "videos").iterdir()], "there is no .mp4 file"),
        (lambda folder: (folder / "videos/v1.mp4").unlink(), "videos has no v1.mp4. Each line of --prompts needs its"),
        (lambda folder: write(folder / "videos/new.mp4"), "--prompts .*: there is no prompt for new.mp4. Add a line"),
        (lambda folder: cut(folder / "videos/v1.mp4"), "v1.mp4 cannot be read .*Make these videos anew"),
        (lambda folder: (folder / "videos/v1.mp4").write_bytes(b""), "v1.mp4 cannot be read .the file has no bytes"),
        (lambda folder: write(folder / "videos/v1.mp4", steps=6), "v1.mp4 has 7 frames of 128 x 128 .* v0.mp4: 5 fr"),
        (lambda folder: write(folder / "videos/v1.mp4", size=slice(64)), "v1.mp4 has 5 frames of 64 x 128 pixels"),
        (lambda folder: write(folder / "videos/v1.mp4", fps=10), "at 10 per second. All videos must be like the first"),
        (lambda folder: single(folder / "videos/v1.mp4"), "v1.mp4 cannot be used: it has one frame"),
        (lambda folder: (folder / "prompts.csv").unlink(), "--prompts .*prompts.csv cannot be read: No such file"),
        (lambda folder: (folder / "prompts.csv").write_text("video,text\n"), "has the columns video, text: it must"),
        (lambda folder: (folder / "v1.png").unlink(), "line 3: there is no image"),
        (lambda folder: (folder / "v1.png").write_bytes(b"no picture"), "image .*v1.png: not a readable picture"),
    ],
)
def test_what_does_not_fit_is_named(
    place: Path, settings: Settings, tmp_path: Path, fault: Callable[[Path], object], message: str
) -> None:
    shutil.copytree(place / "in", tmp_path / "in")
    fault(tmp_path / "in")
    with pytest.raises(InputError, match=message) as caught:
        measure(tmp_path / "in/videos", replace(settings, prompts=tmp_path / "in/prompts.csv"), silent)
    assert "\n" not in str(caught.value)


def test_of_many_faults_three_are_named(place: Path, settings: Settings, tmp_path: Path) -> None:
    lines = ["name,prompt", *(f"n{number},a prompt" for number in range(6))]
    (tmp_path / "prompts.csv").write_text("\n".join([*lines, "v0,a", "v1,a", "v2,a"]))
    with pytest.raises(InputError, match=r"no n0\.mp4; .*n1\.mp4; .*n2\.mp4; and 3 more\. Each line"):
        measure(place / "in/videos", replace(settings, prompts=tmp_path / "prompts.csv"), silent)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompts": None}, "--prompts is missing: give a CSV file"),
        ({"batch": 0}, "--batch 0: must be at least 1"),
        ({"i3d": None}, "--reference: needs --i3d, which is missing"),
        ({"clip": ""}, "--aesthetic .*: rates CLIP's features; give --aesthetic-clip"),
        ({"clip": "", "aesthetic": "", "clip_architecture": "ViT-B-32"}, "--clip-architecture: needs --clip, which"),
        ({"i3d_sha256": "00" * 32}, "--i3d-sha256 is another"),
        ({"clip": "nowhere"}, "--clip: weights 'nowhere' are neither a file, a folder"),
        ({"dino": "nowhere"}, "--dino: weights 'nowhere' are neither"),
        ({"raft": "nowhere"}, "--raft nowhere: RAFT-large: weights 'nowhere' are neither"),
        ({"aesthetic": "nowhere"}, "--aesthetic: weights 'nowhere' are neither"),
        ({"reference": Path("nowhere")}, "--reference nowhere: there is no such folder"),
    ],
)
def test_settings_that_do_not_fit(place: Path, settings: Settings, change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        measure(place / "in/videos", replace(settings, **change), silent)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("frames", "fps", "message"),
    [(5, 16, r"r\.mp4 has 5 frames of .* at 16 per second\. For FVD they must be as long"), (9, 8, "has 9 frames")],
)
def test_real_videos_must_be_as_long_and_fast(
    place: Path, settings: Settings, tmp_path: Path, frames: int, fps: float, message: str
) -> None:
    for name in ("r", "s"):
        write_video(tmp_path / f"{name}.mp4", moving_square(frames - 1, 2)[0], fps)
    with pytest.raises(InputError, match=message):
        measure(place / "in/videos", replace(settings, reference=tmp_path), silent)


def test_one_real_video_has_no_covariance(place: Path, settings: Settings, tmp_path: Path) -> None:
    shutil.copy(place / "real/r0.mp4", tmp_path)
    with pytest.raises(InputError, match="has one video: FVD needs at least two"):
        measure(place / "in/videos", replace(settings, reference=tmp_path), silent)


def test_a_result_is_json(result: Result) -> None:
    assert json.loads(json.dumps(asdict(result), allow_nan=False))["per_video"]["v0"]["static_share"]["static"] == 1
