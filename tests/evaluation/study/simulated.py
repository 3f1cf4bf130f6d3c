"""Simulated studies: a known preference, raters who answer by it, and raters who do not."""

from dataclasses import dataclass

import numpy as np

from evaluation.study.create import balanced_sides
from evaluation.study.study import FORMAT, Gold, Pair, Rules, Study
from evaluation.study.votes import Vote


def make_study(pairs: int = 120, scenes: int = 24, raters: int = 5, gold: int = 8, seed: int = 0) -> Study:
    """A study without its videos."""
    sides = balanced_sides(pairs, raters, np.random.default_rng(seed))
    listed = tuple(
        Pair(f"p{number}", f"prompt {number}", f"scene {number % scenes}", "", f"{number}a.mp4", f"{number}b.mp4", left)
        for number, left in enumerate(sides)
    )
    questions = tuple(
        Gold(f"p{number}", f"p{number + 1}", "good.mp4", "bad.mp4", "left")
        if number % 2
        else Gold(f"p{number}", f"p{number + 1}", "bad.mp4", "good.mp4", "right")
        for number in range(gold)
    )
    return Study(FORMAT, "ours", "baseline", seed, Rules(), listed, questions)


@dataclass(frozen=True)
class Crowd:
    """How many raters of each kind there are; the name of a rater begins with its kind."""

    honest: int = 14
    one_sided: int = 2
    """Always click the same side."""
    hasty: int = 2
    """Click at random, in less time than a task needs."""
    malicious: int = 2
    """Answer the opposite of what they see."""

    def names(self) -> list[str]:
        """All raters."""
        kinds = {"honest": self.honest, "one-sided": self.one_sided, "hasty": self.hasty, "malicious": self.malicious}
        return [f"{kind}-{number}" for kind, count in kinds.items() for number in range(count)]


def simulate(study: Study, preference: float, crowd: Crowd, seed: int) -> list[Vote]:
    """All votes. Scenes differ: each has its own preference, of this mean and an intra-class correlation of 0.1."""
    generator = np.random.default_rng(seed)
    scenes = sorted({pair.scene for pair in study.pairs})
    spread = 9.0  # of a beta distribution; ICC = 1 / (spread + 1)
    own = dict(zip(scenes, generator.beta(spread * preference, spread * (1 - preference), len(scenes)), strict=True))
    names = crowd.names()
    raters = np.array([generator.permutation(len(names))[: len(pair.left)] for pair in study.pairs])
    asked = [
        (slot, names[raters[int(slot[:4]) - 1, int(slot[5:]) - 1]], "left" if kind.left == "a" else "right",
         own[kind.pair.scene])
        for slot, kind in study.slots.items()
    ]  # fmt: skip
    asked += [(slot, name, gold.answer, 0.97) for slot, gold in study.gold_questions.items() for name in names]
    return [_vote(slot, rater, side, chance, generator) for slot, rater, side, chance in asked]


def _vote(slot: str, rater: str, side: str, chance: float, generator: np.random.Generator) -> Vote:
    """``side`` is the one that honest raters choose with this chance."""
    seconds = float(generator.uniform(5, 90) if rater.startswith("hasty") else generator.uniform(60, 240))
    if rater.startswith("one-sided"):
        return Vote(slot, rater, "left", seconds)
    if rater.startswith("hasty"):
        chance = 0.5
    for_side = bool(generator.random() < chance) != rater.startswith("malicious")
    return Vote(slot, rater, "left" if (side == "left") == for_side else "right", seconds)
