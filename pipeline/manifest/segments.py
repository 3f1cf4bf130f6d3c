"""Parses times and segments of manifests: seconds, clock times, and lists of both; finds the column of segments."""

import ast
import json
import re
from collections.abc import Mapping, Sequence
from datetime import time, timedelta
from typing import Any

from base.errors import InputError

Segment = tuple[float | None, float | None]

_CLOCK = re.compile(r"(?:(\d+):)?(\d+):(\d+(?:[.,]\d*)?)")
_START_KEYS = ("start", "start_s", "start_time")
_END_KEYS = ("end", "end_s", "end_time")
_LONGEST_TEXT = 1 << 20
_SHOWN = 60
SEGMENTS_NAME = "segments"
OTHER_NAMES = ("timestamp", "timestamps")
"""Names of columns that hold segments in some datasets, and points in time in others."""


def seconds(value: Any) -> float | None:
    """Seconds from a number, ``"12.5"``, ``"0:00:17.683"``, ``"02:11"`` or a time; None if empty.

    Raises ValueError for anything else, and for negative or infinite times.
    """
    if value is None or value == "":
        return None
    try:
        found = _read_seconds(value)
    except OverflowError:
        found = float("inf")
    if not 0 <= found < float("inf"):
        raise ValueError(f"{_short(value)}: a time must be finite and not negative")
    return found


def _short(value: Any) -> str:
    """A value for a message, shortened, since it is untrusted input."""
    try:
        text = str(value)
    except ValueError:  # a number with more digits than Python converts
        return "a number of thousands of digits"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _read_seconds(value: Any) -> float:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, time):
        return value.hour * 3600 + value.minute * 60 + value.second + value.microsecond / 1e6
    if isinstance(value, str) and (clock := _CLOCK.fullmatch(value.strip())):
        hours, minutes, rest = int(clock[1] or 0), int(clock[2]), float(clock[3].replace(",", "."))
        if rest >= 60 or (clock[1] and minutes >= 60):
            raise ValueError(f"{_short(value)}: minutes and seconds of a clock time must be below 60")
        return hours * 3600 + minutes * 60 + rest
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{_short(value)!r} is not a time in seconds")
    try:
        return float(value)
    except ValueError:
        raise ValueError(f"'{_short(value)}' is neither seconds nor a clock time such as 0:00:17.683") from None


def looks_like_list(value: Any) -> bool:
    """Whether a value is a list, or text that looks like one."""
    return isinstance(value, list | tuple) or (isinstance(value, str) and value.lstrip().startswith(("[", "(")))


def read_list(value: Any) -> list[Any] | None:
    """A list from a list, or from its text in JSON or Python syntax; None if it is not a list."""
    if isinstance(value, str) and looks_like_list(value) and len(value) <= _LONGEST_TEXT:
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            try:
                value = ast.literal_eval(value.strip())
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                return None
    return list(value) if isinstance(value, list | tuple) else None


def read_segments(value: Any) -> list[Segment]:
    """Segments from ``[[start, end], ...]``, one ``[start, end]``, or a list of ``{"start": ..., "end": ...}``.

    Raises ValueError for any other value.
    """
    found = read_list(value)
    if found is None:
        raise ValueError(f"{str(value)[:60]!r} is not a list of segments such as [[0.5, 4], [4, 9.2]]")
    if len(found) == 2 and not any(isinstance(item, list | tuple | dict) for item in found):
        found = [found]
    return [_segment(item) for item in found]


def _segment(item: Any) -> Segment:
    if isinstance(item, dict):
        start = next((item[key] for key in _START_KEYS if key in item), None)
        end = next((item[key] for key in _END_KEYS if key in item), None)
    elif isinstance(item, list | tuple) and len(item) == 2:
        start, end = item
    else:
        raise ValueError(f"{str(item)[:60]!r} is not a segment such as [0.5, 4]")
    if start is None and end is None:
        raise ValueError(f"{str(item)[:60]!r} has neither a start nor an end")
    return seconds(start), seconds(end)


def captions_of(value: Any, count: int) -> list[Any]:
    """One caption for each of ``count`` segments: a list of as many, or one caption for all of them.

    Raises ValueError for several captions that do not match the number of segments.
    """
    texts = read_list(value)
    if texts is not None and len(texts) > 1 and len(texts) != count:
        raise ValueError(f"{len(texts)} captions for {count} segments")
    if texts:
        return texts if len(texts) == count else texts * count
    return [value if isinstance(value, str) else None] * count


class SegmentColumn:
    """Finds the segments of a row, also if names alone do not tell which column has them.

    They are in the column that the user gave or that is called ``segments``, or in ``timestamp`` or ``timestamps`` if
    its first values are lists. Any row may lack them. If a list appears after the column was taken for points in time,
    the manifest is refused, since earlier rows were read without segments.
    """

    def __init__(
        self, source: str, given: str | None, names: Sequence[str], sample: Sequence[Mapping[str, Any]]
    ) -> None:
        self.source = source
        self.name = SEGMENTS_NAME if given is None and SEGMENTS_NAME in names else given or ""
        self.candidates = [name for name in OTHER_NAMES if name in names] if given is None and not self.name else []
        self._moments: dict[str, int] = {}
        self.name = next(
            (name for name in self.candidates if any(looks_like_list(row.get(name)) for row in sample)), self.name
        )
        self._empty = [name for name in self.candidates if all(row.get(name) in (None, "") for row in sample)]

    @property
    def likely(self) -> bool:
        """Whether there is such a column, or may be one without values in the first rows."""
        return bool(self.name or self._empty)

    def value(self, values: Mapping[str, Any], row: int) -> Any:
        """The segments value of a row, or None. InputError as described above."""
        if not self.name:
            self._decide(values, row)
        found = values.get(self.name) if self.name else None
        return None if found == "" else found

    def _decide(self, values: Mapping[str, Any], row: int) -> None:
        for name in self.candidates:
            if not looks_like_list(values.get(name)):
                if name not in self._moments and values.get(name) not in (None, ""):
                    self._moments[name] = row
                continue
            if name in self._moments:
                raise InputError(
                    f"manifest '{self.source}': column '{name}' has a list in row {row:,} but not in row "
                    f"{self._moments[name]:,}. A column must hold segments in all rows or in none: give it with "
                    f"--columns.segments {name}, or rename it."
                )
            self.name = name
            return
