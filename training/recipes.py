"""The configuration of a training run. A recipe is a function that returns a complete configuration.

``motif train NAME`` uses one of these, ``motif train package.module:function`` one of yours. The paper's ablations
(tables 2, 3, A1 and A2) are its main recipe with one field changed.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from diffusion.flow import Flow
from diffusion.motion_focal import MotionFocal
from diffusion.process import Process
from diffusion.schedule import Schedule
from diffusion.weighting import Weighting
from models.adapters.lora import Lora
from models.patches.backbone import Patches
from models.video_model import Backbone
from models.videocrafter2.backbone import VideoCrafter2
from training.data.artifacts import Artifacts
from training.loop.optimiser import Optimiser
from training.options import Hardware, Samples, Saves


@dataclass(frozen=True)
class Train:
    """A training run."""

    network: Backbone = VideoCrafter2()
    adapter: Lora | None = None
    """None: all weights are trained. ``--adapter lora`` trains a low-rank adapter of the model in network.start."""
    schedule: Process = Schedule()
    loss: Weighting = MotionFocal()
    artifacts: Artifacts = Artifacts()
    optimiser: Optimiser = Optimiser()
    batch: int = 64
    """Clips per step, over all workers."""
    steps: int = 32_000
    window: int = 2048
    """Clips of each dataset that the workers hold in memory together, in whole row groups.

    Up to half more with several workers. Batches mix two thirds of them. A clip of 320 x 512 takes 0.9 MB.
    0: the order of earlier versions."""
    fps_max: float | None = 32.0
    """Frame rates are capped at this, as with DynamiCrafter's ``fps_max``: VideoCrafter2 was trained on 4 to 32 frames
    per second, and a few screen recordings at 1000 would be outliers. None: no limit."""
    text_dropout: float = 0.1
    seed: int = 0
    hardware: Hardware = Hardware()
    saves: Saves = Saves()
    samples: Samples = Samples()
    trackers: tuple[Literal["tensorboard", "wandb", "mlflow"], ...] = ("tensorboard",)

    def __post_init__(self) -> None:
        """Check rules across fields; each part checks itself."""
        share = max(1, self.hardware.workers)
        if self.batch < 1 or self.batch % share:
            raise ValueError(
                f"batch {self.batch} with hardware.workers {self.hardware.workers}: the workers must divide the batch; "
                f"set batch to {share * max(1, round(self.batch / share))}"
            )
        if self.steps < 1:
            raise ValueError(f"steps {self.steps}: must be at least 1")
        if self.window < 0:
            raise ValueError(f"window {self.window}: must be a number of clips, or 0 for the order of earlier versions")
        if self.fps_max is not None and not self.fps_max > 0:
            raise ValueError(f"fps_max {self.fps_max}: must be frames per second above 0, or None")
        if self.seed < 0:
            raise ValueError(f"seed {self.seed}: must be 0 or more")
        if self.samples.steps > self.schedule.steps:
            raise ValueError(
                f"samples.steps {self.samples.steps}: must be at most schedule.steps, {self.schedule.steps}"
            )
        if self.hardware.parallel == "fsdp" and self.hardware.workers < 2:
            raise ValueError("hardware.parallel fsdp shards a network over workers; set hardware.workers to 2 or more")
        if self.adapter and self.adapter.base == "bfloat16" and self.hardware.precision != "bfloat16":
            raise ValueError(
                f"adapter.base bfloat16 with hardware.precision {self.hardware.precision}: the base would be rounded "
                "and the steps not; set both to bfloat16, or adapter.base to float32"
            )
        if not 0 <= self.text_dropout <= 1:
            raise ValueError(f"text_dropout {self.text_dropout}: must be a share from 0 to 1")


def motif() -> Train:
    """The paper: VideoCrafter2's U-Net, x-cat, v-prediction, lambda 1, batch 64 on 8 GPUs, 32 000 steps.

    Estimated: 49 GiB per GPU, and 29 hours on A100s at 40 % utilisation. The same holds for its ablations below.
    """
    return Train(schedule=Schedule(rescale=0.7), hardware=Hardware(checkpointing=True))


def no_motif() -> Train:
    """Table 2: without the motion focal loss."""
    return replace(motif(), loss=MotionFocal(weight=0.0))


def inverse_motif() -> Train:
    """Table 2: the loss weighted towards still regions."""
    return replace(motif(), loss=MotionFocal(inverse=True))


def motif_sam2() -> Train:
    """Table A1: SAM 2's masks as heatmaps. Needs a dataset that `motif preprocess motif_sam2` added them to."""
    return replace(motif(), artifacts=Artifacts(heatmaps="masks"))


def lambda_0_5() -> Train:
    """Table A2: lambda 0.5."""
    return replace(motif(), loss=MotionFocal(weight=0.5))


def lambda_2() -> Train:
    """Table A2: lambda 2."""
    return replace(motif(), loss=MotionFocal(weight=2.0))


def lambda_5() -> Train:
    """Table A2: lambda 5."""
    return replace(motif(), loss=MotionFocal(weight=5.0))


def cx_attn() -> Train:
    """Table 3: the image enters by cross-attention only. Needs a dataset with image tokens."""
    return replace(motif(), network=VideoCrafter2(image_condition="cx-attn"))


def xcat_cxattn() -> Train:
    """Table 3: the image enters both ways. Needs a dataset with image tokens."""
    return replace(motif(), network=VideoCrafter2(image_condition="both"))


def t2v_motif() -> Train:
    """Text to video: the paper's run without an image condition, from the text-to-video model as it is.

    Nothing of a clip is given, so its first frame is noised and counts in the loss as any other.
    """
    return replace(motif(), network=VideoCrafter2(image_condition="none"))


def motif_level() -> Train:
    """The paper's run with a motion level, as in LivePhoto: a number from 1 to 10 says how much moves.

    It may also start from a model of ``motif``, whose videos it makes until its first step.
    """
    return replace(motif(), network=VideoCrafter2(motion_level=True))


def one_gpu() -> Train:
    """The paper's run on one 80 GB GPU: the same global batch by gradient accumulation, with gradient checkpointing.

    Estimated: 38 GiB, and nine and a half days on an A100 at 40 % utilisation.
    """
    return replace(motif(), hardware=Hardware(workers=1, micro_batch=4, checkpointing=True))


SPRITES = VideoCrafter2(
    start="", block_out_channels=(32, 64), layers_per_block=1, attention_head_dim=16, norm_num_groups=8
)
"""A toy-sized U-Net with random weights."""


def sprites() -> Train:
    """The toy size on moving sprites: random weights, a small U-Net, any CPU, minutes.

    Estimated: under 1 GiB; about a second per step on two cores.
    """
    return Train(
        network=SPRITES,
        optimiser=Optimiser(lr=1e-3, clip_norm=1.0, warmup=20, ema=0.99),
        batch=4,
        steps=200,
        hardware=Hardware(workers=0, micro_batch=4, precision="float32"),
        saves=Saves(every=50),
        samples=Samples(every=100, num=2, steps=12, guidance=1.5),
    )


def sprites_masks() -> Train:
    """As ``sprites``, with masks as heatmaps. Needs a dataset that `motif preprocess sprites_masks` added them to."""
    return replace(sprites(), artifacts=Artifacts(heatmaps="masks"))


def sprites_t2v() -> Train:
    """As ``sprites``, from text alone: without an image condition."""
    return replace(sprites(), network=replace(SPRITES, image_condition="none"))


def sprites_level() -> Train:
    """As ``sprites``, with a motion level."""
    return replace(sprites(), network=replace(SPRITES, motion_level=True))


def sprites_patches() -> Train:
    """As ``sprites``, with the other backbone and process: a transformer over patches, rectified flow."""
    return replace(sprites(), network=Patches(), schedule=Flow())


RECIPES: dict[str, Callable[[], Train]] = {
    made.__name__: made
    for made in (
        motif,
        no_motif,
        inverse_motif,
        motif_sam2,
        lambda_0_5,
        lambda_2,
        lambda_5,
        cx_attn,
        xcat_cxattn,
        t2v_motif,
        motif_level,
        one_gpu,
        sprites,
        sprites_masks,
        sprites_t2v,
        sprites_level,
        sprites_patches,
    )
}
