"""Rows of an estimate: an amount with its unit and how it is known; and their totals in hours, bytes and money."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from base.gpus import Cost, Gpu
from infra.estimate.prices import Prices

Unit = Literal["GPU-hours", "CPU-hours", "GB", "GB of memory"]
"""A CPU-hour is one core for an hour, a GB is 10^9 bytes: in the object store, or of a machine's or GPU's memory."""


@dataclass(frozen=True)
class Row:
    """One line of an estimate. ``amount`` is None where nothing was measured or counted; ``how`` then says why."""

    part: str
    what: str
    unit: Unit
    amount: float | None
    how: str

    def price(self, prices: Prices, gpu: Gpu) -> float | None:
        """Money for the amount, for storage by the month; None if the amount or its price is not known."""
        rate = {
            "GPU-hours": prices.gpu_hour.get(gpu.name),
            "CPU-hours": prices.cpu_hour,
            "GB": prices.gb_month,
            "GB of memory": None,
        }[self.unit]
        return None if rate is None or self.amount is None else rate * self.amount


@dataclass(frozen=True)
class Total:
    """The sum of the known rows of a unit. ``complete`` is False if a row of it is not known."""

    unit: Unit
    amount: float
    price: float | None
    complete: bool


def totals(rows: Sequence[Row], prices: Prices, gpu: Gpu) -> list[Total]:
    """The totals of hours and of stored bytes; memory is not summed."""
    summed: tuple[Unit, ...] = ("GPU-hours", "CPU-hours", "GB")
    found = []
    for unit in summed:
        of_unit = [row for row in rows if row.unit == unit]
        known = [row for row in of_unit if row.amount is not None]
        if known:
            costs = [cost for row in known if (cost := row.price(prices, gpu)) is not None]
            amount = sum(row.amount or 0.0 for row in known)
            found.append(Total(unit, amount, sum(costs) if costs else None, len(known) == len(of_unit)))
    return found


def cores_per_gpu(rows: Sequence[Row]) -> float | None:
    """How many cores must work beside a GPU for it never to wait for clips; None without known work of both kinds."""
    hours = {
        unit: sum(row.amount or 0.0 for row in rows if (row.part, row.unit) == ("preprocess", unit))
        for unit in ("GPU-hours", "CPU-hours")
    }
    return hours["CPU-hours"] / hours["GPU-hours"] if all(hours.values()) else None


def counted_hours(cost: Cost, gpu: Gpu, utilisation: float, per: str) -> tuple[float | None, str]:
    """GPU-hours of a counted computation, and the figure behind them, in words.

    The slower counts: its FLOPs at a share of the GPU's peak, or its bytes at the full speed of the GPU's memory.
    """
    peak = gpu.peak(cost.precision)
    flops = f"{number(cost.flops / 1e12)} TFLOP per {per}"
    if peak is None:
        return None, f"not known: {flops} in {cost.precision}, for which no speed of {gpu.name} is listed"
    computing, moving = cost.flops / (peak * utilisation), cost.moved / gpu.bandwidth
    if computing >= moving:
        share = f"{100 * utilisation:.3g} % of {number(peak / 1e12)} TFLOP/s"
        return computing / 3600, f"counted: {flops} at {share}"
    moved = f"{number(cost.moved / 1e9)} GB through memory per {per}"
    return moving / 3600, f"counted: {moved} at {number(gpu.bandwidth / 1e12)} TB/s"


def number(value: float) -> str:
    """A number with three digits or more: ``0.0186``, ``1.02``, ``41,300``."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
