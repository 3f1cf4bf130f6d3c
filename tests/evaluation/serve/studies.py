"""Studies to collect votes for: small, with files that say what they are, and with a clock that a test moves."""

from dataclasses import dataclass, replace
from pathlib import Path

from evaluation.serve.store import Ballot, Session, VoteStore
from evaluation.study.study import Side, Study
from tests.evaluation.study.simulated import make_study

CHOICE = Ballot("left", ("motion",))


@dataclass
class Clock:
    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def small_study(pairs: int = 4, raters: int = 2, gold: int = 0, **rules: float) -> Study:
    study = make_study(pairs=pairs, scenes=pairs, raters=raters, gold=gold)
    return replace(study, rules=replace(study.rules, **rules))


def write_study(folder: Path, study: Study) -> Path:
    """The study's folder; each video is a file with its own name as content, and the condition image is a picture."""
    folder.mkdir(parents=True)
    study.save(folder)
    for name in {name for pair in study.pairs for name in (pair.a, pair.b)} | {"good.mp4", "bad.mp4"}:
        (folder / name).write_text(name)
    return folder


def better_side(study: Study, slot: str, model: str = "a") -> Side:
    """The side of a model in a slot, or the right answer to a gold question."""
    if gold := study.gold_questions.get(slot):
        return gold.answer
    return "left" if study.slots[slot].left == model else "right"


def answer(store: VoteStore, token: str, clock: Clock, ballot: Ballot | None = None) -> Session:
    """Vote on the open task after enough time, by default for model a; returns the session before the vote."""
    session = store.next(token)
    assert session.task is not None
    clock.now += store.wait_s
    slot = session.task.slot
    store.vote(token, session.task.id, ballot or Ballot(better_side(store.study, slot), ("motion",)))
    return session


def answer_all(store: VoteStore, token: str, clock: Clock) -> Session:
    """Vote until there is nothing more to do; returns how it ended."""
    while (session := store.next(token)).status == "task":
        answer(store, token, clock)
    return session
