"""The setting of a low-rank adapter, LoRA (Hu et al. 2021)."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Lora:
    """Train an adapter of ``network.start`` instead of its weights.

    A layer's weight W becomes W + alpha / rank B A. A, of ``rank`` rows, and B, of ``rank`` columns, are trained; B
    begins with zeros, so the first step's network is the start model.
    """

    rank: int = 32
    alpha: float | None = None
    """None: the rank, so the factor before B A is 1."""
    targets: tuple[str, ...] = ()
    """The layers, by their names or the ends of these (``to_q``, ``to_out.0``); none given: those of the network."""
    dropout: float = 0.0
    """Of the layers' inputs, on their way to A."""
    base: Literal["float32", "bfloat16"] = "float32"
    """How the start model's matrices are held in training. bfloat16 takes half the memory, and needs
    ``hardware.precision`` bfloat16, under which they are rounded to that for every step anyway."""

    def __post_init__(self) -> None:
        """Check the values."""
        if self.rank < 1:
            raise ValueError(f"adapter.rank {self.rank}: must be at least 1")
        if self.alpha is not None and not 0 < self.alpha < float("inf"):
            raise ValueError(f"adapter.alpha {self.alpha}: must be above 0, or None for the rank")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"adapter.dropout {self.dropout}: must be from 0 to below 1")
        if "" in self.targets or len(set(self.targets)) < len(self.targets):
            raise ValueError(f"adapter.targets {self.targets}: name each layer once")

    @property
    def usual_alpha(self) -> float:
        """Alpha, by default the rank."""
        return float(self.rank if self.alpha is None else self.alpha)

    @property
    def factor(self) -> float:
        """What B A is multiplied with."""
        return self.usual_alpha / self.rank

    def summary(self) -> str:
        """A short description for a dry run."""
        layers = ", ".join(self.targets) or "its usual layers"
        return f"a LoRA of rank {self.rank} on {layers}"


ADAPTERS = {"none": None, "lora": Lora()}
"""The choices of ``--adapter``."""
