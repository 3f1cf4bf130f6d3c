"""The page at ``/`` in a browser, on a real server with a tiny model."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from serving.generate.models import ServedModel
from serving.settings import Settings, key_hash
from tests.serving import browsing
from tests.serving.browsing import PROMPT, Visit, visiting
from tests.serving.server import Server, serve


@pytest.fixture
def visit(browser: Any, server: Server) -> Iterator[Visit]:
    with visiting(browser, server) as visit:
        yield visit


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "star.png"
    pixels = np.random.default_rng(0).integers(0, 256, (6, 10, 3), np.uint8).repeat(20, 0).repeat(20, 1)
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.slow
def test_an_image_and_a_sentence_become_a_video_that_plays(visit: Visit, picture: Path, server: Server) -> None:
    tab = visit.tab
    tab.evaluate(browsing.NOTE_PROGRESS)
    visit.ask(picture, num_inference_steps=200, seed=2**53 + 1)
    visit.video()
    assert tab.evaluate("[video.videoWidth, video.videoHeight, video.muted, video.loop]") == [64, 32, True, True]
    moved = "new Promise(done => { video.ontimeupdate = () => video.currentTime > 0 && done(true); })"
    assert tab.evaluate(moved)
    stages = tab.evaluate("stages")
    percents = [percent for _, percent, _ in stages]
    assert percents == sorted(percents)
    assert len(set(percents)) > 3
    assert set(re.findall(r"\d+", " ".join(said for *_, said in stages))) <= {"25", "50", "75"}
    assert visit.seed() == str(2**53 + 1)
    assert re.fullmatch(r"motif-video_\w+\.mp4", tab.get_attribute("#download", "download"))
    tab.wait_for_selector("#history li img", state="visible")
    assert tab.locator("#history li").count() == 1
    job = server.store.page("", None, 1, True)[0][0]
    assert (job.order.prompt, job.order.seed, job.order.sampling.steps) == (PROMPT, 2**53 + 1, 200)


@pytest.mark.slow
def test_a_video_can_be_cancelled_while_it_waits_and_while_it_is_made(
    visit: Visit, picture: Path, server: Server
) -> None:
    tab = visit.tab
    server.hold.set()
    visit.ask(picture)
    tab.wait_for_selector("#stage:text-is('Waiting, next in the queue')")
    tab.click("#cancel")
    tab.wait_for_selector("#empty:text-is('Cancelled.')")
    assert tab.locator("#history li").count() == 0
    server.hold.clear()
    visit.ask(num_inference_steps=200)
    tab.wait_for_selector("#stage:has-text('Generating')")
    tab.click("#cancel")
    tab.wait_for_selector("#empty:text-is('Cancelled.')")
    assert tab.evaluate("document.activeElement.id") == "panel-title"
    tab.reload()
    tab.wait_for_load_state("networkidle")
    assert tab.text_content("#history-note") == "Nothing yet."


@pytest.mark.slow
def test_errors_stand_next_to_their_fields(visit: Visit, picture: Path, tmp_path: Path) -> None:
    tab = visit.tab
    tab.click("#generate")
    assert tab.text_content("#input_reference-error") == "Choose an image."
    assert tab.text_content("#prompt-error") == "Write a prompt."
    assert tab.evaluate("document.activeElement.id") == "input_reference"
    (tmp_path / "words.png").write_text("no picture at all")
    tab.set_input_files("#input_reference", tmp_path / "words.png")
    tab.wait_for_selector("#input_reference-error:has-text('cannot be read as an image')")
    visit.ask(picture, num_frames=99)
    assert tab.text_content("#num_frames-error") == "Give a whole number from 1 to 4."
    assert tab.text_content("#input_reference-error") == ""
    tab.fill("#num_frames", "3")
    assert tab.is_hidden("#num_frames-error")
    (tmp_path / "cut.png").write_bytes(picture.read_bytes()[:-200])
    visit.ask(tmp_path / "cut.png")
    tab.wait_for_selector("#input_reference-error:has-text('input_reference')")  # a browser shows half a picture
    assert tab.evaluate("document.activeElement.id") == "input_reference"
    assert "400" in visit.errors.pop()
    visit.ask(picture)
    visit.video()
    assert "4 frames" in tab.text_content("#warnings")


@pytest.mark.slow
def test_history_and_running_jobs_outlive_a_reload(visit: Visit, picture: Path, server: Server) -> None:
    tab = visit.tab
    visit.ask(picture, "the first")
    visit.video()
    seed = visit.seed()
    tab.reload()
    visit.video()
    assert visit.seed() == seed
    server.hold.set()
    visit.ask(picture, "the second")
    tab.wait_for_selector("#history li >> nth=1")
    tab.goto("about:blank")
    tab.goto(server.url)
    tab.wait_for_selector("#job-prompt:text-is('the second')")
    server.hold.clear()
    visit.video()
    tab.click("#history a:has-text('the first')")
    tab.wait_for_selector("#job-prompt:text-is('the first')")
    tab.go_back()
    tab.wait_for_selector("#job-prompt:text-is('the second')")
    visit.video()
    tab.set_input_files("#input_reference", picture)
    for left in (1, 0):
        tab.click("#history button >> nth=0")
        tab.click("#confirm-yes")
        tab.wait_for_selector(f"#history li >> nth={left}", state="detached")
    tab.click("#remove-image")
    assert tab.evaluate("heldUrls.size") == 0


@pytest.mark.slow
def test_a_reload_keeps_image_and_prompt_of_a_running_job(visit: Visit, picture: Path, server: Server) -> None:
    tab = visit.tab
    server.hold.set()
    visit.ask(picture, "the star moves far")
    tab.wait_for_selector("#stage:has-text('Waiting')")
    tab.reload()
    tab.wait_for_selector("#still[src]", state="visible")
    assert tab.text_content("#job-prompt") == "the star moves far"
    assert tab.text_content("#image-name") == "star.png, 200 × 120"
    assert tab.input_value("#prompt") == "the star moves far"
    server.hold.clear()
    visit.video()
    facts = tab.evaluate(
        "Object.fromEntries([...facts.children].map(one => [...one.children].map(c => c.textContent)))"
    )
    assert facts.items() >= {("Steps", "5"), ("Guidance", "7.5")}
    tab.reload()
    visit.video()
    assert tab.is_hidden("#image-name")  # of what is done nothing is kept here


@pytest.mark.slow
def test_the_prompt_grows_and_delete_is_quiet(visit: Visit, picture: Path) -> None:
    tab = visit.tab
    before = tab.locator("#prompt").bounding_box()["height"]
    visit.ask(picture, "a star that moves to the right, slowly, " * 12)
    assert tab.locator("#prompt").bounding_box()["height"] > 2 * before
    visit.video()
    loud = "id => [getComputedStyle(document.getElementById(id)).backgroundColor, getComputedStyle(generate).color]"
    for name in ("remove-job", "confirm-yes"):
        assert tab.evaluate(loud, name)[0] == "rgba(0, 0, 0, 0)"


@pytest.mark.slow
def test_on_a_phone_the_video_comes_before_the_folded_form(browser: Any, server: Server, picture: Path) -> None:
    size = {"width": 360, "height": 740}
    with visiting(browser, server, viewport=size, is_mobile=True, has_touch=True) as visit:
        tab = visit.tab
        assert tab.is_visible("#prompt")
        assert tab.is_hidden("#unfold")
        visit.ask(picture)
        visit.video()
        assert tab.is_hidden("#prompt")
        assert tab.locator("#panel").bounding_box()["y"] < tab.locator("#form").bounding_box()["y"]
        tab.click("#unfold")
        assert tab.evaluate("document.activeElement.id") == "prompt"


@pytest.mark.slow
def test_it_can_be_used_with_the_keyboard_alone(visit: Visit, picture: Path) -> None:
    tab = visit.tab
    tab.on("filechooser", lambda chooser: None)  # from here on the browser hands its dialogs over
    tab.keyboard.press("Tab")
    tab.wait_for_function("document.activeElement.id === 'input_reference'")
    with tab.expect_file_chooser() as chooser:
        tab.keyboard.press("Enter")
    chooser.value.set_files(picture)
    tab.wait_for_selector("#preview", state="visible")
    tab.keyboard.press("Tab")
    tab.keyboard.press("Tab")
    tab.keyboard.type(PROMPT)
    tab.keyboard.press("Control+Enter")
    visit.video()
    order = []
    while order[-1:] != ["remove-job"] and len(order) < 30:
        tab.keyboard.press("Tab")
        order.append(tab.evaluate("document.activeElement.id"))
        outline = "getComputedStyle(document.activeElement).outlineStyle"
        assert order[-1] == "video" or tab.evaluate(outline) != "none", order[-1]
    stops = ["generate", "video", "download", "repeat", "remix", "remove-job"]
    assert [stop for stop in dict.fromkeys(order) if stop in stops] == stops
    tab.keyboard.press("Enter")
    tab.wait_for_selector("#confirm", state="visible")
    tab.keyboard.press("Tab")
    tab.keyboard.press("Enter")
    tab.wait_for_selector("#empty:text-is('Deleted.')")
    assert tab.evaluate("document.activeElement.id") == "panel-title"


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_is_cut_off_too_small_or_too_faint(
    browser: Any, server: Server, picture: Path, scheme: str
) -> None:
    size = {"width": 360, "height": 740}
    with visiting(browser, server, viewport=size, is_mobile=True, has_touch=True, color_scheme=scheme) as visit:

        def look() -> None:
            assert visit.tab.evaluate("document.documentElement.scrollWidth") <= 360
            assert visit.tab.evaluate(browsing.LOW_CONTRAST) == []
            assert visit.tab.evaluate(browsing.SMALL_TARGETS) == []

        visit.tab.click("#generate")
        look()
        visit.ask(picture, "a" * 300, num_frames=3)
        visit.video()
        visit.tab.wait_for_selector("#history li img", state="visible")
        visit.tab.click("#remix")
        look()
        visit.tab.click("#remove-job")
        look()


@pytest.mark.slow
def test_a_video_does_not_start_by_itself_where_motion_is_not_wanted(
    browser: Any, server: Server, picture: Path
) -> None:
    with visiting(browser, server, reduced_motion="reduce") as visit:
        visit.ask(picture)
        visit.video()
        visit.tab.wait_for_timeout(300)
        assert visit.tab.evaluate("[video.paused, video.currentTime]") == [True, 0]


@pytest.mark.slow
def test_an_image_can_be_dropped_or_pasted(visit: Visit, picture: Path) -> None:
    for kind in ("drop", "paste"):
        visit.tab.evaluate(browsing.HAND_OVER, [kind, list(picture.read_bytes()), f"{kind}.png"])
        visit.tab.wait_for_selector(f"#image-name:text-is('{kind}.png, 200 × 120')")
    visit.tab.evaluate(browsing.HAND_OVER, ["drop", [1], "notes.txt"])
    visit.tab.wait_for_selector("#input_reference-error:has-text('notes.txt is not a PNG')")
    visit.ask()
    visit.video()


@pytest.mark.slow
def test_a_video_is_repeated_and_varied(visit: Visit, picture: Path) -> None:
    tab = visit.tab
    visit.ask(picture, negative_prompt="blur")
    visit.video()
    seed = visit.seed()
    tab.click("#remix")
    tab.fill("#remix-prompt", "another one")
    tab.keyboard.press("Control+Enter")
    tab.wait_for_selector("#job-prompt:text-is('another one')")
    visit.video()
    assert visit.seed() == seed
    tab.click("#reset")
    tab.click("#repeat")
    tab.wait_for_selector("#form-note", state="visible")
    values = [tab.input_value(f"#{name}") for name in ("prompt", "seed", "negative_prompt", "num_frames")]
    assert values == ["another one", seed, "blur", "4"]
    assert tab.evaluate("document.activeElement.id") == "generate"
    tab.reload()
    visit.video()
    tab.click("#repeat")
    assert tab.evaluate("document.activeElement.id") == "input_reference"
    assert "choose the same" in tab.text_content("#form-note")


@pytest.mark.slow
def test_a_busy_server_is_tried_again_when_it_says(
    browser: Any, tiny: ServedModel, settings: Settings, picture: Path
) -> None:
    with serve([tiny], replace(settings, queue=1)) as server, visiting(browser, server) as visit:
        server.hold.set()
        visit.ask(picture, "the first")
        visit.tab.wait_for_selector("#stage:has-text('Waiting')")
        visit.ask(prompt="the second")
        visit.tab.wait_for_selector("#form-problem:has-text('The queue is full with 1 videos')")
        again = visit.tab.wait_for_selector("#form-problem button")
        assert again.is_disabled()
        assert visit.tab.text_content("#job-prompt") == "the first"
        server.hold.clear()
        visit.video()
        visit.tab.click("#form-problem button")  # waits until it can be
        visit.tab.wait_for_selector("#job-prompt:text-is('the second')")
        visit.video()
        assert "429" in visit.errors.pop()


@pytest.mark.slow
def test_a_server_with_keys_is_given_one(browser: Any, tiny: ServedModel, settings: Settings, picture: Path) -> None:
    keys = (key_hash("0123456789abcdef"),)
    with serve([tiny], replace(settings, key_hashes=keys)) as server, visiting(browser, server) as visit:
        for key, told in (("a key", "no spaces"), ("wrong", "refused this key")):
            visit.tab.fill("#key", key)
            visit.tab.keyboard.press("Enter")
            visit.tab.wait_for_selector(f"#key-error:has-text('{told}')")
            assert visit.tab.is_hidden("#forget-key")  # there is none that works
        visit.tab.fill("#key", "0123456789abcdef")
        visit.tab.click("#key-form button")
        visit.tab.wait_for_selector("#key-form", state="hidden")
        visit.ask(picture)
        visit.video()
        visit.tab.reload()
        visit.video()
        visit.tab.click("#forget-key")
        visit.tab.wait_for_selector("#key-form", state="visible")
        visit.tab.wait_for_load_state("networkidle")
        assert all("401" in error for error in visit.errors)
        visit.errors.clear()


@pytest.mark.slow
def test_a_job_is_found_again_when_the_connection_is_lost(visit: Visit, picture: Path, server: Server) -> None:
    tab = visit.tab
    server.hold.set()
    tab.route(re.compile("/v1/videos/"), lambda route: route.abort())
    visit.ask(picture)
    tab.wait_for_selector("#lost", state="visible")
    tab.unroute_all()
    tab.wait_for_selector("#lost", state="hidden")
    server.hold.clear()
    visit.video()
    assert all("net::ERR_FAILED" in error for error in visit.errors)
    visit.errors.clear()
