"""The pixels of a dataset's clips, decoded again from their sources with the same frames and size."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any

import numpy as np
from jaxtyping import UInt8

from dataset.catalog import Catalog
from pipeline.stages.decode import decode_clip
from pipeline.video.geometry import ClipShape
from pipeline.video.process.worker import DecodeLimits, VideoWorker


def clip_shape(catalog: Catalog) -> ClipShape:
    """The shape that all clips of a dataset have."""
    return ClipShape(*(int(catalog.clips[name]) for name in ("frames", "height", "width")))


class ClipDecoder:
    """Decodes rows of the clips artifact. A context manager, since it owns a child process."""

    def __init__(self, catalog: Catalog, limits: DecodeLimits | None = None) -> None:
        self.shape = clip_shape(catalog)
        self._worker = VideoWorker(limits or DecodeLimits())
        self._pixels = np.empty((self.shape.frames + 1, self.shape.height, self.shape.width, 3), np.uint8)

    def __enter__(self) -> "ClipDecoder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._worker.close()

    def frames(self, clip: Mapping[str, Any]) -> UInt8[np.ndarray, "t h w 3"]:
        """The clip's frames, valid until the next call; VideoError if its source is missing or broken."""
        decode_clip(clip, self._worker, self.shape, self._pixels)
        return self._pixels[: self.shape.frames]
