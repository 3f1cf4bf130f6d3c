"""What each reading of the paper's normalisation does to the clips of a dataset, from the intensity that is stored."""

from dataclasses import dataclass, field

import numpy as np
import torch

from diffusion.errors import InputError
from diffusion.storage import Folder
from pipeline.curation.clips import clip_shape
from pipeline.dataset.catalog import Catalog
from pipeline.dataset.parts import part_names
from pipeline.dataset.schema import Column
from pipeline.featurizers.heatmaps import stored_heatmap
from pipeline.motion.heatmap import CONVENTIONS, Normalisation

# A clip counts as lit where this share of its cells is: a camera that pans leaves a few cells dark.
_ALL = 0.95


@dataclass
class Effect:
    """What a convention makes of the clips, as shares of 0 to 1.

    ``lit``: cells whose heatmap is above 0.5; ``dark_clips``: clips without such a cell; ``lit_clips``: clips with
    nothing but such cells (95 %); ``weight``: mean of the squared heatmap, by which the focal loss weights an error.
    """

    centre_px: float | None
    """Pixels a frame at which the heatmap is 0.5; None where it depends on the clip."""
    lit: float = 0.0
    dark_clips: float = 0.0
    lit_clips: float = 0.0
    weight: float = 0.0


@dataclass
class Calibration:
    """The effects by convention, over ``clips`` clips."""

    clips: int = 0
    effects: dict[str, Effect] = field(default_factory=dict)


def calibrate(dataset: Folder, artifact: str | None = None, limit: int | None = None) -> Calibration:
    """Compare all conventions on the clips of a dataset (the first ``limit``)."""
    catalog = Catalog.require(dataset)
    name = catalog.pick("heatmaps", artifact)
    shape = clip_shape(catalog)
    result = Calibration(effects={key: Effect(_centre(n, shape.height, shape.width)) for key, n in CONVENTIONS.items()})
    for part in part_names(dataset / name):
        table = (dataset / name).read_table(part, ["clip_id", "intensity"])
        values = Column.of(table.schema.field("intensity")).to_numpy(table.column("intensity"))
        values = values[np.asarray(table.column("clip_id").is_valid())][
            : None if limit is None else limit - result.clips
        ]
        result.clips += len(values)
        for key, normalisation in CONVENTIONS.items():
            _add(result.effects[key], stored_heatmap(normalisation, values, shape.height, shape.width))
        if limit is not None and result.clips >= limit:
            break
    if not result.clips:
        raise InputError(f"{dataset.uri}: {name} holds no clips.")
    for effect in result.effects.values():
        for share in ("lit", "dark_clips", "lit_clips", "weight"):
            setattr(effect, share, round(getattr(effect, share) / result.clips, 4))
    return result


def _centre(normalisation: Normalisation, height: int, width: int) -> float | None:
    if normalisation.unit == "clip_max":
        return None
    return round(normalisation.centre * normalisation.scale(height, width), 2)


def _add(effect: Effect, heatmaps: torch.Tensor) -> None:
    lit = (heatmaps > 0.5).float().mean(dim=(1, 2, 3))
    effect.lit += float(lit.sum())
    effect.dark_clips += float((lit == 0).sum())
    effect.lit_clips += float((lit >= _ALL).sum())
    effect.weight += float((heatmaps**2).mean(dim=(1, 2, 3)).sum())
