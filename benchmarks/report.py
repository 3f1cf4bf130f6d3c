"""What every benchmark shares: its command line, repeated timing with medians, and the result line."""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def arguments(doc: str | None) -> argparse.ArgumentParser:
    """The command line of a benchmark, described by its module's docstring; each takes ``--save``."""
    layout = argparse.RawDescriptionHelpFormatter
    return argparse.ArgumentParser(description=doc, formatter_class=layout, parents=[_saving()])


def _saving() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    explained = "keep the result in benchmarks/results, or in FOLDER"
    parser.add_argument("--save", nargs="?", type=Path, const=RESULTS, metavar="FOLDER", help=explained)
    return parser


def alternate(functions: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Median of what each function returns over ``rounds``, run in turn so that drift of the machine hits all alike."""
    values: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            values[name].append(function())
    return {name: statistics.median(found) for name, found in values.items()}


def rate(count: int, function: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> float:
    """How many per second of ``clock``."""
    started = clock()
    function()
    return count / (clock() - started)


def report(name: str, figures: dict[str, Any], goals: dict[str, bool]) -> None:
    """Print the result as one JSON line; with ``--save`` also keep it in benchmarks/results."""
    machine = f"{platform.machine()}, Python {platform.python_version()}"
    line = json.dumps({"benchmark": name, **figures, "goals_met": goals, "machine": machine})
    folder = _saving().parse_known_args()[0].save
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.json").write_text(line + "\n")
    print(line)
