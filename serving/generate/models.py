"""The models that a server offers, as far as requests need to know. Nothing is loaded here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from base.storage.folder import Folder
from base.weights import Weights
from diffusion.options import MOTION_LEVELS, Sampling
from serving.errors import ApiError
from serving.video_api import MAX_GUIDANCE

Need = Literal["required", "optional", "none"]


@dataclass(frozen=True)
class ServedModel:
    """A model folder and its name in requests. Sizes are in pixels, ``fps`` is the range it was trained on."""

    id: str
    uri: str
    width: int
    height: int
    frames: int
    fps: tuple[float, float]
    step: int
    max_steps: int
    spacings: tuple[str, ...]
    defaults: Sampling
    usual_fps: float | None = None
    takes_eta: bool = True
    """Whether sampling may add noise (eta > 0), which not every process and solver supports."""
    takes_image: bool = True
    """Whether its videos begin with a picture; those of a text-to-video model do not."""
    default_motion_level: int | None = None
    """None: it takes no motion level."""

    @property
    def takes_motion_level(self) -> bool:
        """Whether a request may say how much moves."""
        return self.default_motion_level is not None

    @property
    def default_fps(self) -> float:
        """The median rate of its training data, or the middle of the range if the model does not record it."""
        return sum(self.fps) / 2 if self.usual_fps is None else self.usual_fps

    @property
    def input_reference(self) -> Need:
        """Whether a request needs a picture."""
        return "required" if self.takes_image else "none"

    def weights(self) -> Path | Weights:
        """The folder, as loaders expect it."""
        folder = Folder(self.uri)
        return Weights(self.uri) if folder.remote else folder.path

    def shown(self, max_image_bytes: int) -> dict[str, Any]:
        """An entry of ``GET /v1/models``; the largest picture file is a setting of the server."""
        capabilities = {
            "sizes": [f"{self.width}x{self.height}"],
            "max_frames": self.frames,
            "fps": list(self.fps),
            "max_inference_steps": self.max_steps,
            "max_guidance_scale": MAX_GUIDANCE,
            "input_reference": self.input_reference,
            "motion_level": [1, MOTION_LEVELS] if self.takes_motion_level else None,
            "max_image_bytes": max_image_bytes,
            "default": {
                "num_frames": self.frames,
                "fps": self.default_fps,
                "num_inference_steps": self.defaults.steps,
                "guidance_scale": self.defaults.guidance,
                "motion_level": self.default_motion_level,
            },
        }
        return {"id": self.id, "object": "model", "created": 0, "owned_by": "motif", "capabilities": capabilities}


class Models:
    """Models by name; the first is the default."""

    def __init__(self, models: Sequence[ServedModel]) -> None:
        assert models
        self.by_id: Mapping[str, ServedModel] = {model.id: model for model in models}
        self.default = models[0]

    @property
    def input_reference(self) -> Need:
        """Whether requests need a picture; ``optional`` if that depends on the model."""
        needs = {model.input_reference for model in self.by_id.values()}
        return needs.pop() if len(needs) == 1 else "optional"

    @property
    def takes_motion_level(self) -> bool:
        """Whether any of them takes a motion level."""
        return any(model.takes_motion_level for model in self.by_id.values())

    def find(self, name: str | None) -> ServedModel:
        """The model of this name, by default the first; 404 if there is none."""
        if name is None:
            return self.default
        if name not in self.by_id:
            raise ApiError(
                404,
                "model_not_found",
                f"There is no model '{name[:80]}' here; there are {', '.join(self.by_id)}.",
                "model",
            )
        return self.by_id[name]

    def listed(self, max_image_bytes: int) -> dict[str, Any]:
        """The response body of ``GET /v1/models``."""
        return {"object": "list", "data": [model.shown(max_image_bytes) for model in self.by_id.values()]}
