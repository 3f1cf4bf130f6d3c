"""The names under which configurations lie on disk.

A file says ``"type": "model-card"``, never where the class is, so that classes may move: a move changes the right side
here and nothing that a user has. A name stays for ever. What was written before there were names says
``"module:Class"`` as of then; :data:`EARLIER` keeps those readable.

Types of others (a featurizer in a user's own module) are written as ``"module:Class"`` and found by import.
"""

from typing import Any

TYPES = {
    "artifacts": "training.data.source:Artifacts",
    "cell-image-tokens": "pipeline.featurizers.image:CellImageTokens",
    "cell-tokens": "models.encoders.image:CellTokens",
    "clip-image-tokens": "pipeline.featurizers.image:ClipImageTokens",
    "clip-sampling": "pipeline.video.sampling:Sampling",
    "clip-text-states": "pipeline.featurizers.text:ClipTextStates",
    "decode-limits": "pipeline.video.process.worker:DecodeLimits",
    "dis-flow": "pipeline.motion.flow:Dis",
    "flow": "diffusion.flow:Flow",
    "frame-difference": "diffusion.frame_difference:FrameDifference",
    "hardware": "training.recipes:Hardware",
    "hashed-text": "models.encoders.text:HashedText",
    "hashed-text-states": "pipeline.featurizers.text:HashedTextStates",
    "heatmaps": "pipeline.featurizers.heatmaps:Heatmaps",
    "model-card": "models.card:ModelCard",
    "model-facts": "models.card:ModelFacts",
    "motion-focal": "diffusion.motion_focal:MotionFocal",
    "network": "models.videocrafter2.backbone:VideoCrafter2",
    "normalisation": "dataset.heatmap:Normalisation",
    "optimiser": "training.loop.optimiser:Optimiser",
    "patches": "models.patches.backbone:Patches",
    "pixel-codec": "models.encoders.pixel_codec:PixelCodec",
    "pixel-latents": "pipeline.featurizers.latents:PixelLatents",
    "preprocess": "pipeline.recipes:Preprocess",
    "raft-flow": "pipeline.motion.raft:Raft",
    "resources": "pipeline.recipes:Resources",
    "samples": "training.recipes:Samples",
    "sampling": "diffusion.options:Sampling",
    "saves": "training.recipes:Saves",
    "schedule": "diffusion.schedule:Schedule",
    "store-options": "dataset.parts.tables:StoreOptions",
    "train": "training.recipes:Train",
    "vae-latents": "pipeline.featurizers.latents:VaeLatents",
    "weights": "base.weights:Weights",
}
_NAMES = {place: name for name, place in TYPES.items()}

EARLIER = {
    "diffusion.image:CellTokens": "cell-tokens",
    "diffusion.model_folder:ModelCard": "model-card",
    "diffusion.model_folder:ModelFacts": "model-facts",
    "diffusion.pixel_codec:PixelCodec": "pixel-codec",
    "diffusion.process.focal:MotionFocal": "motion-focal",
    "diffusion.process.options:Sampling": "sampling",
    "diffusion.process.schedule:Schedule": "schedule",
    "diffusion.text:HashedText": "hashed-text",
    "diffusion.weights:Weights": "weights",
    "pipeline.dataset.parts:StoreOptions": "store-options",
    "pipeline.featurizers.heatmaps:Heatmaps": "heatmaps",
    "pipeline.featurizers.image:CellImageTokens": "cell-image-tokens",
    "pipeline.featurizers.image:ClipImageTokens": "clip-image-tokens",
    "pipeline.featurizers.latents:PixelLatents": "pixel-latents",
    "pipeline.featurizers.latents:VaeLatents": "vae-latents",
    "pipeline.featurizers.text:ClipTextStates": "clip-text-states",
    "pipeline.featurizers.text:HashedTextStates": "hashed-text-states",
    "pipeline.motion.flow:Dis": "dis-flow",
    "pipeline.motion.heatmap:Normalisation": "normalisation",
    "pipeline.motion.raft:Raft": "raft-flow",
    "pipeline.recipes:Preprocess": "preprocess",
    "pipeline.recipes:Resources": "resources",
    "pipeline.video.sampling:Sampling": "clip-sampling",
    "pipeline.video.worker:DecodeLimits": "decode-limits",
    "training.data.source:Artifacts": "artifacts",
    "training.network:Network": "network",
    "training.optimiser:Optimiser": "optimiser",
    "training.recipes:Hardware": "hardware",
    "training.recipes:Samples": "samples",
    "training.recipes:Saves": "saves",
    "training.recipes:Train": "train",
}
"""What version 0.1 wrote -> the name. A record of the past: it does not change when a class moves."""


UNTYPED = {("model-facts", "schedule"): "schedule"}
"""(name of the type, field) -> what that field was when it was written without a type. A record of the past, too."""


def stored_name(kind: type[Any]) -> str:
    """The name that a class has on disk; of a class that is not ours, where it is."""
    place = f"{kind.__module__}:{kind.__qualname__}"
    return _NAMES.get(place, place)


def stored_place(name: str) -> str:
    """Where the class with a name is, as ``"module:Class"``; a name that is not ours is that already."""
    return TYPES.get(EARLIER.get(name, name), name)


def with_names(data: Any) -> Any:
    """Plain JSON in which types have the names of today, whichever version wrote it."""
    if isinstance(data, list):
        return [with_names(value) for value in data]
    if not isinstance(data, dict):
        return data
    return {
        key: EARLIER.get(value, value) if key == "type" and isinstance(value, str) else with_names(value)
        for key, value in data.items()
    }
