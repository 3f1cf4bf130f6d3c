"""Which column holds several parts of one video, where the manifest's names alone do not say it."""

from collections.abc import Mapping, Sequence
from typing import Any

from base.errors import InputError
from pipeline.manifest.segments import looks_like_list

SEGMENTS_NAME = "segments"
OTHER_NAMES = ("timestamp", "timestamps")
"""Names of columns that hold segments in some data sets, and moments in others."""


class SegmentColumn:
    """Finds the value of a row that names segments.

    A column that the user names, or that is called ``segments``, holds them. One called ``timestamp`` or
    ``timestamps`` does where its first values are lists. It may have none in any number of rows; where it turns out to
    hold lists after it was taken for moments, the manifest is refused, for these rows were read without.
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
        """Whether there is such a column, or there may be: one that has no value in the first rows."""
        return bool(self.name or self._empty)

    def value(self, values: Mapping[str, Any], row: int) -> Any:
        """What names the segments of a row; None where nothing does. InputError as the class says."""
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
                    f"manifest '{self.source}': column '{name}' holds a list in row {row:,} and none in row "
                    f"{self._moments[name]:,}. A column holds segments in all rows or in none: name it with "
                    f"--columns.segments {name}, or rename it."
                )
            self.name = name
            return
