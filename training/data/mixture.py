"""The choice of clips for a global batch: several datasets by weight, one latent shape per batch.

The choice depends on (seed, step) and on how many clips of each dataset were taken before, which is the cursor that
a checkpoint stores. It does not depend on the number of workers.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

_STREAM = 2


@dataclass(frozen=True)
class Pick:
    """A clip of the global batch: its place in the batch, its dataset, and its number in that dataset's order."""

    at: int
    source: int
    number: int


class Mixture:
    """Draws global batches. ``shapes`` and ``weights`` are per dataset; a batch only mixes datasets of one shape.

    First a shape is drawn by the total weight of its datasets, then each clip's dataset by weight among these.
    """

    def __init__(self, shapes: Sequence[Hashable], weights: Sequence[float], batch: int, seed: int) -> None:
        self.batch = batch
        self.seed = seed
        self.weights = np.array(weights, float)
        kinds = list(dict.fromkeys(shapes))
        self.buckets = [np.array([i for i, shape in enumerate(shapes) if shape == kind]) for kind in kinds]
        self.taken = [0] * len(shapes)

    def draw(self, step: int) -> list[Pick]:
        """The batch of a step; moves the cursor."""
        rng = np.random.default_rng([self.seed, _STREAM, step])
        shares = np.array([self.weights[bucket].sum() for bucket in self.buckets])
        bucket = self.buckets[rng.choice(len(self.buckets), p=shares / shares.sum())]
        shares = self.weights[bucket] / self.weights[bucket].sum()
        picks = []
        for at, choice in enumerate(rng.choice(len(bucket), self.batch, p=shares)):
            source = int(bucket[choice])
            picks.append(Pick(at, source, self.taken[source]))
            self.taken[source] += 1
        return picks
