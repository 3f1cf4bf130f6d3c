"""Rules that a clip must meet, such as ``mean_intensity>=0.5``: read from text, applied to tables."""

import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from base.errors import InputError

_OPERATORS = {
    ">=": (operator.ge, pc.greater_equal),
    "<=": (operator.le, pc.less_equal),
    ">": (operator.gt, pc.greater),
    "<": (operator.lt, pc.less),
}
_RULE = re.compile(r"^\s*(\w+)\s*(>=|<=|>|<)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*$")


@dataclass(frozen=True)
class Rule:
    """``column`` ``operator`` ``value``."""

    column: str
    operator: str
    value: float

    @classmethod
    def parse(cls, text: str) -> "Rule":
        """Parse a rule; InputError if it is invalid."""
        match = _RULE.match(text)
        if match is None:
            raise InputError(f"rule '{text}': write column>=number, with >=, <=, > or <.")
        return cls(match[1], match[2], float(match[3]))

    def __str__(self) -> str:
        return f"{self.column}{self.operator}{repr(self.value).removesuffix('.0')}"

    def holds(self, value: float) -> bool:
        """Whether a value meets the rule."""
        return bool(_OPERATORS[self.operator][0](value, self.value))

    def check(self, columns: Sequence[str]) -> None:
        """InputError if the rule's column is not among these."""
        if self.column not in columns:
            raise InputError(f"rule '{self}': there is no column {self.column}. Columns: {', '.join(columns)}.")

    def mask(self, table: pa.Table) -> "pa.Array | pa.ChunkedArray":
        """Which rows of a table meet the rule; nulls do not."""
        self.check(table.column_names)
        kind = table.schema.field(self.column).type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            raise InputError(f"rule '{self}': {self.column} is not numeric ({kind}).")
        return pc.fill_null(_OPERATORS[self.operator][1](table.column(self.column), self.value), False)
