"""The page in a browser where some models take a motion level."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.generate.models import ServedModel
from serving.jobs.job import Order
from serving.settings import Settings
from tests.serving import browsing
from tests.serving.browsing import Visit, visiting
from tests.serving.calls import picture
from tests.serving.server import Server, serve

pytestmark = pytest.mark.slow


@pytest.fixture
def server(leveled: ServedModel, tiny: ServedModel, settings: Settings) -> Iterator[Server]:
    with serve([leveled, tiny], settings) as running:
        yield running


@pytest.fixture
def visit(browser: Any, server: Server) -> Iterator[Visit]:
    with visiting(browser, server) as visit:
        yield visit


def newest(server: Server) -> Order:
    found = server.store.page("", None, 1, newest_first=True)
    assert found is not None
    return found[0][0].order


def test_the_slider_is_there_for_models_that_take_a_level(visit: Visit, server: Server, tmp_path: Path) -> None:
    tab, star = visit.tab, tmp_path / "star.png"
    star.write_bytes(picture())
    assert tab.is_visible("#motion_level")
    assert [tab.get_attribute("#motion_level", name) for name in ("min", "max", "type")] == ["1", "10", "range"]
    assert tab.input_value("#motion_level") == tab.text_content("#motion_level-value") == "5"
    assert tab.evaluate(browsing.LOW_CONTRAST) == []
    tab.focus("#motion_level")
    for _ in range(3):
        tab.keyboard.press("ArrowRight")
    assert tab.text_content("#motion_level-value") == "8"
    visit.ask(star, "a star")
    visit.video()
    assert newest(server).motion_level == 8
    assert tab.text_content("#facts div:has(dt:text-is('Motion')) dd") == "8"
    tab.select_option("#model", "tiny")
    assert tab.is_hidden("#motion_level")
    tab.click("#generate")
    tab.wait_for_selector("#facts div:has(dt:text-is('Model')) dd:text-is('tiny')", timeout=browsing.SECONDS)
    assert (newest(server).model, newest(server).motion_level) == ("tiny", None)
    assert not tab.query_selector("#facts dt:text-is('Motion')")
    tab.select_option("#model", "leveled")
    assert tab.text_content("#motion_level-value") == "8"
    tab.evaluate("document.getElementById('advanced').open = true")
    tab.click("#reset")
    assert tab.text_content("#motion_level-value") == "5"
    tab.click("#history a:has-text('a star') >> nth=1")
    tab.wait_for_selector("#facts div:has(dt:text-is('Motion')) dd")
    tab.click("#repeat")
    assert tab.input_value("#motion_level") == tab.text_content("#motion_level-value") == "8"
