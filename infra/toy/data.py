"""What the toy was trained on: ``motif preprocess infra.toy.data:clips``."""

from dataclasses import replace

from models.encoders.pixel_codec import PixelCodec
from pipeline.featurizers.heatmaps import Heatmaps
from pipeline.featurizers.latents import PixelLatents
from pipeline.featurizers.text import HashedTextStates
from pipeline.motion.flow import Dis
from pipeline.recipes import Preprocess, sprites
from pipeline.sprites.world import World
from pipeline.video.sampling import Sampling

WORLD = World(192, 192, kinds=("moves",))
_CELL = 24


def clips() -> Preprocess:
    """8 frames of 192 x 192, every second frame of a video, as latents of 8 x 8 cells with 32 channels.

    The recipe ``sprites`` has eight times as many positions, too many to train on one core within an hour.
    """
    return replace(
        sprites(),
        sampling=Sampling(frames=8, min_stride=2, max_stride=2),
        height=WORLD.height,
        width=WORLD.width,
        features={
            "heatmaps": Heatmaps(flow=Dis(), both_ways=True, cell=_CELL),
            "latents": PixelLatents(PixelCodec(_CELL, luma=20, chroma=6)),
            "text": HashedTextStates(),
        },
    )
