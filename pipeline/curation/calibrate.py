"""The effect of each reading of the paper's normalisation on a dataset's clips, from the stored intensity."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from base.errors import InputError
from base.storage.folder import Folder
from dataset.catalog import Catalog
from dataset.heatmap.heatmap import stored_heatmap
from dataset.heatmap.normalisation import CONVENTIONS, Normalisation
from dataset.parts.listing import list_parts
from dataset.parts.part_file import read_part
from dataset.parts.schema import Column
from pipeline.curation.clips import clip_shape
from pipeline.featurizers.heatmaps import WITH_CAMERA

# A clip counts as lit if this share of its cells is: a panning camera leaves a few cells dark.
_ALL = 0.95
_MOST = 0.5
_SHARES = ("lit", "dark_clips", "mostly_lit_clips", "lit_clips", "weight")
Effects = dict[str, "Effect"]


@dataclass
class Effect:
    """The effect of a convention on the clips, as shares from 0 to 1.

    ``lit``: cells whose heatmap is above 0.5; ``dark_clips``: clips without such a cell; ``mostly_lit_clips``: clips
    where more than half of the cells are; ``lit_clips``: clips where nearly all are (95 %); ``weight``: mean of the
    squared heatmap, by which the focal loss weights an error.
    """

    centre_px: float | None
    """Pixels per frame at which the heatmap is 0.5; None if it depends on the clip."""
    lit: float = 0.0
    dark_clips: float = 0.0
    mostly_lit_clips: float = 0.0
    lit_clips: float = 0.0
    weight: float = 0.0


@dataclass
class Calibration:
    """The effects by camera compensation (``none`` or ``homography``), then by convention.

    With compensation both are given, since the uncompensated intensity is stored, too. ``stored`` are those of heatmaps
    without an intensity, such as masks, as they are, by artifact.
    """

    clips: int = 0
    cameras: dict[str, Effects] = field(default_factory=dict)
    stored: Effects = field(default_factory=dict)

    @property
    def effects(self) -> Effects:
        """The effects for the heatmaps as stored in the dataset."""
        return list(self.cameras.values())[-1]


def calibrate(dataset: Folder, artifact: str | None = None, limit: int | None = None) -> Calibration:
    """Compare all conventions on the clips of a dataset (the first ``limit``), and heatmaps that have none.

    Of the heatmaps ``artifact`` only, or of all; InputError if then several have an intensity.
    """
    catalog = Catalog.require(dataset)
    names = [name for name, found in catalog.artifacts.items() if found.kind == "heatmaps"]
    if artifact is not None or not names:
        names = [catalog.pick("heatmaps", artifact)]
    plain = [name for name in names if "intensity" not in catalog.artifacts[name].columns]
    result = Calibration()
    if flows := [name for name in names if name not in plain]:
        result = _compare(dataset, catalog, flows[0] if len(flows) == 1 else catalog.pick("heatmaps"), limit)
    for name in plain:
        result.stored[name], clips = _as_stored(dataset, catalog, name, limit)
        result.clips = max(result.clips, clips)
    return result


def _as_stored(dataset: Folder, catalog: Catalog, name: str, limit: int | None) -> tuple[Effect, int]:
    """The effect of heatmaps as they are, and the number of clips."""
    if "heatmap" not in catalog.artifacts[name].columns:
        raise InputError(f"{dataset.uri}: {name} holds no heatmaps. Give an artifact of the kind heatmaps.")
    scale = catalog.artifacts[name].columns["heatmap"]["scale"]
    effect, clips = Effect(None), 0
    for part in list_parts(dataset, (name,))[name]:
        heatmaps, _ = read_cells(dataset / name, part, "heatmap", False)
        heatmaps = heatmaps[: None if limit is None else limit - clips]
        _add(effect, torch.from_numpy(heatmaps.astype(np.float32)) * scale)
        clips += len(heatmaps)
        if limit is not None and clips >= limit:
            break
    _average(dataset, name, [effect], clips)
    return effect, clips


def _compare(dataset: Folder, catalog: Catalog, name: str, limit: int | None) -> Calibration:
    """All conventions on the intensity of an artifact."""
    stored = catalog.artifacts[name]
    columns = {str(stored.identity.get("camera", "none")): "intensity"}
    if WITH_CAMERA in stored.columns:
        columns = {"none": WITH_CAMERA} | columns
    shape = clip_shape(catalog)
    result = Calibration(
        cameras={
            camera: {key: Effect(_centre(n, shape.height, shape.width)) for key, n in CONVENTIONS.items()}
            for camera in columns
        }
    )
    for part in list_parts(dataset, (name,))[name]:
        left = None if limit is None else limit - result.clips
        added = 0
        for camera, column in columns.items():
            mean, greatest = read_cells(dataset / name, part, column, f"{column}_max" in stored.columns)
            mean, greatest = mean[:left], None if greatest is None else greatest[:left]
            added = len(mean)
            for key, normalisation in CONVENTIONS.items():
                heatmaps = stored_heatmap(normalisation, mean, greatest, shape.height, shape.width)
                _add(result.cameras[camera][key], heatmaps)
        result.clips += added
        if limit is not None and result.clips >= limit:
            break
    _average(dataset, name, [one for effects in result.cameras.values() for one in effects.values()], result.clips)
    return result


def _average(dataset: Folder, name: str, effects: Sequence[Effect], clips: int) -> None:
    """Make the sums over clips shares."""
    if not clips:
        raise InputError(f"{dataset.uri}: {name} holds no clips.")
    for effect in effects:
        for share in _SHARES:
            setattr(effect, share, round(getattr(effect, share) / clips, 4))


def read_cells(folder: Folder, part: str, column: str, has_greatest: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """Mean and greatest intensity ``[n t h w]`` of a part's clips, without those that lack it, as stored."""
    names = [column, *([f"{column}_max"] if has_greatest else [])]
    table = read_part(folder, part, ["clip_id", *names])
    there = np.asarray(table.column("clip_id").is_valid())
    values = [Column.of(table.schema.field(name)).to_numpy(table.column(name))[there] for name in names]
    return values[0], values[1] if has_greatest else None


def _centre(normalisation: Normalisation, height: int, width: int) -> float | None:
    if normalisation.unit == "clip_max":
        return None
    return round(normalisation.centre * normalisation.scale(height, width), 2)


def _add(effect: Effect, heatmaps: torch.Tensor) -> None:
    lit = (heatmaps > 0.5).float().mean(dim=(1, 2, 3))
    effect.lit += float(lit.sum())
    effect.dark_clips += float((lit == 0).sum())
    effect.mostly_lit_clips += float((lit > _MOST).sum())
    effect.lit_clips += float((lit >= _ALL).sum())
    effect.weight += float((heatmaps**2).mean(dim=(1, 2, 3)).sum())
