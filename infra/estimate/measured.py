"""Figures of ``benchmarks/results`` that an estimate uses; the folder itself is not installed.

When a benchmark is run again, change its figures here: ``tests/infra/test_estimate_command.py`` compares them.
"""

from dataclasses import dataclass

CORES = 2
"""The machine on which all of these were measured."""


@dataclass(frozen=True)
class Measured:
    """A figure of a benchmark's result, and what it was measured with."""

    value: float
    result: str
    keys: tuple[str, ...]
    conditions: str

    @property
    def how(self) -> str:
        """The source of the figure, in words."""
        return f"measured on two CPU cores ({self.conditions}), benchmarks/results/{self.result}.json"


DECODE_MS = Measured(46.5, "decode", ("cpu_ms_a_clip", "ours"), "17 frames of 320 x 512 from six videos")
"""Milliseconds of a core per clip."""
SCHEDULING_MS = Measured(25.6, "graph", ("scheduling_ms_a_clip",), "Ray's share for clips of 256 x 256")
"""Milliseconds of a core per clip."""
SPRITES_CLIPS_PER_S = Measured(6.99, "graph", ("clips_per_s", "graph"), "the whole graph with this recipe")
"""Clips per second on both cores: decoding, all features, writing."""
PLAN_MICROSECONDS = Measured(7.3, "plan", ("cpu_microseconds_a_row",), "a million rows, nine tenths of them done")
"""Microseconds of a core per row of the manifest, for one plan."""
PLAN_MB = {
    1_000_000: Measured(530, "plan", ("peak_megabytes",), "at 100,000 and 1,000,000 rows"),
    100_000: Measured(248, "plan", ("local", "remote", "peak_megabytes"), "at 100,000 and 1,000,000 rows"),
}
"""The driver's peak of memory in MB, by rows of the manifest."""
SPRITES_STEP_S = Measured(1.157, "training", ("step_s",), "this recipe")
"""Seconds per training step on both cores."""

ALL = (DECODE_MS, SCHEDULING_MS, SPRITES_CLIPS_PER_S, PLAN_MICROSECONDS, *PLAN_MB.values(), SPRITES_STEP_S)
