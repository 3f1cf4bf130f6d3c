"""Votes with known answers, and simulated studies with a known preference."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from base.errors import InputError
from evaluation.study.raters import Rater, judge_raters
from evaluation.study.score import Score, score_study
from evaluation.study.study import Study
from evaluation.study.votes import Vote, read_votes
from tests.evaluation.study.simulated import Crowd, make_study, simulate


def vote_for(study: Study, slot: str, model: str, rater: str, **more: object) -> Vote:
    side = "left" if study.slots[slot].left == model else "right"
    return replace(Vote(slot, rater, side, 100.0), **more)


def votes_of(study: Study, wins: list[int], **more: object) -> list[Vote]:
    """For each pair, how many of its five raters prefer model a."""
    return [
        vote_for(study, f"{pair:04}-{vote}", "a" if vote <= won else "b", f"rater {vote}", **more)
        for pair, won in enumerate(wins, 1)
        for vote in range(1, 6)
    ]


def test_a_study_counted_by_hand() -> None:
    study = make_study(pairs=5, scenes=5)
    result = score_study(study, votes_of(study, [5, 4, 3, 2, 0])).result
    assert result is not None
    assert result.majority is not None
    assert result.agreement is not None
    assert (result.raters, result.votes, result.preference.value) == (5, 25, 14 / 25)
    assert (result.majority.pairs, result.majority.tied, result.majority.share.value) == (5, 0, 3 / 5)
    assert result.majority.p_value == 1
    assert result.majority.smallest_significant is None
    agreement = result.agreement
    assert (agreement.complete, agreement.partial, agreement.split) == pytest.approx((2 / 5, 1 / 5, 2 / 5))
    # Disagreeing ordered pairs of votes: 0, 8, 12, 12, 0 of 20 each; 14 of 25 votes are for a.
    assert agreement.alpha == pytest.approx(1 - 24 * (32 / 4) / (2 * 14 * 11))
    assert agreement.fleiss == pytest.approx(1 - (32 / 100) / (2 * 14 * 11 / 25**2))


def test_a_tied_pair_has_no_majority() -> None:
    study = make_study(pairs=2, scenes=2)
    votes = [vote for vote in votes_of(study, [4, 2]) if vote.slot != "0002-5"]
    result = score_study(study, votes).result
    assert result is not None
    assert result.majority is not None
    assert (result.majority.pairs, result.majority.tied, result.majority.share.value) == (1, 1, 1)
    assert result.agreement is not None
    assert result.agreement.fleiss is None  # five votes on one pair, four on the other


def test_reasons_are_shares_of_all_votes() -> None:
    study = make_study(pairs=4, scenes=4)
    votes = votes_of(study, [5, 5, 5, 1])
    votes[0] = replace(votes[0], reasons=("motion", "text"))
    votes[19] = replace(votes[19], reasons=("motion",))
    result = score_study(study, votes).result
    assert result is not None
    shares = {reason: (found.a.value, found.b.value) for reason, found in result.reasons.items()}
    assert shares == {"motion": (0.05, 0.05), "text": (0.05, 0), "image": (0, 0), "quality": (0, 0)}


def test_the_score_does_not_depend_on_the_order_of_votes() -> None:
    study = make_study()
    votes = simulate(study, 0.6, Crowd(), 0)
    assert score_study(study, votes[::-1]) == score_study(study, votes)


def test_votes_on_gold_questions_count_for_no_model() -> None:
    study = make_study(pairs=2, scenes=2)
    votes = votes_of(study, [3, 3])
    gold = [Vote(name, "rater 1", question.answer, 100) for name, question in study.gold_questions.items()]
    assert score_study(study, votes + gold).result == score_study(study, votes).result


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda vote: vote, ()),
        (lambda vote: replace(vote, choice="left"), ("28 of 28 votes for the left side, which is not chance",)),
        (lambda vote: replace(vote, seconds=59.0), ("100% of the votes in less than 60 s; at most 10%",)),
    ],
)
def test_why_a_rater_is_excluded(change: Callable[[Vote], Vote], why: tuple[str, ...]) -> None:
    study = replace(make_study(pairs=28, scenes=28), gold=())
    votes = [change(vote) for vote in votes_of(study, [4] * 28) if vote.rater == "rater 1"]
    assert [rater.excluded for rater in judge_raters(study, votes)] == [why]


@pytest.mark.parametrize(("wrong", "excluded"), [(0, False), (1, False), (2, True), (8, True)])
def test_gold_questions_exclude(wrong: int, excluded: bool) -> None:
    """Of eight, 80 % are seven."""
    study = make_study(pairs=20)
    other = {"left": "right", "right": "left"}
    gold = [
        replace(Vote(name, "r", "left", 100), choice=other[known.answer] if number < wrong else known.answer)
        for number, (name, known) in enumerate(study.gold_questions.items())
    ]
    (rater,) = judge_raters(study, gold)
    assert (rater.gold_right, rater.gold, bool(rater.excluded)) == (8 - wrong, 8, excluded)
    if excluded:
        assert rater.excluded == (f"{8 - wrong} of 8 gold questions right; needs 80%",)


def test_kappa_compares_a_rater_with_the_majority_of_the_others() -> None:
    study = make_study(pairs=20, gold=0)
    votes = votes_of(study, [5, 0] * 10)
    opposite = [
        vote_for(study, vote.slot, "b" if study.slots[vote.slot].model(vote.choice) == "a" else "a", vote.rater)
        if vote.rater == "rater 5"
        else vote
        for vote in votes
    ]
    assert [rater.kappa for rater in judge_raters(study, votes)] == [1] * 5
    assert [rater.kappa for rater in judge_raters(study, opposite)] == [1, 1, 1, 1, -1]


def test_if_everybody_is_excluded_the_votes_are_still_shown() -> None:
    study = make_study(pairs=5, gold=0)
    score = score_study(study, votes_of(study, [4] * 5, seconds=1.0))
    assert score.result is None
    assert score.with_excluded is not None
    assert score.with_excluded.preference.value == 0.8


@pytest.fixture(scope="module")
def hundred_studies() -> list[Score]:
    """A true preference of 63 %, scenes that differ, and 6 of 20 raters who do not answer by it."""
    scores = []
    for seed in range(100):
        study = make_study(seed=seed)
        scores.append(score_study(study, simulate(study, 0.63, Crowd(), seed)))
    return scores


def test_a_simulated_study_recovers_the_preference(hundred_studies: list[Score]) -> None:
    results = [score.result for score in hundred_studies if score.result is not None]
    assert sum(result.preference.covers(0.63) for result in results) >= 93
    # The bad raters' votes do matter: with them, the interval misses far more often.
    with_all = [score.with_excluded for score in hundred_studies if score.with_excluded is not None]
    assert sum(result.preference.covers(0.63) for result in with_all) < 75


def test_a_simulated_study_excludes_the_bad_raters(hundred_studies: list[Score]) -> None:
    def is_honest(rater: Rater) -> bool:
        return rater.name.startswith("honest")

    raters = [rater for score in hundred_studies for rater in score.raters]
    assert [rater.name for rater in raters if not is_honest(rater) and not rater.excluded] == []
    wronged = sum(bool(rater.excluded) for rater in raters if is_honest(rater))
    assert wronged / sum(map(is_honest, raters)) < 0.05


HEADER = "slot,rater,choice,seconds,reasons\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pair,rater,vote\n", "has the columns pair, rater, vote: it must have slot, rater, choice, seconds and, opt"),
        (HEADER, "there is no vote"),
        (HEADER + "0009-1,r,left,70,\n", "line 2: slot '0009-1' is not one of this study's"),
        (HEADER + "0001-1,,left,70,\n", "line 2: rater is empty"),
        (HEADER + "0001-1,r,both,70,\n", "line 2: choice 'both': must be left or right"),
        (HEADER + "0001-1,r,left,soon,\n", "line 2: seconds 'soon': must be a number that is at least 0"),
        (HEADER + "0001-1,r,left,-1,\n", "line 2: seconds '-1'"),
        (HEADER + "0001-1,r,left,nan,\n", "line 2: seconds 'nan'"),
        (HEADER + "0001-1,r,left,70,motion;beauty\n", "reason 'beauty': must be one of motion, text, image, quality"),
        (HEADER + "0001-1,r,left,70,\n0001-1,s,left,70,\n", "line 3: slot 0001-1 has a vote already, in line 2"),
        (HEADER + "0001-1,r,left,70,\n0001-2,r,left,70,\n", "line 3: rater r voted on the pair p0 already, in line 2"),
        (HEADER + "gold-1,r,left,70,\ngold-1,r,left,70,\n", "line 3: rater r answered gold-1 already, in line 2"),
    ],
)
def test_a_file_of_votes_that_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "votes.csv").write_text(text)
    with pytest.raises(InputError) as caught:
        read_votes(tmp_path / "votes.csv", make_study(pairs=2))
    assert message in str(caught.value)


def test_votes_are_read_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "votes.csv").write_text("choice,seconds,slot,rater,reasons\nright,61.5,0002-1,r,text; motion\n")
    assert read_votes(tmp_path / "votes.csv", make_study(pairs=2)) == [
        Vote("0002-1", "r", "right", 61.5, ("text", "motion"))
    ]
