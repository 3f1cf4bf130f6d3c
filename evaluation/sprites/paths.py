"""The path of a shape through a video: the cheapest sequence of positions, by dynamic programming (Viterbi 1967)."""

import numpy as np
from jaxtyping import Float32, Int

_SMOOTH = 0.1
"""What a step of ``_UNIT`` costs. A position where nothing fits costs 1 per frame, so a shape is followed as far as it
can be seen."""
_UNIT = 0.1  # short sides


def cheapest_path(
    costs: Float32[np.ndarray, "t y x"], first: Float32[np.ndarray, "y x"], short: int
) -> Int[np.ndarray, "t 2"]:
    """The positions (y, x) with the least sum of costs and squared steps.

    ``costs`` are 0 to 1, those of the first frame are replaced by ``first`` (infinite where a path may not begin);
    ``short`` is the frame's short side in positions. No step is longer than 0.18 short sides along an axis.
    """
    longest = int(0.18 * short)
    price = _SMOOTH / (_UNIT * short) ** 2
    total, steps = first.astype(np.float32), []
    for cost in costs[1:]:
        total, row = _nearest(total, longest, price, 0)
        total, column = _nearest(total, longest, price, 1)
        steps.append((row, column))
        total = total + cost
    place = np.unravel_index(int(np.argmin(total)), total.shape)
    path = [(int(place[0]), int(place[1]))]
    for row, column in reversed(steps):
        y, x = path[-1]
        x_before = x + int(column[y, x])
        path.append((y + int(row[y, x_before]), x_before))
    return np.array(path[::-1])


def _nearest(
    total: Float32[np.ndarray, "y x"], longest: int, price: float, axis: int
) -> tuple[Float32[np.ndarray, "y x"], Int[np.ndarray, "y x"]]:
    """The least total of a step along an axis that ends at each position, and where that step begins, relatively."""
    size = total.shape[axis]
    pad = [(longest, longest) if number == axis else (0, 0) for number in range(2)]
    wide = np.pad(total, pad, constant_values=np.inf)
    best, begin = np.full_like(total, np.inf), np.zeros(total.shape, np.int64)
    for step in sorted(range(-longest, longest + 1), key=abs):  # of equal ones, the shortest step
        there = np.take(wide, range(longest + step, longest + step + size), axis) + np.float32(price * step**2)
        less = there < best
        best[less] = there[less]
        begin[less] = step
    return best, begin


def refine(cost: Float32[np.ndarray, "y x"], place: tuple[int, int]) -> tuple[float, float]:
    """A minimum between positions: the vertex of the parabola through a place and its neighbours, along each axis."""
    found = []
    for axis, at in enumerate(place):
        low, high = (tuple(at + step if a == axis else place[a] for a in range(2)) for step in (-1, 1))
        shift = 0.0
        if low[axis] >= 0 and high[axis] < cost.shape[axis]:
            before, here, after = float(cost[low]), float(cost[place]), float(cost[high])
            bend = before - 2 * here + after
            if bend > 1e-6 and here <= min(before, after):
                shift = 0.5 * (before - after) / bend
        found.append(at + shift)
    return found[0], found[1]
