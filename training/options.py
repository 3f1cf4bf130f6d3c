"""Parts of a training run's configuration: when it saves and samples, and where its steps are computed."""

from dataclasses import dataclass, field
from typing import Literal

from base.config import OMITTED_BY_DEFAULT
from base.device import Kernels
from diffusion.options import Interval, Sampling
from models.video_model import Recompute


@dataclass(frozen=True)
class Saves:
    """When checkpoints are written, and how many of the last ones are kept."""

    every: int = 1000
    keep: int = 3

    def __post_init__(self) -> None:
        """Check the values."""
        for name in ("every", "keep"):
            if getattr(self, name) < 1:
                raise ValueError(f"saves.{name} {getattr(self, name)}: must be at least 1")


@dataclass(frozen=True)
class Samples:
    """Videos sampled during training: of ``num`` clips, every ``every`` steps (0: never).

    The first are sampled before the first step. These settings are also the default for sampling its checkpoints.
    """

    every: int = 1000
    num: int = 4
    steps: int = 50
    guidance: float = 7.5
    guidance_interval: Interval = field(default=(0.0, 1.0), metadata=OMITTED_BY_DEFAULT)
    """The noise levels at which guidance is applied, from 0 (the clip) to 1 (noise)."""

    def __post_init__(self) -> None:
        """Check the values."""
        for name, least in (("every", 0), ("num", 1), ("steps", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"samples.{name} {getattr(self, name)}: must be at least {least}")
        try:
            self.sampling()
        except ValueError as error:
            raise ValueError(f"samples.{error}") from error

    def sampling(self) -> Sampling:
        """How a run is sampled, while it trains and afterwards."""
        return Sampling(self.steps, self.guidance, guidance_interval=self.guidance_interval)


@dataclass(frozen=True)
class Hardware:
    """Where and how a step is computed; it only affects rounding and the network's own dropout.

    Each worker runs ``micro_batch`` clips at a time and accumulates gradients over its part of the global batch.
    """

    workers: int = 8
    """Ray Train workers, one per GPU (or CPU core, without GPUs); 0: this process, without Ray."""
    micro_batch: int = 8
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    parallel: Literal["ddp", "fsdp"] = "ddp"
    checkpointing: bool = False
    """Gradient checkpointing: recompute activations in the backward pass to save memory."""
    recompute: Recompute = field(default="all", metadata=OMITTED_BY_DEFAULT)
    """With checkpointing: all, or only what is cheap. The latter keeps the outputs of convolutions, matrix products and
    attention, so no FLOPs are spent twice, for a part of the memory; --dry-run says what each takes."""
    kernels: Kernels = field(default="usual", metadata=OMITTED_BY_DEFAULT)
    """On a GPU, fast allows TF32 and has cuDNN choose its kernels by time. A resumed run may then round differently."""
    compile: bool = False
    compile_optional: bool = field(default=False, metadata=OMITTED_BY_DEFAULT)
    """If compiling fails, say so and train without, instead of ending the run."""
    max_restarts: int = 3
    """How often a run resumes from its last checkpoint after a worker died."""

    def __post_init__(self) -> None:
        """Check the values."""
        for name, least in (("workers", 0), ("micro_batch", 1), ("max_restarts", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"hardware.{name} {getattr(self, name)}: must be at least {least}")
        if self.recompute != "all" and not self.checkpointing:
            raise ValueError(
                f"hardware.recompute {self.recompute}: nothing is recomputed without gradient checkpointing; set "
                "hardware.checkpointing, too"
            )

        if self.compile_optional and not self.compile:
            raise ValueError("hardware.compile_optional: nothing is compiled; set hardware.compile, too")

    @property
    def recomputes(self) -> Recompute | None:
        """What is recomputed in the backward pass."""
        return self.recompute if self.checkpointing else None
