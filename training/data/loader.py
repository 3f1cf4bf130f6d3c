"""The batches of a run, prefetched by a thread while the network computes."""

import math
import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from diffusion.process import Process
from training.data.batch import Batch, collate
from training.data.draws import draw
from training.data.mixture import Mixture, Pick
from training.data.order import Place, make_order
from training.data.source import Source

# The worker that needs a row group varies from batch to batch: with half more groups kept, each group is read by two
# workers of eight instead of three.
_SLACK = 1.5
_AHEAD = 3  # steps; more would only use memory


@dataclass(frozen=True)
class Share:
    """A worker's part of each global batch: that of ``rank`` among ``world`` workers, ``micro`` clips at a time."""

    rank: int
    world: int
    micro: int


@dataclass(frozen=True)
class BatchPlan:
    """The settings of the global batch that all workers share: its size, and the sources of its randomness."""

    batch: int
    seed: int
    process: Process
    text_dropout: float = 0.1
    window: int = 2048
    """Clips of each dataset that all workers hold in total (with several workers up to half more); 0: the old order."""
    motion_bounds: tuple[float, ...] = ()
    """Of the motion levels of clips; none: the model takes no level."""


@dataclass(frozen=True)
class StepData:
    """A worker's data for one step, and the cursor of the next step."""

    step: int
    micro_batches: tuple[Batch, ...]
    cursor: tuple[int, ...]
    epoch: float
    """Epochs of the first dataset by the end of the step."""


class Batches:
    """Builds a worker's micro-batches step by step, starting from a cursor.

    The clips of a global batch are distributed by row group, so that a worker reads few groups. The clips and their
    noise do not depend on the number of workers.
    """

    def __init__(self, sources: Sequence[Source], plan: BatchPlan, share: Share, cursor: Sequence[int] = ()) -> None:
        self.sources = sources
        self.plan = plan
        self.share = share
        weights = [source.weight for source in sources]
        self.mixture = Mixture([source.facts.shape for source in sources], weights, plan.batch, plan.seed)
        self.mixture.taken = list(cursor) or self.mixture.taken
        self.orders = []
        for number, source in enumerate(sources):
            held = source.groups_in(plan.window)
            self.orders.append(make_order(source.rows, plan.seed, number, held))
            if held:
                source.kept_groups = groups_of_a_worker(held, share.world, source.weight / sum(weights))

    def make(self, step: int) -> StepData:
        """The data of a step. Moves the cursor."""
        picks = self.mixture.draw(step)
        placed = [(pick.source, self.orders[pick.source][pick.number], pick) for pick in picks]
        placed.sort(key=lambda item: (item[0], item[1].group, item[1].row, item[2].at))
        each = len(placed) // self.share.world
        mine = placed[self.share.rank * each : (self.share.rank + 1) * each]
        micro = range(0, each, self.share.micro)
        batches = tuple(self._batch(mine[first : first + self.share.micro], step) for first in micro)
        return StepData(step, batches, tuple(self.mixture.taken), self.mixture.taken[0] / len(self.orders[0]))

    def _batch(self, clips: Sequence[tuple[int, Place, Pick]], step: int) -> Batch:
        plan, source = self.plan, self.sources[clips[0][0]]
        samples = [self.sources[number].read(place) for number, place, _ in clips]
        draws = [
            draw((plan.seed, step, pick.at), source.facts.shape, plan.process, plan.text_dropout)
            for _, _, pick in clips
        ]
        return collate(samples, draws, source.empty_text, source.facts.scaling_factor, plan.motion_bounds)


def groups_of_a_worker(held: int, world: int, weight: float) -> int:
    """How many of the groups in use a worker keeps: its share, and more for a dataset with a small weight."""
    part = 1 / (world * weight) if weight else 1.0
    return held if part >= 1 else min(held, math.ceil(_SLACK * held * part))


class Prefetcher:
    """The data of the steps ``first`` to ``last - 1``, built a few steps ahead by a thread.

    Use it in a ``with`` block: leaving it ends the thread. An error of the thread is raised by ``next``.
    """

    def __init__(self, batches: Batches, first: int, last: int, *, pin: bool = False) -> None:
        self._queue: queue.Queue[StepData | BaseException] = queue.Queue(maxsize=_AHEAD)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(batches, range(first, last), pin), daemon=True)
        self._thread.start()

    def __enter__(self) -> "Prefetcher":
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join()

    def __iter__(self) -> Iterator[StepData]:
        """Itself."""
        return self

    def __next__(self) -> StepData:
        """The data of the next step; waits for it."""
        item = self._queue.get()
        if isinstance(item, BaseException):
            raise item
        return item

    def _run(self, batches: Batches, steps: range, pin: bool) -> None:
        try:
            for step in steps:
                data = batches.make(step)
                if pin:
                    data = replace(data, micro_batches=tuple(batch.pinned() for batch in data.micro_batches))
                if not self._put(data):
                    return
            self._put(StopIteration())
        except BaseException as error:  # noqa: BLE001 - any error is raised again in the loop
            self._put(error)

    def _put(self, item: StepData | BaseException) -> bool:
        """Put an item into the queue; False once the prefetcher is stopped."""
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False
