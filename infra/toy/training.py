"""How the toy was trained: ``motif train infra.toy.training:toy``."""

from dataclasses import replace

from diffusion.motion_focal import MotionFocal
from diffusion.schedule import Schedule
from training.loop.optimiser import Optimiser
from training.options import Hardware, Saves
from training.recipes import SPRITES, Train, sprites


def toy() -> Train:
    """The recipe ``sprites``, twice as wide at full resolution; lambda 5, as little moves and training is short."""
    return replace(
        sprites(),
        network=replace(SPRITES, block_out_channels=(64, 64)),
        schedule=Schedule(zero_terminal_snr=True),
        loss=MotionFocal(weight=5.0),
        optimiser=Optimiser(lr=1.5e-3, clip_norm=1.0, warmup=100, ema=0.995),
        batch=8,
        steps=6000,
        hardware=Hardware(workers=0, micro_batch=8, precision="bfloat16"),
        saves=Saves(every=100, keep=2),
        samples=replace(sprites().samples, every=0),
    )
