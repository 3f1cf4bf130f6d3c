"""Votes, as a CSV file with the columns slot, rater, choice, seconds and, optionally, reasons."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from base.errors import InputError
from evaluation.study.prompts import read_table
from evaluation.study.study import Side, Study

REASONS = {
    "motion": "object motion",
    "text": "alignment with the text",
    "image": "alignment with the image",
    "quality": "overall quality",
}
"""Why a rater prefers a video; any number of these."""
_COLUMNS = ("slot", "rater", "choice", "seconds")


@dataclass(frozen=True)
class Vote:
    """One answer of a rater, to a slot or to a gold question."""

    slot: str
    rater: str
    choice: Side
    seconds: float
    """From the first sight of the task to the answer."""
    reasons: tuple[str, ...] = ()


def read_votes(path: Path, study: Study) -> list[Vote]:
    """The votes of a file, in its order.

    InputError names the line with an unknown slot, choice or reason, or a second vote: a slot has one vote, and a rater
    one on a pair or gold question.
    """
    votes: list[Vote] = []
    lines: dict[tuple[str, str], int] = {}
    for number, row in read_table(path, "votes", _COLUMNS, ("reasons",)):
        try:
            vote = _vote(row, study)
        except ValueError as error:
            raise InputError(f"votes {path}: line {number}: {error}.") from None
        for key, what in _only_once(vote, study):
            if key in lines:
                raise InputError(f"votes {path}: line {number}: {what} already, in line {lines[key]}. Remove one.")
            lines[key] = number
        votes.append(vote)
    if not votes:
        raise InputError(f"votes {path}: there is no vote.")
    return votes


def _only_once(vote: Vote, study: Study) -> Iterator[tuple[tuple[str, str], str]]:
    """What no second vote may have, and the message if one has."""
    if slot := study.slots.get(vote.slot):
        yield (vote.slot, ""), f"slot {vote.slot} has a vote"
        yield (slot.pair.name, vote.rater), f"rater {vote.rater} voted on the pair {slot.pair.name}"
    else:
        yield (vote.slot, vote.rater), f"rater {vote.rater} answered {vote.slot}"


def _vote(row: dict[str, str], study: Study) -> Vote:
    """ValueError says what is wrong."""
    slot, rater, choice, seconds = (row[name].strip() for name in _COLUMNS)
    if slot not in study.slots and slot not in study.gold_questions:
        raise ValueError(f"slot '{slot}' is not one of this study's")
    if not rater:
        raise ValueError("rater is empty")
    reasons = tuple(dict.fromkeys(reason.strip() for reason in row.get("reasons", "").split(";") if reason.strip()))
    if unknown := [reason for reason in reasons if reason not in REASONS]:
        raise ValueError(f"reason '{unknown[0]}': must be one of {', '.join(REASONS)}, with ; between several")
    return Vote(slot, rater, _side(choice), _seconds(seconds), reasons)


def _side(text: str) -> Side:
    if text == "left":
        return "left"
    if text == "right":
        return "right"
    raise ValueError(f"choice '{text}': must be left or right")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise ValueError(f"seconds '{text}': must be a number that is at least 0")
    return seconds
