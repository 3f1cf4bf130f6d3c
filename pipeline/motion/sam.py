"""The configuration of SAM 2 or SAM 3's tracker as a mask model: its weights, their identity and its cost."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from base.errors import WeightsError
from base.gpus import Cost
from base.tensor_hash import tensor_hash
from base.torch_types import Device, Dtype
from base.weights import LocalWeights, Weights, locate
from pipeline.motion.masks import MaskFunction

Family = Literal["sam2", "sam3"]
SAM2 = "facebook/sam2.1-hiera-large"
_PURPOSE = "SAM 2"
_FILES = (("config.json",), ("model.safetensors", "model.safetensors.index.json"))
# The type in config.json: of the model that follows objects in videos, or of another with the same weights.
_FAMILIES: dict[str, Family] = {
    "sam2_video": "sam2",
    "sam2": "sam2",
    "sam3_tracker_video": "sam3",
    "sam3_video": "sam3",
}
# What config.json says beside the model's settings.
_METADATA = {"transformers_version", "_name_or_path", "architectures", "dtype", "torch_dtype", "model_type"}
# Published sizes of SAM 2's image encoder; the others are settings that transformers has as defaults.
_SIZES: dict[str, dict[str, Any]] = {
    "tiny": {},
    "small": {"blocks_per_stage": [1, 2, 11, 2], "global_attention_blocks": [7, 10, 13]},
    "base-plus": {
        "embed_dim_per_stage": [112, 224, 448, 896],
        "num_attention_heads_per_stage": [2, 4, 8, 16],
        "blocks_per_stage": [2, 3, 16, 3],
        "global_attention_blocks": [12, 16, 20],
        "window_positional_embedding_background_size": [14, 14],
    },
    "large": {
        "embed_dim_per_stage": [144, 288, 576, 1152],
        "num_attention_heads_per_stage": [2, 4, 8, 16],
        "blocks_per_stage": [2, 6, 36, 4],
        "window_size_per_stage": [8, 4, 16, 8],
        "global_attention_blocks": [23, 33, 43],
    },
}


@dataclass(frozen=True)
class Sam:
    """SAM 2, or SAM 3's tracker if the weights are SAM 3's (``facebook/sam3``). The paper does not name a size.

    Frames are stretched to the square that the model takes, as the library does.
    """

    weights: Weights = Weights(SAM2)
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    clips_a_batch: int = 2
    """Clips in one pass of the image encoder; only affects speed, and rounding in the last bits."""

    def __post_init__(self) -> None:
        """Check the count."""
        if self.clips_a_batch < 1:
            raise ValueError(f"clips_a_batch {self.clips_a_batch}: must be at least 1")

    def identity(self) -> dict[str, Any]:
        """Family, precision, and the hash of the weights' tensors and of the settings in their config.json."""
        found = find(self.weights)
        tensors = [path for path in found.files if path.suffix == ".safetensors"]
        return {
            "model": _family(found.folder),
            "weights_tensors": tensor_hash(tensors, "sam", settings=_settings(_read_config(found.folder))),
            "precision": self.precision,
            "version": 1,
        }

    def load(self, device: Device) -> MaskFunction:
        """The model on a device; WeightsError if the weights are missing or another model's."""
        from pipeline.motion.sam_tracker import SamTracker  # torch, which a plan does without

        folder = find(self.weights).folder
        return SamTracker(_family(folder), _load(folder), device, self._dtype, self.clips_a_batch)

    @property
    def _dtype(self) -> Dtype:
        import torch

        found: torch.dtype = getattr(torch, self.precision)
        return found

    def cost(self, frames: int, height: int, width: int, objects: int) -> Cost:
        """Of following ``objects`` through a clip of these sizes, counted for one and multiplied.

        Weights need not be there: then the sizes are the published ones that the weights' name ends with.
        """
        import torch

        from models.estimate import forward_cost
        from pipeline.motion.sam_tracker import SamTracker

        meta = torch.device("meta")
        family, config = self._known_config()
        tracker = SamTracker(family, _new(family, config, meta), meta, self._dtype)
        side = int(tracker.model.image_size)
        pixels = torch.empty(1, 3, side, side, dtype=self._dtype, device=meta)
        encoded = tracker.encode(pixels).expand(frames, -1)
        centre = np.array([[width // 2, height // 2]])
        image = forward_cost(lambda: tracker.encode(pixels), self.precision)
        one = forward_cost(lambda: tracker.follow(encoded, centre, height, width), self.precision)
        return Cost(
            frames * image.flops + objects * one.flops, frames * image.moved + objects * one.moved, self.precision
        )

    def _known_config(self) -> tuple[Family, Any]:
        """The family and configuration of the weights if they are here, else the published ones."""
        try:
            folder = locate(self.weights, _FILES[:1], _PURPOSE, download=False).folder
        except WeightsError:
            return published(self.weights.source)
        return _family(folder), _read_config(folder)


def find(weights: Weights, *, download: bool = True) -> LocalWeights:
    """The files of a model in transformers' layout on this machine; WeightsError with a remedy if they are missing."""
    return locate(weights, _FILES, _PURPOSE, download=download)


def published(source: str) -> tuple[Family, Any]:
    """The family and configuration of published weights, by the end of their name; SAM 2's large size for others."""
    import transformers

    if "sam3" in source:
        return "sam3", transformers.Sam3TrackerVideoConfig()
    encoder = _SIZES[next((size for size in _SIZES if source.endswith(size)), "large")]
    backbone: Any = transformers.Sam2HieraDetConfig(**encoder)
    widths, heads = backbone.embed_dim_per_stage, backbone.num_attention_heads_per_stage
    backbone.hidden_size, backbone.num_attention_heads = widths[0], heads[0]
    vision = transformers.Sam2VisionConfig(backbone_config=backbone, backbone_channel_list=widths[::-1])
    return "sam2", transformers.Sam2VideoConfig(vision_config=vision)


def _family(folder: Path) -> Family:
    try:
        kind = json.loads((folder / "config.json").read_text())["model_type"]
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{_PURPOSE}: {folder}/config.json is not a model's configuration.") from error
    if kind not in _FAMILIES:
        raise WeightsError(f"{_PURPOSE}: {folder} is of type {kind}; give SAM 2, such as {SAM2}, or facebook/sam3.")
    return _FAMILIES[kind]


def _classes(family: Family) -> tuple[Any, Any]:
    """The classes of the model and of its configuration."""
    import transformers

    if family == "sam2":
        return transformers.Sam2VideoModel, transformers.Sam2VideoConfig
    return transformers.Sam3TrackerVideoModel, transformers.Sam3TrackerVideoConfig


def _read_config(folder: Path) -> Any:
    _, kind = _classes(_family(folder))
    return kind.from_pretrained(folder, local_files_only=True)


def _settings(config: Any) -> dict[str, Any]:
    """What differs from transformers' defaults, without metadata; so new defaults of the library change no hash."""

    def without(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {key: without(one) for key, one in value.items() if key not in _METADATA}

    found: dict[str, Any] = without(config.to_diff_dict())
    return found


def _new(family: Family, config: Any, device: Device) -> Any:
    model, _ = _classes(family)
    with device:
        return model(config)


def _load(folder: Path) -> Any:
    """The network of a folder; tensors that it lacks would be random, so they are refused."""
    from models.encoders.quiet import quiet

    model, _ = _classes(_family(folder))
    try:
        with quiet():
            loaded, loading = model.from_pretrained(folder, local_files_only=True, output_loading_info=True)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsError(f"{_PURPOSE}: {folder} cannot be loaded ({reason}): download it again.") from error
    if missing := sorted(map(str, loading["missing_keys"])):
        raise WeightsError(f"{_PURPOSE}: {folder} lacks {', '.join(missing[:3])}: download it again.")
    return loaded
