"""The common interface of clip and text features."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Bool, UInt8

from base.gpus import Cost
from base.storage.uri import is_remote, local_path
from base.torch_types import Device, Tensor
from base.weights import Weights
from dataset.parts.schema import Column
from pipeline.video.geometry import ClipShape


@dataclass(frozen=True)
class ClipBatch:
    """Decoded clips of one shape.

    ``frames`` is uint8 RGB ``[n, frames + 1, h, w, 3]``; the last frame is only for the last flow, and a copy of
    the one before it if ``has_next`` is False (the video ended).
    """

    frames: UInt8[np.ndarray, "n t h w 3"]
    has_next: Bool[np.ndarray, " n"]

    def tensor(self, device: Device) -> UInt8[Tensor, "n t h w 3"]:
        """The frames on a device; on the CPU a read-only view."""
        import torch

        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            return torch.from_numpy(self.frames).to(device)


ClipFunction = Callable[[ClipBatch], dict[str, np.ndarray]]
TextFunction = Callable[[list[str]], Mapping[str, np.ndarray | list[np.ndarray]]]


def find_base_part(base_model: str, part: Literal["vae", "text_encoder"]) -> Weights:
    """The source of an encoder of the base model; WeightsError with the commands that create a missing model."""
    if not is_remote(base_model) and (local_path(base_model) / part).is_dir():
        return Weights(str(local_path(base_model)), subfolder=part)
    from models import folder  # loads torch, which a plan can do without if the folder has the encoder

    return folder.find_base_part(base_model, part)


class Feature(ABC):
    """Base class of clip and text features. Subclasses are frozen dataclasses; ``kind`` names the artifact's folder."""

    kind: ClassVar[str]

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Everything that changes the values: settings, hash of weights, a version of the code.

        WeightsError if weights are missing. Settings that only affect speed are left out.
        """

    @abstractmethod
    def columns(self, shape: ClipShape) -> tuple[Column, ...]:
        """The columns it writes, for clips of this shape."""

    def resolved(self, base_model: str) -> "Feature":
        """The same feature with explicit weights: by default those of a model folder.

        WeightsError if that folder is missing.
        """
        return self

    def facts(self) -> dict[str, Any]:
        """Metadata that users of the values need but that does not change them, such as a scaling factor."""
        return {}

    def check(self, shape: ClipShape) -> None:  # noqa: B027 - most features take any shape
        """Raise ValueError if this feature cannot be computed for clips of this shape."""

    def cost(self, shape: ClipShape) -> Cost | None:
        """The cost of its networks for one clip or caption, for ``motif estimate``; None if it has none.

        Counted on the meta device. Weights need not be there.
        """
        del shape
        return None


class ClipFeature(Feature):
    """A feature of a clip's pixels."""

    @abstractmethod
    def load(self, shape: ClipShape, device: Device) -> ClipFunction:
        """The function from a batch to its columns' values ``[n, *column.shape]``.

        A clip's values must not depend on the other clips of its batch.
        """


class TextFeature(Feature):
    """A feature of a caption. It must accept any text, including the empty one."""

    @abstractmethod
    def load(self, device: Device) -> TextFunction:
        """The function from captions to its columns' values ``[n, *column.shape]``, in a list if they are ragged."""
