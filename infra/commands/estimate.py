"""``motif estimate``: GPU-hours, CPU-hours, bytes and money for many clips, and how each figure is known."""

import json
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.console import Console
from rich.table import Table

from base.errors import InputError
from base.gpus import UTILISATION, Gpu, named_gpu
from infra.estimate.prices import OURS, Prices, read_prices
from infra.estimate.rows import Row, Total, cores_per_gpu, number, totals
from infra.options import parse, report
from infra.recipes import TRAINING, named, summaries

if TYPE_CHECKING:
    from pipeline.recipes import Preprocess
    from training.recipes import Train

_WIDE = 160  # columns of the table where no terminal limits it


@dataclass(frozen=True)
class Options:
    """Estimate what preprocessing clips and training on them takes: hours, bytes and money (docs/scale.md).

    Each figure says whether it was measured (by our benchmarks), counted (FLOPs and bytes), or is not known.
    """

    recipe: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RECIPE")] = "motif"
    """A recipe of ``motif preprocess``, of ``motif train``, or of both (motif, sprites); or package.module:function."""
    clips: float = 1e6
    """Clips to preprocess, such as 1e6."""
    gpu: str = "H100"
    """The kind of GPU: A100, H100, H200, L40S, L4, A10G, T4 or 4090."""
    utilisation: float = UTILISATION
    """The share of the GPU's peak at which counted FLOPs are computed."""
    prices: str | None = None
    """A JSON file of your prices, in the form of infra/estimate/prices.json."""
    json: bool = False
    """Print the estimate as JSON."""


def main(args: list[str]) -> None:
    """Run the command."""
    options = parse(Options, args, "motif estimate")
    gpu = _check(options)
    prices = read_prices(Path(options.prices) if options.prices else OURS)
    preprocess, train = _recipes(options.recipe)
    report("counting the recipe's networks, which takes a few seconds")
    rows = _rows(options, preprocess, train, gpu)
    sums = totals(rows, prices, gpu)
    if options.json:
        found = {"recipe": options.recipe, "clips": int(options.clips), "gpu": asdict(gpu)}
        found |= {"utilisation": options.utilisation, "prices": prices.model_dump()}
        lines = [asdict(row) | {"price": row.price(prices, gpu)} for row in rows]
        print(json.dumps(found | {"rows": lines, "totals": [asdict(total) for total in sums]}, indent=2))
    else:
        _show(options, rows, sums, prices, gpu)


def _check(options: Options) -> Gpu:
    """The GPU; InputError if an option is wrong. Before torch is imported, which takes seconds."""
    if not (math.isfinite(options.clips) and options.clips >= 1 and options.clips.is_integer()):
        raise InputError(f"--clips {options.clips:g}: must be a whole number of at least 1.")
    if not 0 < options.utilisation <= 1:
        raise InputError(f"--utilisation {options.utilisation:g}: must be a share above 0, up to 1.")
    gpu = named_gpu(options.gpu)
    if ":" not in options.recipe:
        known = summaries("pipeline.recipes", *TRAINING)
        named(options.recipe, dict.fromkeys(known, str), str)
    return gpu


def _recipes(name: str) -> "tuple[Preprocess | None, Train | None]":
    """The recipes of this name: of preprocessing, of training, or both."""
    from pipeline.recipes import RECIPES as PREPROCESSING
    from pipeline.recipes import Preprocess
    from training.recipes import Train
    from training.wan_recipes import ALL

    if ":" not in name:
        return PREPROCESSING[name]() if name in PREPROCESSING else None, ALL[name]() if name in ALL else None
    made: object = named(name, {}, object)
    if not isinstance(made, Preprocess | Train):
        kinds = "pipeline.recipes.Preprocess or training.recipes.Train"
        raise InputError(f"recipe '{name}' returns {type(made).__name__}: must return {kinds}.")
    return (made, None) if isinstance(made, Preprocess) else (None, made)


def _rows(options: Options, preprocess: "Preprocess | None", train: "Train | None", gpu: Gpu) -> list[Row]:
    from base.weights import BASE_MODEL, WAN_MODEL
    from infra.estimate.preprocessing import data_shapes, preprocessing_rows
    from infra.estimate.training import training_rows
    from training.network import PAPER

    rows: list[Row] = []
    if preprocess is not None:
        if preprocess.base_model not in (BASE_MODEL, WAN_MODEL):
            preprocess = preprocess.resolved()  # another model's sizes are known from its files alone
        rows += preprocessing_rows(preprocess, int(options.clips), gpu, options.utilisation)
    if train is not None:
        shapes = PAPER.shapes if preprocess is None else data_shapes(preprocess)
        rows += training_rows(train, shapes, gpu, options.utilisation)
    return rows


def _show(options: Options, rows: Sequence[Row], sums: Sequence[Total], prices: Prices, gpu: Gpu) -> None:
    table = Table(title=f"{options.recipe}: {int(options.clips):,} clips, {gpu.name}", title_justify="left")
    for name in ("", ""):
        table.add_column(name, no_wrap=True)
    table.add_column("amount", justify="right", no_wrap=True)
    table.add_column(prices.currency, justify="right", no_wrap=True)
    table.add_column("how it is known")
    for part in dict.fromkeys(row.part for row in rows):
        name = part
        for row in (row for row in rows if row.part == part):
            table.add_row(name, row.what, *_amount(row.unit, row.amount, row.price(prices, gpu)), row.how)
            name = ""
        table.add_section()
    for total in sums:
        note = "" if total.complete else "at least: some rows are not known"
        table.add_row("total", "", *_amount(total.unit, total.amount, total.price), note)
    limited = sys.stdout.isatty() or "COLUMNS" in os.environ
    console = Console(highlight=False, width=None if limited else _WIDE)
    console.print(table)
    if cores := cores_per_gpu(rows):
        console.print(f"Preprocessing needs at least {cores:.1f} cores for each GPU to keep it busy.")
    console.print(f"Prices: {prices.source}", soft_wrap=True, markup=False)


def _amount(unit: str, amount: float | None, price: float | None) -> tuple[str, str]:
    """An amount and its price as text."""
    shown = "-" if amount is None else f"{number(amount)} {unit}"
    if price is None:
        return shown, "-"
    return shown, f"{price:,.2f}" + (" a month" if unit == "GB" else "")
