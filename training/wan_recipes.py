"""The recipes that train Wan, beside those of :mod:`training.recipes`; ``motif train NAME`` knows both."""

from collections.abc import Callable
from dataclasses import replace

from base.weights import WAN_MODEL
from diffusion.flow import Flow
from models.adapters.lora import Lora
from models.wan.backbone import Wan
from training import recipes
from training.loop.optimiser import Optimiser
from training.options import Hardware, Samples, Saves
from training.recipes import Train, sprites

SPRITES = Wan(heads=4, head_dim=24, layers=4, feed_forward=256)
"""A toy-sized transformer with random weights."""


def wan_ti2v_5b() -> Train:
    """A LoRA of Wan2.2-TI2V-5B with the motion focal loss, on one GPU: rank 32, batch 4, 1000 steps.

    The process is the published one, rectified flow with times shifted towards noise. `--adapter none` trains all
    weights. Needs a dataset of `motif preprocess wan_ti2v_5b`.
    """
    return Train(
        network=Wan(start=WAN_MODEL),
        adapter=Lora(base="bfloat16"),
        schedule=Flow(shift=5.0),
        optimiser=Optimiser(lr=1e-4, clip_norm=1.0, warmup=20, ema=0.99),
        batch=4,
        steps=1000,
        window=256,
        fps_max=None,
        hardware=Hardware(workers=1, micro_batch=1, checkpointing=True),
        saves=Saves(every=250),
        samples=Samples(every=250, num=2, steps=30, guidance=5.0),
    )


def wan_sprites() -> Train:
    """The toy size of Wan on moving sprites: random weights, latents of four frames each, any CPU, minutes.

    Needs a dataset of `motif preprocess wan_sprites`. Times are shifted towards noise, as Wan's are.
    """
    return replace(sprites(), network=SPRITES, schedule=Flow(shift=5.0))


RECIPES: dict[str, Callable[[], Train]] = {made.__name__: made for made in (wan_ti2v_5b, wan_sprites)}
ALL = recipes.RECIPES | RECIPES
"""All recipes of ``motif train`` by name."""
