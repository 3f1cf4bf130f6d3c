"""Arranges videos side by side in one."""

import math
from collections.abc import Hashable, Sequence

import numpy as np
from jaxtyping import UInt8

_ONE_ROW = 4  # at most this many videos in one row if rows have no meaning


def arrange(groups: Sequence[Hashable]) -> list[list[int]]:
    """Rows of a grid for videos, by their numbers: videos of a group (an image) share a row.

    With one group, or one video per group, rows have no meaning: up to four videos are in one row, more in a
    roughly square grid.
    """
    members: dict[Hashable, list[int]] = {}
    for number, group in enumerate(groups):
        members.setdefault(group, []).append(number)
    rows = list(members.values())
    if len(rows) > 1 and max(map(len, rows)) > 1:
        return rows
    flat = [number for row in rows for number in row]
    columns = len(flat) if len(flat) <= _ONE_ROW else math.ceil(math.sqrt(len(flat)))
    return [flat[first : first + columns] for first in range(0, len(flat), columns)]


def tile(videos: Sequence[UInt8[np.ndarray, "t h w 3"]], rows: list[list[int]]) -> UInt8[np.ndarray, "t gh gw 3"]:
    """One video of all, arranged by :func:`arrange`; missing cells are black."""
    t, height, width, _ = videos[0].shape
    out = np.zeros((t, len(rows) * height, max(map(len, rows)) * width, 3), np.uint8)
    for y, row in enumerate(rows):
        for x, number in enumerate(row):
            out[:, y * height : (y + 1) * height, x * width : (x + 1) * width] = videos[number]
    return out
