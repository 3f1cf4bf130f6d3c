"""The configuration of a preprocessing run. A recipe is a function that returns a complete configuration.

``motif preprocess NAME`` uses one of these, ``motif preprocess package.module:function`` one of yours.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from base.weights import BASE_MODEL, WAN_MODEL
from dataset.parts.tables import StoreOptions
from dataset.rules import Rule
from pipeline.featurizers.base import ClipFeature, Feature, TextFeature
from pipeline.featurizers.heatmaps import Heatmaps
from pipeline.featurizers.image import CellImageTokens, ClipImageTokens
from pipeline.featurizers.latents import PixelLatents, VaeLatents
from pipeline.featurizers.mask_heatmaps import MaskHeatmaps
from pipeline.featurizers.text import ClipTextStates, HashedTextStates
from pipeline.featurizers.umt5_text import Umt5States
from pipeline.featurizers.video_latents import VideoPixelLatents, WanLatents
from pipeline.motion.flow import Dis
from pipeline.motion.masks import MovingRegions
from pipeline.video.geometry import ClipShape
from pipeline.video.process.worker import DecodeLimits
from pipeline.video.sampling import Sampling


@dataclass(frozen=True)
class Resources:
    """Resources of the stages. 0 means as many as fit on the machines."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    featurizers: int = 0
    """Actors that compute features; by default one per GPU or CPU core."""
    decoders: int = 0
    """Concurrent decode tasks."""
    clips_a_block: int = 0
    """Clips per block, which are featurized together; 0 aims at 64 MB of pixels."""
    memory_mb: int = 0
    """Limit for pixels in the object store; 0 allows two blocks per worker."""


@dataclass(frozen=True)
class Preprocess:
    """A preprocessing run: which frames, at which size, and which features."""

    sampling: Sampling = Sampling()
    height: int = 320
    width: int = 512
    base_model: str = BASE_MODEL
    """The model folder whose autoencoder and text encoder are used by features without own weights; local or s3://."""
    features: dict[str, Feature] = field(default_factory=dict)
    """The features to compute, at most one of each kind."""
    captions: Literal["required", "optional"] = "required"
    """Whether clips without a caption are rejected, or get the empty one."""
    max_caption_bytes: int = 8192
    keep: tuple[str, ...] = ()
    """Rules a clip must meet to be written, such as "moving_share>=0.001" or "source_height>=256"."""
    decode: DecodeLimits = DecodeLimits()
    store: StoreOptions = StoreOptions()
    resources: Resources = Resources()
    max_failed: float = 0.1
    """The run stops if more than this share of the clips fails."""

    def __post_init__(self) -> None:
        """Check rules across fields; each part checks itself."""
        for side in ("height", "width"):
            if getattr(self, side) < 64 or getattr(self, side) % 8:
                raise ValueError(f"{side} {getattr(self, side)}: must be a multiple of 8 and at least 64")
        if not self.clip_features:
            raise ValueError("features: give at least one clip feature")
        if not 0 <= self.max_failed <= 1:
            raise ValueError(f"max_failed {self.max_failed}: must be a share from 0 to 1")
        for text in self.keep:
            Rule.parse(text)
        kinds = [feature.kind for feature in self.features.values()]
        if len(set(kinds)) < len(kinds):
            raise ValueError(f"features of the kinds {', '.join(kinds)}: one of a kind per run; use two runs for two")

    def caption_fault(self, caption: str | None) -> str | None:
        """Why a row with this caption is rejected ("class: message"), or None."""
        if caption:
            size, limit = len(caption.encode()), self.max_caption_bytes
            return f"CaptionTooLong: {size} bytes, the limit is {limit}" if size > limit else None
        return "CaptionMissing: the row has no caption" if self.captions == "required" else None

    def resolved(self) -> "Preprocess":
        """The same recipe with the source of all weights; WeightsError if the base model is missing."""
        return replace(self, features={name: one.resolved(self.base_model) for name, one in self.features.items()})

    @property
    def shape(self) -> ClipShape:
        """The shape of a clip."""
        return ClipShape(self.sampling.frames, self.height, self.width)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules of ``keep``."""
        return tuple(Rule.parse(text) for text in self.keep)

    def clips_identity(self) -> dict[str, Any]:
        """The settings common to all clips of a dataset: everything except the span that changes pixels."""
        return {
            "frames": self.sampling.frames,
            "height": self.height,
            "width": self.width,
            "resize": "bilinear, short side to cover, centre crop",
            "colour": "swscale, full chroma; untagged from 720 lines on BT.709, else BT.601; wide primaries to BT.709",
            "version": 2,
        }

    @property
    def clip_features(self) -> dict[str, ClipFeature]:
        """The features of clips."""
        return {name: feature for name, feature in self.features.items() if isinstance(feature, ClipFeature)}

    @property
    def text_features(self) -> dict[str, TextFeature]:
        """The features of captions."""
        return {name: feature for name, feature in self.features.items() if isinstance(feature, TextFeature)}

    def feature_identity(self, feature: Feature) -> dict[str, Any]:
        """A feature's identity; for clip features including that of the pixels."""
        return feature.identity() | ({"clips": self.clips_identity()} if isinstance(feature, ClipFeature) else {})


def motif() -> Preprocess:
    """The paper's data: 16 frames of 320 x 512, RAFT-large, the base model's VAE and OpenCLIP ViT-H. For GPUs."""
    return Preprocess(
        features={"heatmaps": Heatmaps(), "latents": VaeLatents(), "text": ClipTextStates()},
    )


def laptop() -> Preprocess:
    """As ``motif``, with DIS flow in place of RAFT, and everything in float32 for a CPU."""
    return Preprocess(
        features={
            "heatmaps": Heatmaps(flow=Dis(), both_ways=True),
            "latents": VaeLatents(precision="float32"),
            "text": ClipTextStates(precision="float32"),
        },
        store=StoreOptions(clips_a_part=32, clips_a_row_group=8),
    )


def sprites() -> Preprocess:
    """Toy size: 256 x 256 to 16 x 16 cells, DIS flow, pixel codec and hashed words. No weights, any CPU."""
    return Preprocess(
        sampling=Sampling(frames=16, min_stride=1, max_stride=1),
        height=256,
        width=256,
        features={
            "heatmaps": Heatmaps(flow=Dis(), both_ways=True, cell=16),
            "latents": PixelLatents(),
            "text": HashedTextStates(),
        },
        store=StoreOptions(clips_a_part=64, clips_a_row_group=16),
    )


def motif_sam2() -> Preprocess:
    """As ``motif``, with SAM 2's masks of what moves as heatmaps: for the paper's table A1.

    Run on the dataset of ``motif``, it adds only these.
    """
    return replace(motif(), features=motif().features | {"heatmaps": MaskHeatmaps()})


def sprites_masks() -> Preprocess:
    """As ``sprites``, with masks of what moves as heatmaps, of a model without weights.

    Run on the dataset of ``sprites``, it adds only these.
    """
    masks = MaskHeatmaps(flow=Dis(), masks=MovingRegions(), cell=16)
    return replace(sprites(), features=sprites().features | {"heatmaps": masks})


def motif_image() -> Preprocess:
    """As ``motif``, with OpenCLIP tokens of the first frame too: for the paper's ablation of cross-attention."""
    return replace(motif(), features=motif().features | {"image": ClipImageTokens()})


def sprites_image() -> Preprocess:
    """As ``sprites``, with tokens of the first frame's cells too, for a toy model that attends to them."""
    return replace(sprites(), features=sprites().features | {"image": CellImageTokens()})


def wan_ti2v_5b() -> Preprocess:
    """For Wan2.2-TI2V-5B: 49 frames of 480 x 832 at 24 a second, RAFT-large, Wan's autoencoder and UMT5. For a GPU."""
    return Preprocess(
        sampling=Sampling(frames=49, fps=24.0),
        height=480,
        width=832,
        base_model=WAN_MODEL,
        features={"heatmaps": Heatmaps(cell=16), "latents": WanLatents(), "text": Umt5States()},
        store=StoreOptions(clips_a_part=64, clips_a_row_group=4),
    )


def wan_sprites() -> Preprocess:
    """As ``sprites``, with 17 frames and latents of four frames each, as Wan's are. No weights, any CPU."""
    return replace(
        sprites(),
        sampling=Sampling(frames=17, min_stride=1, max_stride=1),
        features=sprites().features | {"latents": VideoPixelLatents()},
    )


RECIPES: dict[str, Callable[[], Preprocess]] = {
    "motif": motif,
    "laptop": laptop,
    "sprites": sprites,
    "motif_sam2": motif_sam2,
    "sprites_masks": sprites_masks,
    "motif_image": motif_image,
    "sprites_image": sprites_image,
    "wan_ti2v_5b": wan_ti2v_5b,
    "wan_sprites": wan_sprites,
}
