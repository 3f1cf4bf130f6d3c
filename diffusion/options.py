"""Sampling options; without torch, so that code that only passes them on need not import it."""

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from base.config import OMITTED_BY_DEFAULT

Spacing = Literal["leading", "trailing"]
Solver = Literal["ddim", "dpm++", "unipc"]
Interval = tuple[float, float]
"""Noise levels from the first to the second, both included; 0 is the clip, 1 noise."""
MOTION_LEVELS = 10
"""Motion levels, from 1, the stillest, of models that take one."""
USUAL_MOTION_LEVEL = 5
"""The level of a video for which none is given, as in LivePhoto."""


@dataclass(frozen=True)
class Sampling:
    """Sampling options: steps, guidance scale and its rescale, eta (0: no noise is added during sampling).

    ``spacing`` is that of timesteps; by default trailing if the model was trained on pure noise, else leading. Solvers
    other than DDIM do not support eta. At noise levels outside of ``guidance_interval`` the text alone is followed,
    without guidance, in half the computation.
    """

    steps: int = 50
    guidance: float = 7.5
    guidance_rescale: float = 0.0
    eta: float = 0.0
    spacing: Spacing | None = None
    solver: Solver = "ddim"
    guidance_interval: Interval = field(default=(0.0, 1.0), metadata=OMITTED_BY_DEFAULT)

    def __post_init__(self) -> None:
        """Check the options."""
        if self.steps < 1:
            raise ValueError(f"steps {self.steps}: must be at least 1")
        if not 0 <= self.guidance < float("inf"):
            raise ValueError(f"guidance {self.guidance}: must be 0 or more; 1 means none")
        if self.solver != "ddim" and self.eta:
            raise ValueError(f"eta {self.eta} with solver {self.solver}: only ddim adds noise; set eta to 0")
        for name in ("guidance_rescale", "eta"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} {getattr(self, name)}: must be from 0 to 1")
        low, high = self.guidance_interval
        if not 0 <= low < high <= 1:
            raise ValueError(
                f"guidance_interval {low} {high}: must be noise levels from 0 (the clip) to 1 (noise), the lower first"
            )

    @property
    def always_guided(self) -> bool:
        """Whether guidance is applied at every noise level."""
        return self.guidance_interval == Sampling.guidance_interval

    def to_dict(self) -> dict[str, Any]:
        """The options by name, for records; ``guidance_interval`` is left out if guidance is always applied, as it was
        before there was one.
        """
        values = asdict(self)
        if self.always_guided:
            del values["guidance_interval"]
        return values


@dataclass(frozen=True)
class SamplingChanges:
    """Changes to a model's own sampling options; None keeps the model's."""

    steps: int | None = None
    """Sampling steps."""
    guidance: float | None = None
    """Guidance scale: how strongly the text is followed; 1 means no guidance."""
    guidance_rescale: float | None = None
    """From 0 to 1: reduces the contrast that guidance adds."""
    eta: float | None = None
    """From 0 to 1: noise that is added during sampling."""
    spacing: Spacing | None = None
    """Spacing of timesteps; by default trailing if the model was trained on pure noise, else leading."""
    solver: Solver | None = None
    """DDIM, or the multistep solvers DPM-Solver++ and UniPC."""
    guidance_interval: Interval | None = None
    """Guide only from one noise level to another, from 0 (the clip) to 1 (noise); other steps take half the time."""

    def __post_init__(self) -> None:
        """Check the options."""
        self.of(Sampling())

    def of(self, own: Sampling) -> Sampling:
        """A model's own sampling with these changes."""
        return replace(own, **{name: value for name, value in asdict(self).items() if value is not None})
