"""How to sample: choices that need no torch, so that whoever passes them on need not load it."""

from dataclasses import asdict, dataclass, replace
from typing import Literal

Spacing = Literal["leading", "trailing"]
Solver = Literal["ddim", "dpm++", "unipc"]


@dataclass(frozen=True)
class Sampling:
    """How to sample: steps, guidance towards the text and its rescale, eta (0: no noise is added on the way).

    ``spacing`` is that of the steps; by default trailing where the model knows pure noise, else leading. ``solver``
    takes the steps: those other than DDIM need fewer, and no eta.
    """

    steps: int = 50
    guidance: float = 7.5
    guidance_rescale: float = 0.0
    eta: float = 0.0
    spacing: Spacing | None = None
    solver: Solver = "ddim"

    def __post_init__(self) -> None:
        """Refuse what samples nothing."""
        if self.steps < 1:
            raise ValueError(f"steps {self.steps}: at least 1")
        if not 0 <= self.guidance < float("inf"):
            raise ValueError(f"guidance {self.guidance}: 0 or more; 1 is none")
        if self.solver != "ddim" and self.eta:
            raise ValueError(f"eta {self.eta} with solver {self.solver}: only ddim adds noise; set eta to 0")
        for name in ("guidance_rescale", "eta"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} {getattr(self, name)}: from 0 to 1")


@dataclass(frozen=True)
class SamplingChanges:
    """What somebody wants otherwise than a model's own sampling; None leaves it."""

    steps: int | None = None
    """Steps of the solver."""
    guidance: float | None = None
    """How strongly the text leads; 1 is not at all."""
    guidance_rescale: float | None = None
    """From 0 to 1: takes back the contrast that guidance adds."""
    eta: float | None = None
    """From 0 to 1: noise that is added on the way."""
    spacing: Spacing | None = None
    """Where the steps lie; by default trailing where the model knows pure noise, else leading."""
    solver: Solver | None = None
    """What takes the steps: DDIM, or DPM-Solver++ or UniPC, which need fewer."""

    def __post_init__(self) -> None:
        """Refuse what no sampling may be."""
        self.of(Sampling())

    def of(self, own: Sampling) -> Sampling:
        """A model's own sampling with these changes."""
        return replace(own, **{name: value for name, value in asdict(self).items() if value is not None})
