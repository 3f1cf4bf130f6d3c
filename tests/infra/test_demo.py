"""``motif demo``, and its page."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from base.errors import InputError
from base.storage.folder import Folder
from diffusion.options import SamplingChanges
from infra.demo import steps
from infra.demo.curve import curve
from infra.demo.page import Made, count_right, write_page
from infra.demo.samples import Plan, Sample, write_samples
from infra.demo.settings import Demo
from infra.toy import MODEL, read_story

Motif = Callable[..., tuple[int, str, str]]
PLAN = Plan(seed=5, scenes=1, sampling=SamplingChanges(steps=1))


def quiet(line: str) -> None:
    del line


class Tags(HTMLParser):
    """Every tag of a page, and every place that it would load something from or lead to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.places: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.places += [value or "" for name, value in attrs if name in ("src", "href", "poster")]


@pytest.fixture(scope="module")
def demo(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """A demo of four videos and one step, all but its samples and its page."""
    made = Demo(tmp_path_factory.mktemp("demo") / "it", num=4, seed=5, steps=1)
    made.claim()
    steps.write_videos(made)
    steps.write_features(made, quiet)
    steps.write_inspection(made)
    assert steps.train(made, quiet) == 1
    return made


@pytest.fixture(scope="module")
def made(demo: Demo) -> Made:
    toy, run = (
        write_samples(str(model), Folder(str(demo.samples / name)), PLAN, quiet)
        for name, model in (("toy", MODEL), ("run", demo.run))
    )
    return Made(toy, run)


def test_the_page_shows_all_of_it_and_needs_nothing_else(demo: Demo, made: Made) -> None:
    write_page(demo, made)
    text = demo.page.read_text()
    found = Tags(text)
    assert found.tags.count("video") == 2 * 4 + 2 * 4  # samples of both models; clips and their heatmaps
    assert found.tags.count("svg") == 2
    assert {place.split(":")[0] for place in found.places} == {"data", "dataset/inspect.html"}
    assert (demo.out / "dataset/inspect.html").is_file()
    assert not re.search(r"https?://", text)
    for row in made.run:
        assert all(sample.prompt in text for sample in row)
    story = read_story()
    assert f"<td>{story.date}</td><td>{story.steps:,}</td><td>{story.clips:,}</td>" in text
    assert re.search(r"<td>20\d\d-\d\d-\d\d \d\d:\d\d</td><td>1</td><td>4</td>", text)
    assert f"motif serve {demo.run}" in text
    assert "$" not in re.sub(r"data:[^\"]*", "", text)


def test_training_goes_on_from_the_toy(demo: Demo) -> None:
    lines = [json.loads(line) for line in (demo.run / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 1
    assert lines[0]["loss"] < 0.6 * read_story().loss[0][1]


def test_samples_that_are_there_stay(demo: Demo, made: Made) -> None:
    folder = Folder(str(demo.samples / "run"))
    before = {path.name: path.stat().st_mtime_ns for path in folder.path.iterdir()}
    assert len(before) == 4 + 1 + 1  # videos, the picture, what was asked for
    assert write_samples(str(demo.run), folder, PLAN, quiet) == made.run
    assert {path.name: path.stat().st_mtime_ns for path in folder.path.iterdir()} == before
    other = write_samples(str(demo.run), folder, replace(PLAN, seed=6), quiet)
    assert other != made.run
    (folder.path / other[0][0].file).unlink()
    assert write_samples(str(demo.run), folder, PLAN, quiet) == made.run
    assert (folder.path / made.run[0][0].file).is_file()


def test_what_is_there_is_left_as_it_is(demo: Demo) -> None:
    before = {path: path.stat().st_mtime_ns for path in demo.out.rglob("*") if path.suffix in (".mp4", ".parquet")}
    demo.claim()
    steps.write_videos(demo)
    steps.write_features(demo, quiet)
    assert steps.train(demo, quiet) == 1
    after = {path: path.stat().st_mtime_ns for path in demo.out.rglob("*") if path.suffix in (".mp4", ".parquet")}
    assert {path: time for path, time in after.items() if path in before} == before


def test_a_demo_of_other_videos_starts_over(tmp_path: Path) -> None:
    demo = Demo(tmp_path / "d", num=3, seed=0, steps=1)
    demo.claim()
    steps.write_videos(demo)
    replace(demo, steps=7).claim()  # may grow
    assert (demo.videos / "manifest.csv").is_file()
    for other in (replace(demo, num=2), replace(demo, num=2, seed=1)):
        other.claim()
        assert not demo.videos.exists()
        steps.write_videos(other)
        assert len(list((demo.videos / "videos").glob("*.mp4"))) == 2
    (demo.out / "demo.json").write_text("{")
    demo.claim()
    assert not demo.videos.exists()


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="the folder is neither empty nor a demo"):
        Demo(tmp_path, 1, 0, 1).claim()
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--num", "0"], "--num 0: must be at least 1"),
        (["--steps", "0"], "--steps 0: must be at least 1"),
        (["--seed", "-1"], "--seed -1: must be at least 0"),
        (["--out", "taken"], "--out taken: the folder is neither empty"),
    ],
)
def test_mistakes_are_told_in_one_sentence(
    motif: Motif, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("taken").mkdir()
    Path("taken/notes").write_text("x")
    status, out, told = motif("demo", *args)
    assert status == 2
    assert said in told
    assert len(told.strip().splitlines()) == 1
    assert not out
    assert not Path("demo").exists()


def test_how_many_are_right_is_counted() -> None:
    one = Sample("a.mp4", "a.png", "the red star moves up", "up", "up")
    rows = [[one, replace(one, moved="")], [replace(one, moved="down"), one]]
    assert count_right(rows) == (2, 4)


def test_a_curve_holds_its_values() -> None:
    points = [(step, 2.0 - step / 100) for step in range(100)]
    drawn = curve("a & b", points, window=25)
    assert "a &amp; b" in drawn
    assert "1.880 at first, 1.130 at last; mean over 25 steps" in drawn
    assert [len(line.split()) for line in re.findall(r'points="([^"]*)"', drawn)] == [100, 100]
    plain = curve("b", points)
    assert "2.000 at first, 1.010 at last<" in plain
    assert plain.count("<polyline") == 1
    assert "0.500 at first, 0.500 at last<" in curve("c", [(0, 0.5)], window=25)


@pytest.mark.slow
def test_the_page_in_a_browser(demo: Demo, made: Made, browser: Any) -> None:
    write_page(demo, made)
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    errors: list[str] = []
    asked: list[str] = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(demo.page.as_uri())
    # A browser lets a video begin by itself once it is in view.
    seen = "[...document.querySelectorAll('video')].filter(v => v.getBoundingClientRect().bottom < innerHeight)"
    tab.wait_for_function(f"{seen}.length > 0 && {seen}.every(v => v.currentTime > 0)")
    tab.click("#play")
    assert tab.evaluate("[...document.querySelectorAll('video')].every(v => v.paused)")
    assert tab.text_content("#play") == "Play all"
    tab.set_viewport_size({"width": 390, "height": 800})
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    assert errors == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
