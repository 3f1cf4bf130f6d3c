"""Errors on held-out clips for figure 6 of the paper, per run, and pooled over the seeds of an arm."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from base.device import find_device
from diffusion.weighting import Weighting
from evaluation.sprites_study.study import Study
from models.find import Candidate
from training.data.source import Source
from training.validation.measure import HeldOut, measure
from training.validation.options import Options
from training.validation.ratio import ClipErrors

_ARRAYS = ("inside", "overall", "cells_inside", "cells")
_SEED = 0


def options(study: Study) -> Options:
    """How the ratio is measured: the same clips and noise for all runs."""
    device = study.size.train.hardware.device
    return Options(limit=study.size.validated, batch=study.size.train.batch, seed=_SEED, device=device)


def measured_errors(study: Study, model: Candidate, file: Path, report: Callable[[str], None]) -> ClipErrors:
    """The errors of a model on the held-out clips: read from a file, or measured and written there."""
    if file.is_file():
        return read_errors(file)
    how = options(study)
    image, motion, facts = model.takes_image_tokens(), model.takes_motion_level(), model.facts
    source = Source(str(study.held_out), how.artifacts, image=image, motion=motion)
    clips = HeldOut.choose(source, how.limit, how.seed)
    network = model.load().to(find_device(how.device))
    found = measure(network, facts.schedule, clips, how, report, facts.motion_bounds)
    arrays = {name: getattr(found, name) for name in _ARRAYS}
    part = file.with_suffix(".part.npz")
    np.savez(part, clip_ids=np.array(found.clip_ids), timesteps=np.array(found.timesteps), **arrays)
    part.replace(file)
    return found


def read_errors(file: Path) -> ClipErrors:
    """The errors in a file."""
    with np.load(file) as saved:
        ids, steps = (tuple(saved[name].tolist()) for name in ("clip_ids", "timesteps"))
        return ClipErrors(ids, steps, *(saved[name] for name in _ARRAYS))


def pooled(errors: Sequence[ClipErrors]) -> ClipErrors:
    """The mean errors of several runs on the same clips."""
    inside, overall = (np.mean([getattr(one, name) for one in errors], axis=0) for name in ("inside", "overall"))
    return replace(errors[0], inside=inside, overall=overall)


def mean_weight(study: Study, weighting: Weighting, clips: int = 32) -> float:
    """By how much a weighting scales the loss of errors that are noise: a larger loss alone is no better loss."""
    source = Source(str(study.held_out), options(study).artifacts)
    held = HeldOut.choose(source, clips, _SEED)
    totals, plain = 0.0, 0.0
    generator = torch.Generator().manual_seed(_SEED)
    for place in held.places:
        sample = source.read(place)
        latents = torch.from_numpy(np.asarray(sample["mean"], np.float32))[None] * source.facts.scaling_factor
        heatmap = torch.from_numpy(np.asarray(sample["heatmap"], np.float32))[None]
        error = torch.randn(latents.shape, generator=generator)
        totals += float(weighting(error, heatmap, latents).total)
        plain += float((error**2).mean())
    return totals / plain
