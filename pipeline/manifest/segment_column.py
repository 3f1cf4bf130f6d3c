"""Finds the column that holds several segments per video, if names alone do not tell."""

from collections.abc import Mapping, Sequence
from typing import Any

from base.errors import InputError
from pipeline.manifest.segments import looks_like_list

SEGMENTS_NAME = "segments"
OTHER_NAMES = ("timestamp", "timestamps")
"""Names of columns that hold segments in some datasets, and points in time in others."""


class SegmentColumn:
    """Finds the segments of a row.

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
