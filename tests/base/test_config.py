import json
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from base.config import OMITTED_BY_DEFAULT, dump, from_json, load, to_json
from base.errors import InputError
from base.weights import Weights
from models.encoders.pixel_codec import PixelCodec
from models.encoders.text import HashedText


@dataclass(frozen=True)
class Part:
    size: int = 3
    shares: tuple[float, ...] = ()
    mode: Literal["fast", "exact"] = "fast"

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"size {self.size}: at least 1")


@dataclass(frozen=True)
class Whole:
    name: str
    part: Part = Part()
    named: dict[str, Part] | None = None
    row: tuple[Part, ...] = ()
    ratio: float = 1.0


@dataclass(frozen=True)
class Later:
    name: str = "x"
    added: tuple[float, ...] = field(default=(), metadata=OMITTED_BY_DEFAULT)


def own(name: str) -> str:
    return f"{__name__}:{name}"


@pytest.mark.parametrize(
    "config",
    [
        Whole("plain"),
        Whole("full", Part(7, (0.5, 1e-9), "exact"), {"a": Part(2), "b": Part()}, (Part(4), Part(5)), 0.1),
        PixelCodec(),
        HashedText(),
        Weights("somewhere/else", subfolder="vae"),
    ],
    ids=lambda config: type(config).__name__,
)
def test_a_configuration_is_read_as_it_was_written(config: Any) -> None:
    assert load(dump(config)) == config
    assert from_json(to_json(config)) == config


def test_a_field_that_was_added_later_is_stored_where_it_is_set() -> None:
    assert to_json(Later()) == {"type": own("Later"), "name": "x"}
    assert to_json(Later(added=(0.5,))) == {"type": own("Later"), "name": "x", "added": [0.5]}
    assert [load(dump(one)) for one in (Later(), Later(added=(0.5,)))] == [Later(), Later(added=(0.5,))]


def test_every_configuration_carries_its_type() -> None:
    data = json.loads(dump(Whole("x", named={"a": Part()}, row=(Part(),))))
    assert data["type"] == own("Whole")
    assert {data["part"]["type"], data["named"]["a"]["type"], data["row"][0]["type"]} == {own("Part")}
    assert data["part"]["shares"] == []


def test_what_is_not_said_has_its_default() -> None:
    assert from_json({"type": own("Whole"), "name": "x", "part": {"type": own("Part"), "size": 5}}) == Whole(
        "x", Part(5)
    )


def test_whole_numbers_are_numbers() -> None:
    read = from_json({"type": own("Whole"), "name": "x", "ratio": 2})
    assert read == Whole("x", ratio=2.0)
    assert isinstance(read.ratio, float)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"nmae": "x"}, "config field 'nmae' does not exist. Did you mean name?"),
        ({"colour": 1}, "config field 'colour' does not exist. Known: name, part, named, row, ratio."),
        ({"name": 3}, "config field 'name': 3: input should be a valid string"),
        ({"ratio": "much"}, "config field 'ratio': 'much': input should be a valid number"),
        ({"part": 3}, "config field 'part': 3: input should be"),
        ({"part": {"size": 3}}, "config field 'part': .*: input should be"),
        ({"named": {"a": {"type": own("Whole"), "name": "y"}}}, "config field 'named': .*: input should be"),
        ({"named": {"a": {"sise": 3}}}, "config field 'named"),
        ({"row": [{"sise": 3}]}, "config field 'row"),
        ({"part": {"type": own("Part"), "sise": 3}}, "config field 'part.sise' does not exist. Did you mean size?"),
        ({"part": {"type": own("Part"), "size": "big"}}, "config field 'part.size': 'big': input should be a valid"),
        ({"part": {"type": own("Part"), "mode": "slow"}}, "config field 'part.mode': 'slow': .*'fast' or 'exact'"),
        ({"part": {"type": own("Part"), "size": 0}}, "config part: size 0: at least 1"),
        ({"named": {"a": {"type": own("Part"), "sise": 1}}}, r"config field 'named\.a\.sise' does not exist"),
        ({"row": [{"type": own("Part")}, {"type": own("Part"), "sise": 1}]}, r"config field 'row\[1\]\.sise' does not"),
    ],
)
def test_a_wrong_field_is_named_with_its_remedy(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        from_json({"type": own("Whole"), "name": "x"} | fields)


def test_a_missing_field() -> None:
    with pytest.raises(InputError, match="config Whole: .*missing.*'name'"):
        from_json({"type": own("Whole")})


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (own("Hole"), f"'part': unknown type {own('Hole')}"),
        ("nowhere.at.all:Part", "'part': unknown type nowhere.at.all:Part"),
        ("Part", "'part': unknown type Part"),
        ("", "'part': unknown type"),
        (".relative:Part", "'part': unknown type .relative:Part"),
        (None, "'part': unknown type None"),
        (own("own"), f"'part': {own('own')} is not a configuration"),
        ("json:JSONDecoder", "'part': json:JSONDecoder is not a configuration"),
    ],
)
def test_an_unknown_type(kind: str | None, said: str) -> None:
    with pytest.raises(InputError, match=said):
        from_json({"type": own("Whole"), "name": "x", "part": {"type": kind}})


def test_an_unknown_type_at_the_top() -> None:
    with pytest.raises(InputError, match=r"config field '\(top\)': unknown type nowhere:X"):
        load('{"type": "nowhere:X"}')


@pytest.mark.parametrize("text", ["", "{", "{'a': 1}", "name: x"])
def test_what_is_not_json(text: str) -> None:
    with pytest.raises(InputError, match="the config is not valid JSON"):
        load(text)
