"""A batch: the input of one forward pass, collated from clips and their random numbers."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from dataset.reading import padded
from training.data.draws import Draws
from training.data.motion import level_of

# The clamping range of diffusers: exponentials of larger log-variances overflow float32.
_LOGVAR = (-30.0, 20.0)


@dataclass(frozen=True)
class Batch:
    """Clips ready for the network, float32.

    ``latents`` are a scaled sample of the posterior; ``text`` is the empty prompt if the caption was dropped;
    ``image_tokens`` and ``motion_level`` (1 to 10) are None if the model does not take them.
    """

    latents: Float[Tensor, "b c t h w"]
    heatmap: Float[Tensor, "b t h w"]
    text: Float[Tensor, "b l d"]
    fps: Float[Tensor, " b"]
    noise: Float[Tensor, "b c t h w"]
    timestep: Shaped[Tensor, " b"]
    image_tokens: Float[Tensor, "b n k"] | None
    clip_ids: tuple[str, ...]
    motion_level: Float[Tensor, " b"] | None = None

    @property
    def conditions(self) -> dict[str, Tensor | None]:
        """All conditions of a model, by the names of :data:`models.video_model.CONDITIONS`."""
        return {
            "text": self.text,
            "fps": self.fps,
            "image_latent": self.latents[:, :, 0],
            "image_tokens": self.image_tokens,
            "motion_level": self.motion_level,
        }

    def __len__(self) -> int:
        """Clips."""
        return len(self.clip_ids)

    def to(self, device: torch.device) -> "Batch":
        """The batch on a device; copies from pinned memory overlap with computation."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pinned(self) -> "Batch":
        """The batch in page-locked memory."""
        return self._map(Tensor.pin_memory)

    def _map(self, function: Any) -> "Batch":
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        moved = {name: function(value) for name, value in values.items() if isinstance(value, Tensor)}
        return replace(self, **moved)


def collate(
    samples: Sequence[dict[str, Any]],
    draws: Sequence[Draws],
    empty_text: Float[np.ndarray, "l d"],
    scaling_factor: float,
    motion_bounds: Sequence[float] = (),
) -> Batch:
    """A batch of clips as returned by :meth:`training.data.source.Source.read`, each with its draws.

    All texts get as many tokens as the empty one has: shorter ones end in zeros. ``motion_bounds`` are those of the
    model's motion levels; none: it takes no level.
    """
    levels = [level_of(sample["ssim"], motion_bounds) for sample in samples] if motion_bounds else None
    text = [
        empty_text if draw.drop_text else padded(sample["text"], len(empty_text))
        for sample, draw in zip(samples, draws, strict=True)
    ]
    tokens = [sample["tokens"] for sample in samples if "tokens" in sample]
    return Batch(
        latents=torch.stack(
            [_posterior_sample(s, d) * scaling_factor for s, d in zip(samples, draws, strict=True)],
        ),
        heatmap=_stack([sample["heatmap"] for sample in samples]),
        text=_stack(text),
        fps=torch.tensor([sample["fps"] for sample in samples], dtype=torch.float32),
        noise=torch.stack([draw.noise for draw in draws]),
        timestep=torch.tensor([draw.timestep for draw in draws]),
        image_tokens=_stack(tokens) if tokens else None,
        clip_ids=tuple(sample["clip_id"] for sample in samples),
        motion_level=None if levels is None else torch.tensor(levels, dtype=torch.float32),
    )


def _posterior_sample(sample: dict[str, Any], draws: Draws) -> Float[Tensor, "c t h w"]:
    mean = torch.from_numpy(np.asarray(sample["mean"], np.float32))
    if sample["logvar"] is None:
        return mean
    spread = torch.from_numpy(np.asarray(sample["logvar"], np.float32)).clamp_(*_LOGVAR).mul_(0.5).exp_()
    return mean + spread * draws.posterior


def _stack(arrays: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack([np.asarray(array, np.float32) for array in arrays]))
