"""The type names of configurations on disk.

A file has ``"type": "model-card"`` instead of the location of the class, so that classes can move: then only the right
side of this table changes, and no user's file. Names must never change. Files from before there were names have
``"module:Class"``; :data:`EARLIER` keeps those readable.

Types outside motif (a featurizer in a user's module) are stored as ``"module:Class"`` and imported.
"""

from typing import Any

TYPES = {
    "adapter-base": "models.card:Base",
    "artifacts": "training.data.artifacts:Artifacts",
    "cell-image-tokens": "pipeline.featurizers.image:CellImageTokens",
    "cell-tokens": "models.encoders.image:CellTokens",
    "clip-image-tokens": "pipeline.featurizers.image:ClipImageTokens",
    "clip-sampling": "pipeline.video.sampling:Sampling",
    "clip-text-states": "pipeline.featurizers.text:ClipTextStates",
    "decode-limits": "pipeline.video.process.worker:DecodeLimits",
    "dis-flow": "pipeline.motion.flow:Dis",
    "flow": "diffusion.flow:Flow",
    "frame-difference": "diffusion.frame_difference:FrameDifference",
    "hardware": "training.options:Hardware",
    "hashed-text": "models.encoders.text:HashedText",
    "hashed-text-states": "pipeline.featurizers.text:HashedTextStates",
    "heatmaps": "pipeline.featurizers.heatmaps:Heatmaps",
    "lora": "models.adapters.lora:Lora",
    "mask-heatmaps": "pipeline.featurizers.mask_heatmaps:MaskHeatmaps",
    "mask-prompts": "pipeline.motion.prompts:Prompts",
    "model-card": "models.card:ModelCard",
    "model-facts": "models.card:ModelFacts",
    "motion-focal": "diffusion.motion_focal:MotionFocal",
    "moving-regions": "pipeline.motion.masks:MovingRegions",
    "network": "models.videocrafter2.backbone:VideoCrafter2",
    "normalisation": "dataset.heatmap.normalisation:Normalisation",
    "optimiser": "training.loop.optimiser:Optimiser",
    "patches": "models.patches.backbone:Patches",
    "pixel-codec": "models.encoders.pixel_codec:PixelCodec",
    "pixel-latents": "pipeline.featurizers.latents:PixelLatents",
    "preprocess": "pipeline.recipes:Preprocess",
    "raft-flow": "pipeline.motion.raft:Raft",
    "resources": "pipeline.recipes:Resources",
    "sam-masks": "pipeline.motion.sam:Sam",
    "samples": "training.options:Samples",
    "sampling": "diffusion.options:Sampling",
    "saves": "training.options:Saves",
    "schedule": "diffusion.schedule:Schedule",
    "store-options": "dataset.parts.tables:StoreOptions",
    "temporal-discrepancy": "diffusion.temporal_discrepancy:TemporalDiscrepancy",
    "train": "training.recipes:Train",
    "umt5-states": "pipeline.featurizers.umt5_text:Umt5States",
    "vae-latents": "pipeline.featurizers.latents:VaeLatents",
    "video-pixel-codec": "models.encoders.video.pixel_codec:VideoPixelCodec",
    "video-pixel-latents": "pipeline.featurizers.video_latents:VideoPixelLatents",
    "wan": "models.wan.backbone:Wan",
    "wan-latents": "pipeline.featurizers.video_latents:WanLatents",
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
"""Locations written by version 0.1 -> names. Historical: not to be changed when a class moves."""


UNTYPED = {("model-facts", "schedule"): "schedule"}
"""(name of the type, field) -> the type of that field in files that omit it. Historical, too."""


def stored_name(kind: type[Any]) -> str:
    """The name of a class on disk; for classes outside motif its location."""
    place = f"{kind.__module__}:{kind.__qualname__}"
    return _NAMES.get(place, place)


def stored_place(name: str) -> str:
    """The location of a named class as ``"module:Class"``; other names are locations already."""
    return TYPES.get(EARLIER.get(name, name), name)


def with_names(data: Any) -> Any:
    """Plain JSON of any version with current type names."""
    if isinstance(data, list):
        return [with_names(value) for value in data]
    if not isinstance(data, dict):
        return data
    return {
        key: EARLIER.get(value, value) if key == "type" and isinstance(value, str) else with_names(value)
        for key, value in data.items()
    }
