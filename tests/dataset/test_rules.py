import pyarrow as pa
import pytest

from base.errors import InputError
from dataset.rules import Rule


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("score>=0.5", Rule("score", ">=", 0.5)),
        ("  mean_ssim < 1e-3 ", Rule("mean_ssim", "<", 0.001)),
        ("first<=-2", Rule("first", "<=", -2.0)),
        ("source_height>320", Rule("source_height", ">", 320.0)),
    ],
)
def test_a_rule_is_read_from_text(text: str, rule: Rule) -> None:
    assert Rule.parse(text) == rule


@pytest.mark.parametrize("text", ["score>=0.5", "score<0.001", "first<=-2", "frames>1234567", "score>=0.12345678"])
def test_a_rule_says_all_of_itself(text: str) -> None:
    """A plan knows by its text whether a rule is still the one that rejected a clip."""
    assert Rule.parse(str(Rule.parse(text))) == Rule.parse(text)


@pytest.mark.parametrize("text", ["", "score", "score=1", "score>=", ">=1", "score>=many", "score>=1 or more"])
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="write column>=number, with >=, <=, > or <"):
        Rule.parse(text)


@pytest.mark.parametrize("text", ["score>=.", "score>=e", "score>=1e", "score>=1-2", "score>=--1"])
def test_what_only_looks_like_a_number_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="write column>=number"):
        Rule.parse(text)


@pytest.mark.parametrize(
    ("operator", "holds"),
    [
        (">=", [False, True, True]),
        ("<=", [True, True, False]),
        (">", [False, False, True]),
        ("<", [True, False, False]),
    ],
)
def test_values_and_tables_agree(operator: str, holds: list[bool]) -> None:
    rule = Rule("score", operator, 2.0)
    assert [rule.holds(value) for value in (1, 2, 3)] == holds
    for kind in (pa.int32(), pa.int64(), pa.float32(), pa.float64()):
        table = pa.table({"score": pa.array([1, 2, 3, None], kind)})
        assert rule.mask(table).to_pylist() == [*holds, False]


def test_nan_meets_no_rule() -> None:
    nan = float("nan")
    for operator in (">=", "<=", ">", "<"):
        rule = Rule("score", operator, 2.0)
        assert not rule.holds(nan)
        assert rule.mask(pa.table({"score": [nan]})).to_pylist() == [False]


def test_a_column_that_is_not_there() -> None:
    table = pa.table({"score": [1.0], "fps": [8.0]})
    with pytest.raises(InputError, match=r"rule 'scores>1': there is no column scores. Columns: score, fps"):
        Rule.parse("scores>1").mask(table)


def test_a_column_without_numbers_is_refused() -> None:
    with pytest.raises(InputError, match="codec"):
        Rule.parse("codec>1").mask(pa.table({"codec": ["h264"]}))
