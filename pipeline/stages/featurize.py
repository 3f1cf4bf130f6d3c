"""Featurize: replaces pixels by features. 1:1."""

import logging
import time
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import torch

from base.errors import MotifError
from dataset.parts.schema import Column
from pipeline.featurizers.base import ClipBatch, ClipFeature, ClipFunction
from pipeline.stages.columns import Failure, read_failures, with_failures, with_seconds
from pipeline.stages.decode import FRAMES, read_frames
from pipeline.video.geometry import ClipShape

log = logging.getLogger(__name__)


class FeaturizeStage:
    """All features of a run, loaded on one device. ``features`` maps the artifact's folder to its feature."""

    def __init__(self, features: Mapping[str, ClipFeature], shape: ClipShape, device: torch.device) -> None:
        self.shape = shape
        self.columns = {name: feature.columns(shape) for name, feature in features.items()}
        self.functions = {name: feature.load(shape, device) for name, feature in features.items()}

    def __call__(self, table: pa.Table) -> pa.Table:
        """Compute every feature for rows with pixels; columns are named ``artifact/column``."""
        started = time.perf_counter()
        failures = read_failures(table)
        has_pixels = np.array([f is None for f in failures]) & np.array(table.column(FRAMES).is_valid())
        alive = np.flatnonzero(has_pixels)
        has_next = np.array(table.column("has_next").to_pylist(), object)[alive].astype(bool)
        batch = ClipBatch(read_frames(table, self.shape), has_next)
        table = table.drop_columns([FRAMES])
        for name, function in self.functions.items():
            values, faults = self._compute(name, function, batch) if len(alive) else ({}, {})
            for place, failure in faults.items():
                row = int(alive[place])
                failures[row] = failures[row] or failure
            valid = np.array([f is None for f in failures]) & has_pixels
            for column in self.columns[name]:
                rows = _spread(column, values.get(column.name), alive, table.num_rows)
                field = column.field().with_name(f"{name}/{column.name}")
                table = table.append_column(field, column.to_arrow(rows, valid))
        spent = (time.perf_counter() - started) / max(1, len(alive))
        return with_seconds(
            with_failures(table, failures),
            [spent if has_pixels[row] else 0.0 for row in range(table.num_rows)],
        )

    def _compute(
        self, name: str, function: ClipFunction, batch: ClipBatch
    ) -> tuple[dict[str, np.ndarray], dict[int, Failure]]:
        """Compute the whole batch; if that fails, clip by clip, so that only bad clips fail."""
        faults: dict[int, Failure] = {}
        try:
            values = function(batch)
        except (torch.AcceleratorError, MotifError):
            raise  # the device is unusable and the process must be replaced, or the error is not due to a clip
        except Exception as error:  # noqa: BLE001 - any error must only fail its clip
            if len(batch.frames) == 1:
                return {}, {0: Failure(f"featurize:{name}", type(error).__name__, str(error))}
            log.warning("%s failed for a batch (%s): trying its clips one by one", name, error)
            return self._one_by_one(name, function, batch)
        for key, array in values.items():
            if np.issubdtype(array.dtype, np.floating):
                finite = np.isfinite(array).reshape(len(array), -1).all(axis=1)
                for place in np.flatnonzero(~finite):
                    faults[int(place)] = Failure(f"featurize:{name}", "NotFinite", f"{key} has infinite or NaN values")
        return values, faults

    def _one_by_one(
        self, name: str, function: ClipFunction, batch: ClipBatch
    ) -> tuple[dict[str, np.ndarray], dict[int, Failure]]:
        rows: dict[int, dict[str, np.ndarray]] = {}
        faults: dict[int, Failure] = {}
        for place in range(len(batch.frames)):
            one = ClipBatch(batch.frames[place : place + 1], batch.has_next[place : place + 1])
            values, fault = self._compute(name, function, one)
            if fault:
                faults[place] = fault[0]
            else:
                rows[place] = values
        if not rows:
            return {}, faults
        blank = {key: np.zeros_like(array) for key, array in next(iter(rows.values())).items()}
        ordered = [rows.get(place, blank) for place in range(len(batch.frames))]
        return {key: np.concatenate([row[key] for row in ordered]) for key in blank}, faults


def _spread(column: Column, values: np.ndarray | None, alive: np.ndarray, rows: int) -> np.ndarray:
    """Scatter values of computed rows to all rows, zero elsewhere."""
    if values is not None and len(alive) == rows:
        return values
    out = np.zeros((rows, *column.shape), column.dtype)
    if values is not None:
        out[alive] = values
    return out
