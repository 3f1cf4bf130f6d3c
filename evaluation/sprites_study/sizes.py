"""How large a study's world, data and models are: for two cores of a CPU, or for a GPU."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from base.config import to_json
from diffusion.flow import Flow
from diffusion.options import SamplingChanges
from diffusion.schedule import Schedule
from evaluation.sprites.sampling import SamplingOptions
from models.encoders.image import CellTokens
from models.encoders.pixel_codec import PixelCodec
from models.videocrafter2.backbone import VideoCrafter2
from pipeline.featurizers.heatmaps import Heatmaps
from pipeline.featurizers.image import CellImageTokens
from pipeline.featurizers.latents import PixelLatents
from pipeline.featurizers.text import HashedTextStates
from pipeline.motion.flow import Dis
from pipeline.recipes import Preprocess, sprites
from pipeline.sprites.world import ALL_KINDS, MotionKind, World
from pipeline.video.sampling import Sampling
from training.loop.optimiser import Optimiser
from training.options import Hardware, Samples, Saves
from training.recipes import Train


@dataclass(frozen=True)
class Size:
    """A study's world, its numbers of clips and held-out images, and the recipes that all arms share."""

    name: str
    world: World
    clips: int
    """For training."""
    prompts: int
    """Per image of training."""
    images: int
    """Held out."""
    held_out_prompts: int
    """Per held-out image."""
    features: Preprocess
    train: Train
    sampling: SamplingOptions = SamplingOptions()
    validated: int = 96
    """Held-out clips on which figure 6 is measured."""

    def __post_init__(self) -> None:
        """Check the values."""
        for name in ("clips", "images"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)}: must be at least 1")

    def settings(self) -> dict[str, Any]:
        """Everything that results depend on, as plain JSON; hardware is left out."""
        numbers = {
            name: getattr(self, name) for name in ("clips", "prompts", "images", "held_out_prompts", "validated")
        }
        train = {
            name: value for name, value in to_json(self.train).items() if name not in ("hardware", "saves", "seed")
        }
        features = {name: to_json(feature) for name, feature in self.features.features.items()}
        sampling = to_json(self.sampling.sampling) | {"seed": self.sampling.seed}
        return {"world": self.world.settings(), **numbers, "features": features, "train": train, "sampling": sampling}


def _features(world: World, codec: PixelCodec, frames: int, stride: int) -> Preprocess:
    """Toy features of a world, with image tokens for the arms that attend to them."""
    return replace(
        sprites(),
        sampling=Sampling(frames=frames, min_stride=stride, max_stride=stride),
        height=world.height,
        width=world.width,
        features={
            "heatmaps": Heatmaps(flow=Dis(), both_ways=True, cell=codec.cell),
            "latents": PixelLatents(codec),
            "text": HashedTextStates(),
            "image": CellImageTokens(CellTokens(cell=codec.cell)),
        },
    )


def cpu() -> Size:
    """192 x 192 as 12 x 12 cells, 5 frames, a U-Net of 2.7 million parameters; about half a second a step of one core.

    Coarser cells with more channels, or half the width, cost less a step, but learn what moves much later.
    """
    kinds: tuple[MotionKind, ...] = ("moves", "moves", "moves", "moves", "enters", "pans")
    world = World(192, 192, fewest=2, most=3, kinds=kinds, distractors=1, clear=True)
    train = Train(
        network=VideoCrafter2(
            start="", block_out_channels=(64, 64), layers_per_block=1, attention_head_dim=16, norm_num_groups=8
        ),
        schedule=Flow(shift=3.0),
        optimiser=Optimiser(lr=1.5e-3, clip_norm=1.0, warmup=100, ema=0.99),
        batch=8,
        steps=2400,
        hardware=Hardware(workers=0, micro_batch=8, device="cpu", precision="bfloat16"),
        saves=Saves(every=250, keep=1),
        samples=Samples(every=0, num=1, steps=12, guidance=1.5),
        trackers=(),
    )
    features = _features(world, PixelCodec(16, luma=10, chroma=3), 5, 4)
    return Size("cpu", world, 2048, 4, 48, 3, features, train, SamplingOptions(precision="bfloat16"))


def gpu() -> Size:
    """256 x 256 as 16 x 16 cells, 16 frames, a U-Net of 15 million parameters, in bfloat16."""
    kinds: tuple[MotionKind, ...] = ("moves", "moves", "moves", *ALL_KINDS)
    world = World(256, 256, fewest=2, most=4, kinds=kinds, distractors=1, clear=True)
    train = Train(
        network=VideoCrafter2(
            start="", block_out_channels=(128, 192), layers_per_block=1, attention_head_dim=32, norm_num_groups=16
        ),
        schedule=Schedule(zero_terminal_snr=True),
        optimiser=Optimiser(lr=1e-3, clip_norm=1.0, warmup=100, ema=0.995),
        batch=32,
        steps=2500,
        hardware=Hardware(workers=0, micro_batch=32, precision="bfloat16"),
        saves=Saves(every=500, keep=1),
        samples=Samples(every=0, num=1, steps=20, guidance=1.5),
        trackers=(),
    )
    sampling = SamplingOptions(batch=32, precision="bfloat16", sampling=SamplingChanges())
    features = _features(world, PixelCodec(16, luma=20, chroma=6), 16, 1)
    return Size("gpu", world, 4096, 4, 96, 3, features, train, sampling, validated=192)


SIZES: dict[str, Callable[[], Size]] = {"cpu": cpu, "gpu": gpu}
