"""The training loop: step after step to the last one, and what is due every so many steps."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from training.data.loader import StepData
from training.loop.speed import Meter
from training.loop.train_step import StepResult, TrainStep


@dataclass(frozen=True)
class Progress:
    """Where a run stands: the next step to compute, and how many clips of each dataset were taken."""

    step: int = 0
    cursor: tuple[int, ...] = ()
    epoch: float = 0.0


@dataclass(frozen=True)
class Periodic:
    """Something to do after every ``every`` steps, and after the last one. It is given where the run stands then."""

    every: int
    action: Callable[[Progress], None]

    def is_due(self, step: int, last: int) -> bool:
        """Whether it is to be done after so many steps."""
        return step % self.every == 0 or step == last


class TrainLoop:
    """Takes steps from ``progress`` on until ``last`` of them are done."""

    def __init__(self, train_step: TrainStep, meter: Meter, progress: Progress, last: int) -> None:
        self.train_step = train_step
        self.meter = meter
        self.progress = progress
        self.last = last

    def run(
        self,
        batches: Iterator[StepData],
        after_step: Callable[[StepData, StepResult], None],
        periodic: Sequence[Periodic],
    ) -> Progress:
        """Take every step that is left; ``after_step`` is called after each, then what is due, in its order."""
        while self.progress.step < self.last:
            data = self.meter.next(batches)
            result = self.train_step.step(data)
            self.progress = Progress(data.step + 1, data.cursor, data.epoch)
            after_step(data, result)
            for task in periodic:
                if task.is_due(self.progress.step, self.last):
                    task.action(self.progress)
        return self.progress
