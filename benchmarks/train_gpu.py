"""Training steps of the full model on one GPU: seconds, memory, MFU, against a reference-style loop in the same run.

    python -m benchmarks.train_gpu [--batch 8] [--rounds 10] [--save]
    python -m benchmarks.train_gpu --device cpu --small --no-compile --batch 2 --rounds 2     does the code run?

Needs torch, diffusers, einops, jaxtyping, numpy and pyarrow; no Ray. The network is VideoCrafter2's U-Net with x-cat,
1.41 billion random weights, latents of 16 x 40 x 64, 77 text states. Batches lie on the device: data wait is measured
by benchmarks.training.

The reference style is how VideoCrafter's own code trains: autocast, every unit computed again in the backward pass, no
compiler, AdamW as torch gives it. Neither keeps a moving average. Ours is
:class:`training.loop.train_step.TrainStep` in the ways a recipe can ask for, and with convolutions in the layout
channels-last; those that do not fit the memory are reported as such.
MFU counts three forward passes a step, whatever is computed again, over the device's dense bfloat16 peak.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import nn

from base.device import Kernels, set_kernels
from benchmarks.report import arguments, report
from diffusion.motion_focal import MotionFocal
from diffusion.schedule import Schedule
from models.estimate import flops
from models.video_model import DataShapes, Recompute
from models.videocrafter2.unet import VideoUNet
from training.data.batch import Batch
from training.data.loader import StepData
from training.loop.objective import Objective
from training.loop.optimiser import Optimiser
from training.loop.parallel import World
from training.loop.speed import peak_flops
from training.loop.train_step import TrainState, TrainStep

_FULL = DataShapes((4, 16, 40, 64), (77, 1024))
_SMALL = DataShapes((4, 4, 8, 8), (77, 1024))


@dataclass(frozen=True)
class Way:
    """A way to compute a step: ``micro`` clips at a time."""

    name: str
    micro: int
    recompute: Recompute | None = None
    compiled: bool = False
    fused: bool = True
    kernels: Kernels = "usual"
    channels_last: bool = False


def ways(batch: int, *, compiled: bool) -> list[Way]:
    """The reference's, and ours; those that are compiled, which takes minutes, come last."""
    sizes = [size for size in (batch, batch // 2, batch // 4, 1) if size >= 1]
    ours = [Way(f"kept, compiled, {size} at a time", size, compiled=True) for size in dict.fromkeys(sizes)]
    eager = [
        Way("reference style", batch, "all", fused=False),
        Way("recomputed", batch, "all"),
        Way("the cheap recomputed", batch, "cheap"),
        Way("kept", batch),
        Way("recomputed, fast kernels", batch, "all", kernels="fast"),
        Way("recomputed, fast kernels, channels last", batch, "all", kernels="fast", channels_last=True),
    ]
    return [*eager, Way("recomputed, compiled", batch, "all", compiled=True), *ours] if compiled else eager


def network(shapes: DataShapes, device: torch.device) -> VideoUNet:
    """The full network, or one of its kind that a CPU steps in a second."""
    made: VideoUNet
    if shapes == _FULL:
        with torch.device(device):
            made = VideoUNet()
    else:
        made = VideoUNet(block_out_channels=(32, 64), layers_per_block=1, attention_head_dim=16)
    made.train()
    return made


def use_channels_last(model: VideoUNet) -> None:
    """Lay the weights of 2-D convolutions out as cuDNN's fastest kernels read them; results follow that layout.

    Only here, until it is known whether it gains: a recipe cannot ask for it, since FSDP refuses such parameters, and
    a checkpoint gives AdamW its moments in the usual layout, which its fused kernels do not mix with another.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.channels_last)


def data(shapes: DataShapes, clips: int, way: Way, device: torch.device) -> StepData:
    """Random micro-batches on the device."""
    draw = torch.Generator(device).manual_seed(0)

    def normal(*size: int) -> torch.Tensor:
        return torch.randn(*size, generator=draw, device=device)

    def batch(size: int) -> Batch:
        latents, noise = normal(2, size, *shapes.latent)
        return Batch(
            latents=latents,
            heatmap=torch.sigmoid(normal(size, *shapes.latent[1:])),
            text=normal(size, *shapes.text),
            fps=torch.full((size,), 8.0, device=device),
            noise=noise,
            timestep=torch.randint(1000, (size,), generator=draw, device=device),
            image_tokens=None,
            clip_ids=("",) * size,
        )

    return StepData(0, tuple(batch(way.micro) for _ in range(clips // way.micro)), (0,), 0.0)


def measure(way: Way, shapes: DataShapes, clips: int, device: torch.device, rounds: int) -> dict[str, Any]:
    """Seconds of a step (median after two to warm up) and the peak of memory; says so where memory does not suffice."""
    try:
        model = network(shapes, device)
        set_kernels(device, way.kernels)
        if way.channels_last:
            use_channels_last(model)
        if way.recompute is not None:
            model.enable_gradient_checkpointing(way.recompute)
        if way.compiled:
            model.compile()
        options = Optimiser(ema=0.0)
        optimiser = options.build(model)
        if not way.fused:
            optimiser = torch.optim.AdamW(model.parameters(), lr=options.lr)
        objective = Objective(Schedule(rescale=0.7), MotionFocal())
        train_step = TrainStep(TrainState(model, optimiser, None), objective, options, World(device), 0, half=True)
        step = partial(_finished, partial(train_step.step, data(shapes, clips, way, device)), device)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        seconds = [step() for _ in range(2 + rounds)][2:]
    except torch.OutOfMemoryError:
        return {"way": way.name, "fits": False}
    finally:
        torch.compiler.reset()
        if device.type == "cuda":
            torch.cuda.empty_cache()
    peak = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else 0.0
    return {"way": way.name, "fits": True, "step_s": round(median(seconds), 4), "memory_gib": round(peak, 1)}


def _finished(function: Callable[[], Any], device: torch.device) -> float:
    started = time.perf_counter()
    function()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def main() -> None:
    """Measure and report."""
    parser = arguments(__doc__)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action=argparse.BooleanOptionalAction, default=False)
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True, help="also compiled ways")
    parser.add_argument("--within", type=float, default=float("inf"), help="seconds after which no other way begins")
    options = parser.parse_args()
    if options.batch & (options.batch - 1):
        parser.error(f"--batch {options.batch}: a power of two, so that halves of it add up")
    device = torch.device(options.device)
    shapes = _SMALL if options.small else _FULL
    with torch.device("meta"):
        forward = flops(network(shapes, torch.device("meta")), shapes, options.batch)
    found: list[dict[str, Any]] = []
    left_out: list[str] = []
    started = time.perf_counter()
    for way in ways(options.batch, compiled=options.compile):
        if time.perf_counter() - started > options.within:
            left_out.append(way.name)
            continue
        found.append(measure(way, shapes, options.batch, device, options.rounds))
        peak = peak_flops(device)
        if found[-1]["fits"] and peak:
            found[-1]["mfu"] = round(3 * forward / found[-1]["step_s"] / peak, 3)
        print(found[-1], flush=True)
    fitting = [one for one in found[1:] if one["fits"]]
    if not fitting:
        parser.error(f"--batch {options.batch}: no way of computing a step fits this device's memory")
    best = min(fitting, key=lambda one: float(one["step_s"]))
    figures = {"batch": options.batch, "forward_tflop": round(forward / 1e12, 3), "best": best["way"], "ways": found}
    figures |= {"left_out": left_out, "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu"}
    goals = {"MFU >= 45 %": best.get("mfu", 0.0) >= 0.45}
    if found[0]["fits"]:
        figures["speed_to_reference"] = round(found[0]["step_s"] / best["step_s"], 2)
        goals[">= 2x the reference style"] = figures["speed_to_reference"] >= 2
    report("train_gpu", figures, goals)


if __name__ == "__main__":
    main()
