"""The page for raters in a browser, on a real server."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image

from evaluation.serve.platforms import html_question
from evaluation.serve.settings import database_url
from evaluation.serve.store import VoteStore
from evaluation.study.create import NewStudy, create_study
from evaluation.study.study import Rules, Study
from tests.evaluation.serve import rating
from tests.evaluation.serve.server import StudyServer, serving
from tests.evaluation.serve.studies import better_side
from tests.evaluation.study.videos import write_models
from tests.serving.browsing import LOW_CONTRAST, SMALL_TARGETS, visiting

LEAST_S = 3.0
PHONE = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True, "color_scheme": "dark"}
SIDEWAYS = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
PRESSED = "[...document.querySelectorAll('[aria-pressed=true]')].map(node => node.id)"

SKIP = """async video => {
  const ended = new Promise(done => video.addEventListener('ended', done));
  video.playbackRate = 16;
  video.currentTime = video.duration - 0.02;
  await video.play();
  await ended;
  return video.playbackRate;
}"""


@dataclass
class Site:
    server: StudyServer
    study: Study
    store: VoteStore

    @property
    def url(self) -> str:
        return self.server.url

    def side(self, tab: Any) -> str:
        """The side of model a in the task that is shown, or the right answer to a gold question."""
        return better_side(self.study, self.slot(tab))

    def slot(self, tab: Any) -> str:
        slot = self.store.slot_of(rating.task_id(tab))
        assert slot is not None
        return slot


@contextmanager
def opened(folder: Path, *options: str, gold: int, least_s: float) -> Iterator[Site]:
    """A study of four pairs and its server."""
    a, b, prompts = write_models(folder)
    Image.new("RGB", (48, 32), (90, 120, 160)).save(folder / "dog.png")
    place = folder / "study"
    study = create_study(NewStudy(a, b, prompts, place, raters=2, gold=gold, rules=Rules(min_seconds=least_s)))
    with serving(place, *options) as server:
        store = VoteStore(database_url("", place), study, new=False)
        yield Site(server, study, store)
        store.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with opened(tmp_path, "--tasks", "2", "--lock-seconds", "1", gold=1, least_s=LEAST_S) as found:
        yield found


@pytest.mark.slow
def test_a_rater_judges_all_pairs_with_the_keyboard(browser: Any, site: Site) -> None:
    with visiting(browser, site) as visit:
        tab = visit.tab
        assert tab.text_content("#about-tasks") == "3"
        assert tab.is_disabled("#begin")
        rating.begin(tab)
        sides = []
        for number in range(1, 4):
            assert tab.text_content("#task-title").split() == ["Pair", str(number), "of", "3"]
            for key in ("ArrowLeft", "1", "Enter"):
                tab.keyboard.press(key)
            assert tab.evaluate(PRESSED) == []
            assert tab.text_content("#hint") == "Watch both videos to the end."
            tab.keyboard.press("Space")
            for side in ("left", "right"):
                tab.wait_for_selector(rating.WATCHED.format(side), timeout=rating.SECONDS)
            side, task = site.side(tab), rating.task_id(tab)
            tab.wait_for_selector(f"#choose-{side}:enabled", timeout=rating.SECONDS)
            tab.keyboard.press("ArrowRight" if side == "left" else "ArrowLeft")
            tab.keyboard.press("ArrowLeft" if side == "left" else "ArrowRight")
            for key in ("1", "2", "1", "4" if tab.is_visible("#reason-image") else "3"):
                tab.keyboard.press(key)
            assert tab.evaluate(PRESSED) == [f"choose-{side}", "reason-text", "reason-quality"]
            tab.keyboard.press("Enter")  # too early
            assert rating.task_id(tab) == task
            tab.wait_for_selector("#send:enabled", timeout=rating.SECONDS)
            tab.keyboard.press("Enter")
            rating.wait_for_another(tab, task)
            sides.append(side)
        (rater,) = site.store.raters()
        assert tab.text_content("#end-title") == "Thank you!"
        assert tab.text_content("#code") == rater.code
        votes = site.store.votes()
        assert [(vote.choice, vote.reasons) for vote in votes] == [(side, ("text", "quality")) for side in sides]
        assert all(vote.seconds >= LEAST_S for vote in votes)
        tab.reload()
        tab.wait_for_selector(f"#code:text-is('{rater.code}')")


@pytest.mark.slow
def test_a_reload_goes_on_with_the_same_task(browser: Any, site: Site) -> None:
    with visiting(browser, site) as visit:
        tab = visit.tab
        rating.begin(tab)
        rating.watch(tab)
        task, prompt = rating.task_id(tab), tab.text_content("#prompt")
        tab.evaluate("sessionStorage.clear()")  # the cookie alone must do
        tab.reload()
        tab.wait_for_selector("#task", state="visible")
        assert (rating.task_id(tab), tab.text_content("#prompt")) == (task, prompt)
        assert tab.is_disabled("#choose-left")
        tab.click("#help")
        assert tab.is_visible("#guide")
        tab.keyboard.press("ArrowLeft")
        tab.keyboard.press("Escape")
        assert tab.is_hidden("#guide")
        assert len(site.store.raters()) == 1


@pytest.mark.slow
def test_a_video_counts_as_watched_only_if_all_of_it_was_played(browser: Any, site: Site) -> None:
    with visiting(browser, site) as visit:
        tab = visit.tab
        rating.begin(tab)
        assert tab.evaluate(SKIP, tab.query_selector("#left-video")) == 1
        assert tab.text_content("#left-seen") == "not watched"
        tab.click("#left-play")
        tab.wait_for_selector(rating.WATCHED.format("left"), timeout=rating.SECONDS)
        assert tab.text_content("#right-seen") == "not watched"
        assert tab.is_disabled("#choose-left")


@pytest.mark.slow
def test_an_answer_outlives_a_server_that_is_killed(browser: Any, site: Site) -> None:
    with visiting(browser, site) as visit:
        tab = visit.tab
        rating.begin(tab)
        rating.watch(tab)
        task = rating.task_id(tab)
        rating.choose(tab, "right", "motion")
        site.server.kill()
        tab.click("#send")
        tab.wait_for_selector("#problem:has-text('Your answer is kept here and sent again.')")
        assert tab.evaluate(PRESSED) == ["choose-right", "reason-motion"]
        site.server.start()
        rating.wait_for_another(tab, task)
        assert tab.is_hidden("#problem")
        (vote,) = site.store.votes()
        assert (vote.choice, vote.reasons) == ("right", ("motion",))
        assert {"ERR_CONNECTION_REFUSED" in error for error in visit.errors} == {True}
        visit.errors.clear()


@pytest.mark.slow
def test_on_a_phone_both_videos_are_side_by_side(browser: Any, site: Site) -> None:
    with visiting(browser, site, **PHONE) as visit:
        tab = visit.tab

        def check() -> None:
            assert tab.evaluate(LOW_CONTRAST) == []
            assert [found for found in tab.evaluate(SMALL_TARGETS) if not found.startswith("agree ")] == []
            assert tab.evaluate(SIDEWAYS) is False

        check()  # the label of the box to tick is large enough
        rating.begin(tab)
        while tab.is_visible("#task"):
            task, gold = rating.task_id(tab), site.slot(tab).startswith("gold")
            rating.watch(tab)
            left, right = (tab.locator(f"#{side}-side .frame").bounding_box() for side in ("left", "right"))
            assert (left["y"], left["width"]) == (right["y"], right["width"])
            assert left["x"] + left["width"] < right["x"]
            assert left["height"] == pytest.approx(left["width"] * 32 / 48, abs=4)
            right_side = site.side(tab)
            side = ("left" if right_side == "right" else "right") if gold else right_side
            rating.choose(tab, side, "quality")
            check()
            tab.tap("#send")
            rating.wait_for_another(tab, task)
        check()
        assert tab.text_content("#end-title") == "Thank you for taking part"  # the gold question was wrong
        assert tab.is_hidden("#end-code")
        assert site.store.raters()[0].excluded == "1 of 1 gold questions wrong"


@pytest.mark.slow
@pytest.mark.parametrize("platform", ["prolific", "mturk"])
def test_a_platforms_rater_returns_there(browser: Any, tmp_path: Path, platform: str) -> None:
    options = ("--platform", platform, "--completion-code", "C0DE", "--tasks", "1", "--lock-seconds", "0")
    with opened(tmp_path, *options, gold=0, least_s=0.0) as site, visiting(browser, site) as visit:
        tab = visit.tab
        assert "Open this study by its link on" in tab.text_content("#problem")
        assert tab.is_disabled("#agree")
        if platform == "mturk":
            tab.goto(f"{site.url}/?assignmentId=ASSIGNMENT_ID_NOT_AVAILABLE&hitId=3H")
            tab.wait_for_selector("#problem:has-text('This is a preview.')")
        turk = "workerId=A1B2&assignmentId=3X&hitId=3H&turkSubmitTo=https%3A%2F%2Fworkersandbox.mturk.com"
        tab.goto(f"{site.url}/?{turk if platform == 'mturk' else 'PROLIFIC_PID=A1B2&STUDY_ID=s&SESSION_ID=t'}")
        rating.begin(tab)
        rating.watch(tab)
        rating.choose(tab, "left", "image" if tab.is_visible("#reason-image") else "motion")
        tab.click("#send")
        tab.wait_for_selector("#end", state="visible")
        assert tab.text_content("#code") == "C0DE"
        assert [vote.rater for vote in site.store.votes()] == ["A1B2"]
        assert tab.is_visible("#turk") is (platform == "mturk")
        assert tab.is_visible("#return") is (platform == "prolific")
        if platform == "mturk":
            form = "[turk.action, turk.method, Object.fromEntries(new FormData(turk))]"
            where = "https://workersandbox.mturk.com/mturk/externalSubmit"
            assert tab.evaluate(form) == [where, "post", {"assignmentId": "3X", "code": "C0DE"}]
        else:
            assert tab.get_attribute("#return", "href") == "https://app.prolific.com/submissions/complete?cc=C0DE"


@pytest.mark.slow
def test_the_html_question_opens_the_study_with_the_workers_ids(browser: Any) -> None:
    question = ElementTree.fromstring(html_question("https://study.example/a?b=1"))
    context = browser.new_context()
    tab = context.new_page()
    tab.route("https://*.mturk.com/**", lambda route: route.fulfill(body=question[0].text, content_type="text/html"))
    tab.goto("https://worker.mturk.com/?assignmentId=ASSIGNMENT_ID_NOT_AVAILABLE&hitId=3H")
    assert tab.is_visible("#preview")
    assert tab.is_disabled("#submitButton")
    assert tab.get_attribute("#open", "href") is None
    host = "https%3A%2F%2Fwww.mturk.com"
    tab.goto(f"https://worker.mturk.com/?workerId=A1&assignmentId=3X&hitId=3H&turkSubmitTo={host}")
    assert tab.is_hidden("#preview")
    link = tab.get_attribute("#open", "href")
    assert link == "https://study.example/a?b=1&workerId=A1&assignmentId=3X&hitId=3H"
    tab.fill("#code", "C0DE")
    with tab.expect_request("**/mturk/externalSubmit") as sent:
        tab.click("#submitButton")
    assert (sent.value.method, sent.value.post_data) == ("POST", "assignmentId=3X&code=C0DE")
    context.close()
