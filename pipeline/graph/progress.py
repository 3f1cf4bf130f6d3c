"""The progress of a run: counts by stage, as a live table on a terminal and as plain lines elsewhere."""

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table

from pipeline.graph.monitor import Counts

STALL_S = 120.0
WAIT_S = 15.0
LINE_EVERY_S = 10.0


@dataclass
class Progress:
    """Shows ``read()`` once a second until the run ends. ``total`` rows are expected at each stage of ``stages``."""

    stages: tuple[str, ...]
    total: int
    read: Callable[[], Counts]
    out: Console = field(default_factory=lambda: Console(file=sys.stderr))
    held: Callable[[], str] = lambda: ""
    """The resources of other work that these stages wait for, such as "all 2 cores"; called when nothing moves."""

    def __post_init__(self) -> None:
        """Start the clock."""
        self.started = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._last: tuple[tuple[int, ...], float] = ((), self.started)
        self._warned = self._waiting = False

    def __enter__(self) -> "Progress":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        if self.out.is_terminal:
            with Live(console=self.out, auto_refresh=False, transient=True) as live:
                while not self._stop.wait(1.0):
                    live.update(self.table(self.watch()), refresh=True)
        else:
            while not self._stop.wait(LINE_EVERY_S):
                self.out.print(self.line(self.watch()), soft_wrap=True, highlight=False)

    def watch(self) -> Counts:
        """The counts now; where they have stood still for too long, that is said."""
        counts = self.read()
        state = tuple(counts[stage].left for stage in self.stages)
        if state != self._last[0]:
            self._last, self._warned, self._waiting = (state, time.monotonic()), False, False
        elif not self._waiting and time.monotonic() - self._last[1] > WAIT_S and (held := self.held()):
            self._waiting = True
            message = f"[yellow]waiting: other work on the cluster holds {held}; this run continues once there is room"
            self.out.print(message, soft_wrap=True, highlight=False)
        elif time.monotonic() - self._last[1] > STALL_S and not self._warned:
            self._warned = True
            self.out.print(f"[yellow]{self.stalled(counts)}", soft_wrap=True)
        return counts

    def stalled(self, counts: Counts) -> str:
        """Names the stalled stage: the last one with waiting rows."""
        for index in reversed(range(len(self.stages))):
            waiting = self.queue(counts, index)
            if waiting > 0:
                return f"{self.stages[index]} has stalled for {STALL_S:.0f} s with {waiting} waiting"
        return f"nothing has moved for {STALL_S:.0f} s"

    def queue(self, counts: Counts, index: int) -> int:
        """Rows that the previous stage has passed on and this one has not finished."""
        before = self.total if index == 0 else counts[self.stages[index - 1]].left
        return before - counts[self.stages[index]].left

    def eta_s(self, counts: Counts) -> float | None:
        """Remaining seconds at the last stage's mean rate; None before it has finished a row."""
        done = counts[self.stages[-1]].left
        return (time.monotonic() - self.started) / done * (self.total - done) if done else None

    def line(self, counts: Counts) -> str:
        """The state as one line."""
        parts = []
        for index, stage in enumerate(self.stages):
            count = counts[stage]
            failed = f", {count.failed} failed" if count.failed else ""
            parts.append(f"{stage} {count.left}/{self.total} ({self.queue(counts, index)} waiting{failed})")
        left = f"left {_clock(self.eta_s(counts))}" if _begun(counts) else "starting workers"
        return "  ".join([_clock(time.monotonic() - self.started), *parts, left])

    def table(self, counts: Counts) -> Table:
        """The state as a table."""
        left = f"{_clock(self.eta_s(counts))} to go" if _begun(counts) else "starting workers"
        table = Table(title=f"{_clock(time.monotonic() - self.started)} elapsed, {left}")
        table.add_column("stage")
        for name in ("in", "out", "failed", "waiting", "seconds"):
            table.add_column(name, justify="right")
        for index, stage in enumerate(self.stages):
            count = counts[stage]
            values = (
                count.entered,
                count.left,
                count.failed,
                self.queue(counts, index),
                f"{count.seconds:.0f}",
            )
            table.add_row(stage, *map(str, values))
        return table


def _begun(counts: Counts) -> bool:
    """Whether a row has reached a stage; before that, workers load their models."""
    return any(count.entered or count.left for count in counts.values())


def _clock(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
