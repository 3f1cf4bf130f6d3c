"""The routes, as the page and others call them."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from base.errors import InputError
from evaluation.serve.app import build_app, check_files, cookie_name
from evaluation.serve.settings import Settings
from evaluation.serve.store import VoteStore
from evaluation.study.study import Study
from tests.evaluation.serve.studies import Clock, answer_all, better_side, small_study, write_study

VOTE = {"choice": "left", "reasons": ["motion", "quality"], "watched": ["left", "right"]}
PROLIFIC = {"PROLIFIC_PID": "5f3a", "STUDY_ID": "st", "SESSION_ID": "se"}
TURK = {"workerId": "A1", "assignmentId": "3X", "hitId": "3H"}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def study() -> Study:
    study = small_study(gold=1)
    return replace(study, pairs=tuple(replace(pair, image="star.webp") for pair in study.pairs))


@pytest.fixture
def folder(tmp_path: Path, study: Study) -> Path:
    folder = write_study(tmp_path / "study", study)
    (folder / "star.webp").write_bytes(b"a picture")
    return folder


class Site:
    """A study's application on one database, for as many browsers as a test needs."""

    def __init__(self, folder: Path, study: Study, clock: Clock, settings: Settings) -> None:
        self.store = VoteStore(f"sqlite:///{folder / 'votes.sqlite'}", study, settings, clock=clock)
        self.app = build_app(folder, self.store)

    def browser(self) -> TestClient:
        return TestClient(self.app, base_url="https://study.example")


@pytest.fixture
def site(folder: Path, study: Study, clock: Clock) -> Iterator[Site]:
    found = Site(folder, study, clock, Settings(tasks=2, contact="Ada, ada@example.org"))
    yield found
    found.store.close()


@pytest.fixture
def rater(site: Site) -> TestClient:
    """A browser whose rater has begun."""
    browser = site.browser()
    assert browser.post("/api/raters", json={"consent": True}).status_code == 200
    return browser


def following(browser: TestClient, **ids: str) -> dict[str, object]:
    found = browser.post("/api/next", json={"ids": ids})
    assert found.status_code == 200
    return dict(found.json())


def refusal(answer: object) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_a_rater_from_the_first_page_to_the_code(site: Site, clock: Clock) -> None:
    browser = site.browser()
    about = browser.get("/api/study").json()
    assert about == {"tasks": 3, "least_seconds": 60, "platform": "open", "contact": "Ada, ada@example.org"}
    assert following(browser) == {"status": "new"}
    assert refusal(browser.post("/api/raters", json={"consent": False})) == (400, "no_consent")
    token = browser.post("/api/raters", json={"consent": True}).json()["token"]
    for done in range(3):
        session = following(browser)
        task = session["task"]
        assert (session["status"], session["done"], session["total"]) == ("task", done, 3)
        clock.now += 60
        side = better_side(site.store.study, str(site.store.slot_of(task["id"])))
        stored = browser.post(f"/api/tasks/{task['id']}/vote", json=VOTE | {"choice": side})
        assert stored.json() == {"task": task["id"], "stored": True}
    code = site.store.find(token).code
    assert following(browser) == {"status": "complete", "done": 3, "total": 3, "code": code, "return_url": ""}
    votes = site.store.votes()
    assert [vote.choice for vote in votes] == [better_side(site.store.study, vote.slot) for vote in votes]
    assert {vote.reasons for vote in votes} == {("motion", "quality")}


def test_a_task_hides_models_files_and_whether_it_is_gold(rater: TestClient, site: Site, clock: Clock) -> None:
    shown = []
    while (session := following(rater))["status"] == "task":
        task = session["task"]
        assert {*task} == {"id", "prompt", "image", "left", "right", "elapsed", "lock_seconds", "least_seconds"}
        assert [task[name] for name in ("image", "left", "right")] == [
            f"tasks/{task['id']}/{name}" for name in ("image", "left", "right")
        ]
        for word in ("ours", "baseline", "gold", "scene", "mp4", "webp"):
            assert word not in json.dumps(session)
        shown.append([rater.get(task[name]).text for name in ("left", "right")])
        clock.now += 60
        rater.post(f"/api/tasks/{task['id']}/vote", json=VOTE)
    slots = [vote.slot for vote in site.store.votes()]
    for slot, (left, right) in zip(slots, shown, strict=True):
        if slot == "gold-1":
            assert (left, right) == ("bad.mp4", "good.mp4")
        else:
            pair = site.store.study.slots[slot].pair
            assert (left, right) == ((pair.a, pair.b) if site.store.study.slots[slot].left == "a" else (pair.b, pair.a))


def test_the_files_of_a_task(rater: TestClient, site: Site) -> None:
    task = following(rater)["task"]
    found = rater.get(task["image"])
    assert (found.content, found.headers["content-type"]) == (b"a picture", "image/webp")
    assert found.headers["x-content-type-options"] == "nosniff"
    video = rater.get(task["left"], headers={"range": "bytes=2-4"})
    assert (video.status_code, video.text, video.headers["content-type"]) == (206, ".mp", "video/mp4")
    assert "content-disposition" not in video.headers
    for path in (f"/tasks/{'0' * 32}/left", "/tasks/x/left", "/0a.mp4", "/study.json", "/votes.sqlite", "/page/x"):
        assert refusal(rater.get(path)) == (404, "not_found"), path
    assert rater.get(f"/tasks/{task['id']}/study.json").status_code in (400, 404)


def test_a_reload_goes_on_with_the_same_task(rater: TestClient, site: Site) -> None:
    first = following(rater)
    cookie = rater.cookies[cookie_name(site.store.study)]
    token = rater.post("/api/raters", json={"consent": True}).json()["token"]
    assert (token, following(rater)["task"]["id"]) == (cookie, first["task"]["id"])
    framed = site.browser()  # a browser that keeps no cookies in frames
    found = framed.post("/api/next", json={}, headers={"authorization": f"Bearer {token}"})
    assert found.json()["task"]["id"] == first["task"]["id"]
    assert following(site.browser()) == {"status": "new"}
    assert len(site.store.raters()) == 1


def test_the_cookie_says_nothing_about_a_person(site: Site) -> None:
    found = site.browser().post("/api/raters", json={"consent": True})
    name, _, rest = found.headers["set-cookie"].partition("=")
    token, _, attributes = rest.partition(";")
    assert name == cookie_name(site.store.study)
    assert token == site.store.raters()[0].token
    assert {part.strip().lower().partition("=")[0] for part in attributes.split(";")} >= {"httponly", "secure"}
    assert "samesite=strict" in attributes.lower()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"watched": ["left"]}, (400, "not_watched")),
        ({"watched": ["left", "left"]}, (400, "not_watched")),
        ({"reasons": []}, (400, "no_reason")),
        ({"reasons": ["beauty"]}, (400, "invalid_value")),
        ({"choice": "both"}, (400, "invalid_value")),
        ({"seconds": 100}, (400, "invalid_value")),
        ({"choice": None}, (400, "invalid_value")),
    ],
)
def test_answers_that_are_none(
    rater: TestClient, site: Site, clock: Clock, change: dict[str, object], expected: tuple[int, str]
) -> None:
    task = following(rater)["task"]
    clock.now += 60
    assert refusal(rater.post(f"/api/tasks/{task['id']}/vote", json=VOTE | change)) == expected
    assert site.store.votes() == []


def test_an_early_answer_says_when_it_is_in_time(rater: TestClient, clock: Clock) -> None:
    task = following(rater)["task"]
    clock.now += 49.5
    early = rater.post(f"/api/tasks/{task['id']}/vote", json=VOTE)
    assert refusal(early) == (409, "too_early")
    assert early.headers["retry-after"] == "11"
    clock.now += 11
    for _ in range(2):
        assert rater.post(f"/api/tasks/{task['id']}/vote", json=VOTE).json()["stored"] is True
    other = rater.post(f"/api/tasks/{task['id']}/vote", json=VOTE | {"choice": "right"})
    assert refusal(other) == (409, "already_answered")


def test_a_task_of_somebody_else(rater: TestClient, site: Site, clock: Clock) -> None:
    task = following(rater)["task"]
    other = site.browser()
    vote = f"/api/tasks/{task['id']}/vote"
    clock.now += 60
    assert refusal(other.post(vote, json=VOTE)) == (401, "unknown_rater")
    other.post("/api/raters", json={"consent": True})
    assert refusal(other.post(vote, json=VOTE)) == (404, "unknown_task")
    assert refusal(rater.post("/api/tasks/%00/vote", json=VOTE))[0] in (400, 404)
    assert refusal(rater.post("/api/tasks/none/vote", json=VOTE)) == (404, "unknown_task")
    assert refusal(rater.post(vote, json=VOTE, headers={"authorization": "Bearer ' or 1=1"})) == (401, "unknown_rater")


def test_after_exclusion_the_page_says_so_and_votes_are_refused(rater: TestClient, site: Site, clock: Clock) -> None:
    task = following(rater)["task"]
    site.store.exclude(rater.cookies[cookie_name(site.store.study)], "a test")
    clock.now += 60
    assert refusal(rater.post(f"/api/tasks/{task['id']}/vote", json=VOTE)) == (403, "excluded")
    assert following(rater) == {"status": "excluded", "done": 0, "total": 3}
    rater.post("/api/raters", json={"consent": True})
    assert following(rater)["status"] == "excluded"


def test_pages_of_others_cannot_vote_or_show_the_page_in_a_frame(rater: TestClient, site: Site, clock: Clock) -> None:
    task = following(rater)["task"]
    clock.now += 60
    vote = f"/api/tasks/{task['id']}/vote"
    foreign = rater.post(vote, json=VOTE, headers={"origin": "https://evil.example"})
    assert refusal(foreign) == (403, "origin_not_allowed")
    form = rater.post(vote, content=json.dumps(VOTE), headers={"content-type": "text/plain"})
    assert form.status_code == 400
    assert refusal(rater.post(vote, content=b"x" * (2 << 20))) == (413, "body_too_large")
    assert rater.post(vote, json=VOTE, headers={"origin": "https://study.example"}).status_code == 200
    policy = rater.get("/").headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "form-action 'self';" in policy


def test_prolific(folder: Path, study: Study, clock: Clock) -> None:
    site = Site(folder, study, clock, Settings(tasks=1, platform="prolific", completion_code="C0DE"))
    browser = site.browser()
    assert following(browser) == {
        "status": "new",
        "notice": "Open this study by its link on Prolific, which says who you are.",
    }
    assert refusal(browser.post("/api/raters", json={"consent": True})) == (403, "no_identity")
    token = browser.post("/api/raters", json={"consent": True, "ids": PROLIFIC}).json()["token"]
    (rater,) = site.store.raters()
    assert (rater.name, rater.ids, rater.token) == ("5f3a", PROLIFIC, token)
    elsewhere = site.browser()
    assert elsewhere.post("/api/raters", json={"consent": True, "ids": PROLIFIC}).json()["token"] == token
    assert following(browser, PROLIFIC_PID="ffff") == {"status": "new"}  # another person in the same browser
    answer_all(site.store, token, clock)
    end = following(browser, **PROLIFIC)
    assert (end["code"], end["return_url"]) == ("C0DE", "https://app.prolific.com/submissions/complete?cc=C0DE")
    site.store.close()


def test_mechanical_turk(folder: Path, study: Study, clock: Clock) -> None:
    site = Site(folder, study, clock, Settings(tasks=1, platform="mturk"))
    browser = site.browser()
    preview = {"assignmentId": "ASSIGNMENT_ID_NOT_AVAILABLE", "hitId": "3H"}
    assert following(browser, **preview)["notice"] == "This is a preview. Accept the task on Mechanical Turk to begin."
    assert refusal(browser.post("/api/raters", json={"consent": True, "ids": preview})) == (403, "preview")
    token = browser.post("/api/raters", json={"consent": True, "ids": TURK}).json()["token"]
    assert site.store.find(token).ids == TURK
    policy = browser.get("/?workerId=A1").headers["content-security-policy"]
    assert "frame-ancestors https://*.mturk.com" in policy
    assert "form-action 'self' https://*.mturk.com" in policy
    for wrong in ({"workerId": "=cmd()"}, {"workerId": "rater-0001"}, TURK | {"hitId": "a b"}):
        assert refusal(browser.post("/api/raters", json={"consent": True, "ids": wrong})) == (403, "no_identity")
    site.store.close()


@pytest.mark.parametrize("ids", [PROLIFIC, TURK])
def test_a_server_that_does_not_expect_a_platform_says_so(site: Site, ids: dict[str, str]) -> None:
    found = following(site.browser(), **ids)
    assert "(its server runs without --platform" in str(found["notice"])
    assert refusal(site.browser().post("/api/raters", json={"consent": True, "ids": ids})) == (403, "wrong_platform")
    assert site.store.raters() == []


def test_a_study_whose_database_refuses_says_try_later(rater: TestClient, site: Site) -> None:
    with site.store.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE study_raters RENAME TO hidden")
    found = rater.post("/api/next", json={})
    assert refusal(found) == (503, "storage_unavailable")
    assert found.headers["retry-after"] == "10"


def test_files_that_are_missing_are_named(folder: Path, study: Study) -> None:
    check_files(folder, study)
    (folder / "2b.mp4").unlink()
    with pytest.raises(InputError, match=r"2b\.mp4 is missing. Copy the study's whole folder"):
        check_files(folder, study)
    (folder / "star.webp").unlink()
    with pytest.raises(InputError, match=r"2b\.mp4 and 1 more is missing"):
        check_files(folder, study)
