from collections import Counter

from training.data.mixture import Mixture


def mixture(weights: list[float], shapes: list[str] | None = None, batch: int = 8, seed: int = 0) -> Mixture:
    return Mixture(shapes or ["a"] * len(weights), weights, batch, seed)


def test_one_dataset_is_taken_in_order() -> None:
    mixed = mixture([1.0], batch=3)
    picks = [pick for step in range(3) for pick in mixed.draw(step)]
    assert [pick.number for pick in picks] == list(range(9))
    assert [pick.at for pick in picks] == [0, 1, 2] * 3


def test_datasets_are_taken_by_weight() -> None:
    mixed = mixture([3.0, 1.0])
    counts = Counter(pick.source for step in range(500) for pick in mixed.draw(step))
    assert 0.72 < counts[0] / 4000 < 0.78
    assert mixed.taken == [counts[0], counts[1]]


def test_a_batch_has_one_shape() -> None:
    mixed = mixture([1.0, 1.0, 2.0], ["wide", "high", "wide"])
    kinds = Counter()
    for step in range(400):
        sources = {pick.source for pick in mixed.draw(step)}
        assert sources == {1} or sources <= {0, 2}
        kinds["high" if sources == {1} else "wide"] += 1
    assert 0.68 < kinds["wide"] / 400 < 0.82  # three quarters of the weight


def test_the_cursor_is_all_that_a_later_step_needs() -> None:
    whole, resumed = mixture([2.0, 1.0, 1.0], ["a", "b", "a"]), mixture([2.0, 1.0, 1.0], ["a", "b", "a"])
    for step in range(20):
        whole.draw(step)
    resumed.taken = list(whole.taken)
    assert [resumed.draw(step) for step in range(20, 30)] == [whole.draw(step) for step in range(20, 30)]


def test_another_seed_mixes_otherwise() -> None:
    first, second = [[p.source for p in mixture([1.0, 1.0], seed=s).draw(0)] for s in (0, 1)]
    assert first != second
