"""Squared errors of a network on held-out clips, at chosen timesteps, with the same noise for every run."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from base.device import find_device
from base.errors import NotFinite
from dataset.identity import digest
from diffusion.motion_focal import MotionFocal
from diffusion.process import Process
from models.video_model import unwrap
from training.data.batch import Batch, collate
from training.data.draws import Draws
from training.data.order import Place
from training.data.source import Source
from training.loop.objective import Objective
from training.validation.options import Options
from training.validation.ratio import ClipErrors

_STREAM = 10
_SECONDS_BETWEEN_LINES = 10.0


@dataclass(frozen=True)
class HeldOut:
    """Clips of a dataset, in the order in which they are read."""

    source: Source
    places: tuple[Place, ...]

    @classmethod
    def choose(cls, source: Source, limit: int | None, seed: int) -> "HeldOut":
        """All clips, or ``limit`` of them."""
        places = [Place(group, int(row)) for group, rows in enumerate(source.rows) for row in rows]
        if limit is not None and limit < len(places):
            drawn = np.random.default_rng([seed, _STREAM]).choice(len(places), limit, replace=False)
            places = [places[i] for i in np.sort(drawn)]
        return cls(source, tuple(places))

    @property
    def clip_ids(self) -> tuple[str, ...]:
        """The clips' ids, known without reading the clips."""
        reader = self.source.reader
        return tuple(reader.clip_ids(reader.groups[place.group])[place.row] for place in self.places)


def held_out_draws(seed: int, clip_id: str, timestep: int, shape: tuple[int, ...]) -> Draws:
    """The random numbers of a clip at a timestep: they depend on nothing else, and the text is never dropped."""
    key = int(digest("validation", seed, clip_id, timestep)[:15], 16)
    noise, posterior = torch.randn((2, *shape), generator=torch.Generator().manual_seed(key))
    return Draws(timestep, noise, posterior, drop_text=False)


@torch.inference_mode()
def measure(
    network: nn.Module,
    process: Process,
    clips: HeldOut,
    options: Options,
    report: Callable[[str], None],
    motion_bounds: Sequence[float] = (),
) -> ClipErrors:
    """Measure the errors of a network in evaluation mode on the options' device.

    ``motion_bounds`` are those of its motion levels; none: it takes no level.
    NotFinite if a prediction is not finite.
    """
    device = find_device(options.device)
    objective = Objective(process, MotionFocal())
    sums: list[Tensor] = []
    total = len(clips.places) * len(options.timesteps)
    last_line = time.monotonic()
    for batch in _batches(clips, options, motion_bounds):
        on_device = batch.to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            squared = objective.errors(network, on_device) ** 2
        predicted = on_device.heatmap[:, unwrap(network).given_frames :]
        sums.append(_sums(squared, predicted > options.threshold).cpu())
        if time.monotonic() - last_line > _SECONDS_BETWEEN_LINES:
            last_line = time.monotonic()
            report(f"{sum(map(len, sums)):,} of {total:,} predictions")
    found = torch.cat(sums).view(len(clips.places), len(options.timesteps), 4).numpy()
    if not np.isfinite(found).all():
        clip, step = np.argwhere(~np.isfinite(found))[0][:2]
        raise NotFinite(
            f"the network's prediction for clip {clips.clip_ids[clip]} at timestep {options.timesteps[step]} is not "
            "finite: its weights are damaged. Validate an older checkpoint."
        )
    inside, overall = found[..., 0], found[..., 1]
    cells_inside, cells = (found[:, 0, column].astype(int) for column in (2, 3))
    return ClipErrors(clips.clip_ids, options.timesteps, inside, overall, cells_inside, cells)


def _batches(clips: HeldOut, options: Options, motion_bounds: Sequence[float]) -> Iterator[Batch]:
    """Pairs of clip and timestep, clip by clip."""
    source = clips.source
    pairs = [(place, timestep) for place in clips.places for timestep in options.timesteps]
    for first in range(0, len(pairs), options.batch):
        samples, draws = [], []
        for place, timestep in pairs[first : first + options.batch]:
            samples.append(source.read(place))
            draws.append(held_out_draws(options.seed, samples[-1]["clip_id"], timestep, source.facts.shape))
        yield collate(samples, draws, source.empty_text, source.facts.scaling_factor, motion_bounds)


def _sums(squared: Float[Tensor, "b c t h w"], mask: Bool[Tensor, "b t h w"]) -> Float[Tensor, "b 4"]:
    """Sum of errors in the mask and overall, cells in the mask and overall."""
    errors = squared.double().mean(dim=1)
    columns = (errors * mask, errors, mask, torch.ones_like(errors))
    return torch.stack([column.double().sum(dim=(1, 2, 3)) for column in columns], dim=1)
