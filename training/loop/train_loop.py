"""The training loop: steps, and periodic actions."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from training.data.loader import StepData
from training.loop.speed import Meter
from training.loop.train_step import LaunchedStep, StepResult, TrainStep


@dataclass(frozen=True)
class Progress:
    """The state of a run: the next step to compute, and how many clips of each dataset were taken."""

    step: int = 0
    cursor: tuple[int, ...] = ()
    epoch: float = 0.0


@dataclass(frozen=True)
class Periodic:
    """An action after every ``every`` steps, and after the last one. It receives the run's progress."""

    every: int
    action: Callable[[Progress], None]

    def is_due(self, step: int, last: int) -> bool:
        """Whether the action is due after ``step`` steps."""
        return step % self.every == 0 or step == last


class TrainLoop:
    """Runs steps from ``progress`` until ``last`` are done.

    A step's figures are read once ``ahead`` more steps are launched: on a GPU 1, so that it always has work;
    elsewhere 0, since a step is computed when it is launched. All are read before a periodic action.
    """

    def __init__(self, train_step: TrainStep, meter: Meter, progress: Progress, last: int, ahead: int = 0) -> None:
        self.train_step = train_step
        self.meter = meter
        self.progress = progress
        self.last = last
        self.ahead = ahead

    def run(
        self,
        batches: Iterator[StepData],
        after_step: Callable[[StepData, StepResult], None],
        periodic: Sequence[Periodic],
    ) -> Progress:
        """Run all remaining steps; after each, call ``after_step``, then the periodic actions that are due."""
        launched: deque[LaunchedStep] = deque()
        while self.progress.step < self.last:
            data = self.meter.next(batches)
            launched.append(self.train_step.launch(data))
            self.progress = Progress(data.step + 1, data.cursor, data.epoch)
            due = [task for task in periodic if task.is_due(self.progress.step, self.last)]
            end = self.progress.step == self.last
            while len(launched) > (0 if due or end else self.ahead):
                step = launched.popleft()
                after_step(step.data, step.read())
            for task in due:
                task.action(self.progress)
        return self.progress
