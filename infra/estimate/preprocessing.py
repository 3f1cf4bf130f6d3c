"""Rows for ``motif preprocess``: what a recipe computes for its clips, and what it stores."""

from collections.abc import Iterator

from base.gpus import Gpu
from infra.estimate import measured
from infra.estimate.rows import Row, counted_hours, number
from models.video_model import DataShapes
from pipeline.featurizers.base import ClipFeature, Feature
from pipeline.recipes import Preprocess, sprites

_PART = "preprocess"
_PLANS = 3  # of a run: before the probe, after it, and to check the end


def preprocessing_rows(recipe: Preprocess, clips: int, gpu: Gpu, utilisation: float) -> Iterator[Row]:
    """Planning, decoding, features, Ray's share, and the bytes of each artifact; every clip has its own caption."""
    yield from _planning(clips)
    if recipe == sprites():
        speed = measured.SPRITES_CLIPS_PER_S
        yield Row(_PART, "decode, features, write", "CPU-hours", measured.CORES * clips / speed.value / 3600, speed.how)
    else:
        for what, figure in (("decode", measured.DECODE_MS), ("Ray Data", measured.SCHEDULING_MS)):
            yield Row(_PART, what, "CPU-hours", figure.value / 1000 * clips / 3600, figure.how)
        yield Row(_PART, "write", "CPU-hours", None, "not known: not measured by itself")
        for name, feature in recipe.features.items():
            yield _feature(name, feature, recipe, clips, gpu, utilisation)
    for name, feature in recipe.features.items():
        columns = feature.columns(recipe.shape)
        size = sum(column.nbytes for column in columns)
        most = "at most " if any(column.ragged for column in columns) else ""
        each = f"{most}{size:,} bytes per {_of(feature)}"
        how = f"counted: {each} by shapes, before compression ({recipe.store.compression})"
        yield Row("dataset", name, "GB", size * clips / 1e9, how)


def data_shapes(recipe: Preprocess) -> DataShapes:
    """The shapes of the recipe's features that a network must fit."""
    shapes = {
        (feature.kind, column.name): column.shape
        for feature in recipe.features.values()
        for column in feature.columns(recipe.shape)
    }
    channels, frames, height, width = shapes["latents", "mean"]
    tokens, features = shapes["text", "states"]
    image = shapes.get(("image", "tokens"))
    return DataShapes(
        (channels, frames, height, width), (tokens, features), None if image is None else (image[0], image[1])
    )


def _planning(clips: int) -> Iterator[Row]:
    unknown = "not known: it depends on the videos; each is read once from end to end, to find its frames and its hash"
    yield Row(_PART, "list and probe", "CPU-hours", None, unknown)
    plan = measured.PLAN_MICROSECONDS
    how = f"{plan.how}; {_PLANS} plans of a run"
    yield Row(_PART, "plan", "CPU-hours", _PLANS * plan.value / 1e6 * clips / 3600, how)
    (most, high), (least, low) = measured.PLAN_MB.items()
    per_clip = (high.value - low.value) / (most - least)
    amount = (high.value + per_clip * (clips - most)) / 1000
    how = high.how if clips <= most else f"{high.how}; {number(clips / most)} times as many are extrapolated"
    yield Row(_PART, "plan, the driver", "GB of memory", max(amount, low.value / 1000), how)


def _feature(name: str, feature: Feature, recipe: Preprocess, clips: int, gpu: Gpu, utilisation: float) -> Row:
    cost = feature.cost(recipe.shape)
    if cost is None:
        return Row(_PART, name, "CPU-hours", None, "not known: computed on CPUs, not measured by itself")
    hours, how = counted_hours(cost, gpu, utilisation, _of(feature))
    return Row(_PART, name, "GPU-hours", None if hours is None else hours * clips, how)


def _of(feature: Feature) -> str:
    return "clip" if isinstance(feature, ClipFeature) else "caption"
