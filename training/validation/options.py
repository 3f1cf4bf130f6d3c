"""The options of a validation; loads no torch."""

from dataclasses import dataclass
from typing import Literal

from training.data.artifacts import Artifacts


@dataclass(frozen=True)
class Options:
    """Options of validation. The paper gives neither threshold nor timesteps; these are our choice."""

    threshold: float = 0.5
    """A cell is in the mask if its heatmap is above this."""
    timesteps: tuple[int, ...] = tuple(range(50, 1000, 100))
    """Timesteps of the noise schedule, in increasing order."""
    limit: int | None = None
    """Largest number of clips, drawn with the seed."""
    batch: int = 8
    """Pairs of clip and timestep in one forward pass."""
    seed: int = 0
    """Seed of the noise, the choice of clips, and the resamples."""
    resamples: int = 1000
    """Bootstrap resamples for the intervals."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """A GPU computes in bfloat16."""
    artifacts: Artifacts = Artifacts()
    """Which artifacts of the held-out dataset to use, if it has several of a kind."""

    def __post_init__(self) -> None:
        """Check the values."""
        if not 0 <= self.threshold < 1:
            raise ValueError(f"threshold {self.threshold}: must be from 0 to below 1, the range of a heatmap")
        if not self.timesteps or sorted(set(self.timesteps)) != list(self.timesteps) or self.timesteps[0] < 0:
            raise ValueError(f"timesteps {self.timesteps}: give one or more distinct steps, in increasing order")
        for name in ("batch", "resamples"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)}: must be at least 1")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit {self.limit}: must be at least 1, or omit it for all clips")
