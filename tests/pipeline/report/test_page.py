import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from base.storage.folder import Folder
from pipeline.report import charts, pictures
from pipeline.report.choose import choose
from pipeline.report.page import ReportOptions, write_report
from tests.pipeline.conftest import SMALL, Preprocessing
from tests.pipeline.datasets import set_values


class Page(HTMLParser):
    """Counts tags, and keeps every place that the page would load something from."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.places: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.places += [value or "" for name, value in attrs if name in ("src", "href", "poster")]


@pytest.fixture(scope="module")
def page(sprites_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("page") / "inspect.html"
    write_report(Folder(str(sprites_dataset)), out, ReportOptions(num=6))
    return out


def test_the_page_needs_nothing_else(page: Path) -> None:
    found = Page(page.read_text())
    assert found.tags.count("article") == 6
    assert found.tags.count("video") == 12
    assert all(place.startswith("data:") for place in found.places)
    assert not re.search(r"https?://", page.read_text().replace("http://www.w3.org", ""))


def test_captions_and_errors_cannot_break_the_page(
    preprocess: Preprocessing, sprites_folder: Path, tmp_path: Path
) -> None:
    manifest = tmp_path / "m.csv"
    video = sprites_folder / "videos" / "000000.mp4"
    manifest.write_text(f'video,caption\n{video},"<script>alert(1)</script> & $title ""x"""\n/no/<b>.mp4,gone\n')
    preprocess(manifest, tmp_path / "d", replace(SMALL, max_failed=0.9))
    write_report(Folder(str(tmp_path / "d")), tmp_path / "page.html", ReportOptions())
    text = (tmp_path / "page.html").read_text()
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; $title" in text
    assert "<b>.mp4" not in text
    assert "MissingFile" in text
    assert Page(text).tags.count("script") == 1


def test_a_clip_whose_video_is_gone_says_so(sprites_dataset: Path, tmp_path: Path) -> None:
    dataset = Path(shutil.copytree(sprites_dataset, tmp_path / "d"))
    for path in (dataset / "clips").iterdir():
        uris = pa.array(["/nowhere/gone.mp4"] * pq.read_metadata(path).num_rows)
        set_values(Folder(str(dataset / "clips")), path.name, "uri", uris)
    write_report(Folder(str(dataset)), tmp_path / "page.html", ReportOptions(num=2))
    text = (tmp_path / "page.html").read_text()
    assert text.count("The video cannot be shown: MissingFile") == 2
    assert Page(text).tags.count("video") == 0


def test_an_empty_dataset_has_a_page(preprocess: Preprocessing, sprites_folder: Path, tmp_path: Path) -> None:
    preprocess(sprites_folder / "manifest.csv", tmp_path / "d", replace(SMALL, keep=("source_height>=9000",)))
    write_report(Folder(str(tmp_path / "d")), tmp_path / "page.html", ReportOptions())
    text = (tmp_path / "page.html").read_text()
    assert "There are no clips." in text
    assert "source_height&gt;=9000" in text


def test_clips_are_chosen_from_still_to_lively(sprites_dataset: Path) -> None:
    shown = choose(Folder(str(sprites_dataset)), "heatmaps", 5, 0, ())
    motion = [one.scores["mean_intensity"] for one in shown]
    assert motion == sorted(motion)
    assert len({one.clip["clip_id"] for one in shown}) == 5
    everything = choose(Folder(str(sprites_dataset)), "heatmaps", 99, 0, ())
    assert len(everything) == 16
    assert motion[0] <= np.median([one.scores["mean_intensity"] for one in everything]) <= motion[-1]
    lively = choose(Folder(str(sprites_dataset)), "heatmaps", 99, 0, (f"mean_intensity>{motion[2]}",))
    assert 0 < len(lively) < 16
    assert min(one.scores["mean_intensity"] for one in lively) > motion[2]


def test_the_overlay_tints_what_is_lit_and_greys_the_rest() -> None:
    frames = np.full((1, 64, 64, 3), (10, 200, 30), np.uint8)
    heatmap = np.zeros((1, 4, 4), np.float32)
    heatmap[0, 0, 0] = 1
    out = pictures.overlay(frames, heatmap)[0].astype(int)
    assert out[5, 5, 0] - out[5, 5, 2] > 100  # orange
    assert np.ptp(out[40, 40]) <= 1  # grey


def test_charts_hold_every_value() -> None:
    svg = charts.histogram("x", np.array([0.0, 1, 1, 5]))
    assert sum(int(count) for count in re.findall(r": (\d+)</title>", svg)) == 4
    assert "median 1" in svg
    drawn = charts.bars("some", {"<a>": 1, "b": 3})
    assert 0 < drawn.index("<td>b</td>") < drawn.index("<td>&lt;a&gt;</td>")


@pytest.mark.slow
def test_in_a_browser_videos_play_and_captions_are_found(page: Path, browser: Any, tmp_path: Path) -> None:
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    errors: list[str] = []
    asked: list[str] = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(page.as_uri())
    tab.check("#play")
    tab.wait_for_function("[...document.querySelectorAll('video')].every(v => v.currentTime > 0)")
    caption = tab.text_content(".clip .caption")
    tab.fill("#find", caption)
    shown = tab.locator(".clip:visible .caption").all_text_contents()
    assert shown
    assert all(caption in text for text in shown)
    tab.fill("#find", "")
    tab.select_option("#sort", "meanssim")
    order = tab.evaluate("[...document.querySelectorAll('.clip')].map(c => parseFloat(c.dataset.meanssim))")
    assert order == sorted(order)
    tab.set_viewport_size({"width": 390, "height": 800})
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    tab.screenshot(path=tmp_path / "shot.png")
    picture = cv2.imread(str(tmp_path / "shot.png"))
    assert picture is not None
    assert picture.std() > 10
    assert errors == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
