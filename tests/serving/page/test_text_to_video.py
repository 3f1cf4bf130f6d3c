"""The page in a browser where models make videos from text alone, beside others or by themselves."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from models.misfits import superfluous_image
from serving.generate.models import ServedModel
from serving.jobs.job import Job
from serving.settings import Settings
from tests.serving import browsing
from tests.serving.browsing import Visit, visiting
from tests.serving.calls import picture
from tests.serving.server import Server, serve

pytestmark = pytest.mark.slow


@pytest.fixture
def star(tmp_path: Path) -> Path:
    (tmp_path / "star.png").write_bytes(picture((200, 120)))
    return tmp_path / "star.png"


@pytest.fixture
def server(tiny: ServedModel, words: ServedModel, settings: Settings) -> Iterator[Server]:
    """Both kinds of models; that of pictures is the default."""
    with serve([tiny, words], settings) as running:
        yield running


@pytest.fixture
def visit(browser: Any, server: Server) -> Iterator[Visit]:
    with visiting(browser, server) as visit:
        yield visit


def newest(server: Server) -> Job:
    found = server.store.page("", None, 1, newest_first=True)
    assert found is not None
    return found[0][0]


def test_the_form_follows_the_model_and_forgets_nothing(visit: Visit, server: Server, star: Path) -> None:
    tab = visit.tab
    tab.set_input_files("#input_reference", star)
    tab.wait_for_selector("#image-name:has-text('star.png')")
    tab.evaluate("document.getElementById('advanced').open = true")
    for name, value in (("prompt", "a star"), ("seed", "7"), ("negative_prompt", "blur"), ("num_frames", "3")):
        tab.fill(f"#{name}", value)
    tab.select_option("#model", "words")
    assert tab.is_hidden("#input_reference")
    assert tab.is_hidden("#image-name")
    assert tab.text_content("#tagline") == "A sentence in, a video out."
    assert tab.inner_text("#seed-hint") == "The same prompts, settings and seed give the same video."
    assert [tab.input_value(f"#{name}") for name in ("prompt", "seed", "num_frames")] == ["a star", "7", "4"]
    tab.fill("#num_inference_steps", "3")
    tab.evaluate(browsing.HAND_OVER, ["drop", list(star.read_bytes()), "other.png"])
    tab.wait_for_selector(f"#form-note:text-is('{superfluous_image('words')}')", state="visible")
    tab.select_option("#model", "tiny")
    assert tab.is_hidden("#form-note")
    assert tab.text_content("#image-name") == "star.png, 200 × 120"
    assert tab.is_visible("#preview")
    assert tab.text_content("#tagline") == "An image and a sentence in, a video out."
    assert [tab.input_value(f"#{name}") for name in ("negative_prompt", "num_frames")] == ["blur", "3"]
    tab.select_option("#model", "words")
    assert tab.input_value("#num_inference_steps") == "3"
    tab.click("#generate")
    visit.video()
    order = newest(server).order
    assert (order.model, order.image, order.seed, order.sampling.steps) == ("words", False, 7, 3)
    tab.select_option("#model", "tiny")
    tab.click("#generate")
    tab.wait_for_selector("#facts div:has(dt:text-is('Model')) dd:text-is('tiny')", timeout=browsing.SECONDS)
    order = newest(server).order
    assert (order.model, order.image, order.frames) == ("tiny", True, 3)


def test_a_video_of_text_is_varied_and_repeated_without_an_image(visit: Visit, server: Server, star: Path) -> None:
    tab = visit.tab
    visit.ask(star, "with a picture")
    visit.video()
    assert tab.text_content("#remix").strip() == "Same image, other prompt"
    tab.select_option("#model", "words")
    visit.ask(prompt="of words")
    tab.wait_for_selector("#job-prompt:text-is('of words')")
    visit.video()
    seed = visit.seed()
    assert tab.text_content("#remix") == "Same seed, other prompt"
    tab.click("#remix")
    assert tab.text_content("#remix-label") == "Prompt for the same seed"
    tab.fill("#remix-prompt", "other words")
    tab.keyboard.press("Control+Enter")
    tab.wait_for_selector("#job-prompt:text-is('other words')")
    visit.video()
    assert visit.seed() == seed
    tab.select_option("#model", "tiny")
    tab.click("#repeat")
    assert tab.input_value("#model") == "words"
    assert tab.text_content("#form-note") == "The form has the settings of this video."
    assert tab.evaluate("document.activeElement.id") == "generate"
    tab.click("#history a:has-text('with a picture')")
    tab.wait_for_selector("#job-prompt:text-is('with a picture')")
    tab.click("#repeat")
    assert tab.input_value("#model") == "tiny"
    assert tab.is_visible("#preview")


def test_a_server_of_text_alone_has_no_image_field(
    browser: Any, words: ServedModel, settings: Settings, star: Path
) -> None:
    with serve([words], settings) as server, visiting(browser, server) as visit:
        tab = visit.tab
        assert tab.is_hidden("#input_reference")
        assert tab.evaluate(browsing.LOW_CONTRAST) == []
        tab.click("#generate")
        assert tab.text_content("#prompt-error") == "Write a prompt."
        assert tab.evaluate("document.activeElement.id") == "prompt"
        server.hold.set()
        visit.ask(prompt="a star that moves")
        tab.wait_for_selector("#stage:has-text('Waiting')")
        assert tab.text_content("#empty") == "The video is being generated."
        tab.reload()
        tab.wait_for_selector("#job-prompt:text-is('a star that moves')")
        assert tab.input_value("#prompt") == "a star that moves"
        server.hold.clear()
        visit.video()
        tab.evaluate(browsing.HAND_OVER, ["paste", list(star.read_bytes()), "star.png"])
        tab.wait_for_selector(f"#form-note:text-is('{superfluous_image('words')}')", state="visible")
